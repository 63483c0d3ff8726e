"""Which steps an answer passes on its way to the client."""

from __future__ import annotations

from gateway.exchange.stages import answer_stages
from gateway.exchange.turn import Message, Role, Turn


def test_an_answer_passes_no_step_that_nobody_asked_for() -> None:
    assert list(answer_stages(Turn("writer", (Message(Role.USER, "Hello"),)))) == []
