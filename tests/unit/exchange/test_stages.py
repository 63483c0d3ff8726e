"""Which steps an answer passes on its way to the client."""

from __future__ import annotations

from dataclasses import replace

from gateway.exchange.stages import answer_stages
from gateway.exchange.turn import Message, Role, Turn

TURN = Turn("writer", (Message(Role.USER, "Hello"),))


def steps(turn: Turn) -> list[str]:
    return [type(stage).__name__ for stage in answer_stages(turn)]


def test_an_answer_passes_no_step_that_nobody_asked_for() -> None:
    assert steps(TURN) == ["ReasoningStage"]
    assert steps(replace(TURN, stream=True)) == ["ReasoningStage"]
