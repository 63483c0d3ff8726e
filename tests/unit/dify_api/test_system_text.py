"""The system text goes where the app has a place for it."""

from __future__ import annotations

import pytest

from gateway.dify_api.app import App, AppKey, AppMode
from gateway.dify_api.system_text import move_system_text
from gateway.errors import AppUnavailable
from gateway.exchange.model import InputField
from gateway.exchange.turn import Message, Role, Turn

SYSTEM, SYSTEM_TOO, USER = Message(Role.SYSTEM, "Be brief."), Message(Role.SYSTEM, "Be kind."), Message(Role.USER, "Hi")
TURN = Turn("m", (SYSTEM, USER, SYSTEM_TOO), inputs={"tone": "dry"})


def an_app(system: str | None = "role", **fields: object) -> App:
    key = AppKey("app-x", "http://dify/v1", system_variable=system)
    inputs = (InputField("role", "paragraph", "Role", False), InputField("tone", "text-input", "Tone", False))
    return App(key, "m", "m", AppMode.CHAT, inputs=inputs, **fields)  # type: ignore[arg-type]


def test_it_becomes_an_input() -> None:
    moved, pinned = move_system_text(an_app(), TURN)
    assert moved.messages == (USER,)
    assert moved.inputs == {"tone": "dry", "role": "Be brief.\n\nBe kind."}
    assert pinned == ""


def test_a_dify_that_keeps_the_first_inputs_needs_a_conversation_for_each_text() -> None:
    assert move_system_text(an_app(keeps_first_inputs=True), TURN)[1] == "Be brief.\n\nBe kind."
    assert move_system_text(an_app(keeps_first_inputs=True), Turn("m", (USER,)))[1] == ""


@pytest.mark.parametrize(
    "turn",
    [
        Turn("m", (USER,)),
        Turn("m", (SYSTEM,)),
        Turn("m", (Message(Role.SYSTEM, " "), USER)),
        Turn("m", (SYSTEM, USER), inputs={"role": "mine"}),
    ],
    ids=["none", "nothing else", "blank", "the client's own input"],
)
def test_what_cannot_move_stays(turn: Turn) -> None:
    assert move_system_text(an_app(), turn) == (turn, "")


def test_without_a_place_it_stays() -> None:
    assert move_system_text(an_app(None), TURN) == (TURN, "")


def test_a_place_that_the_app_lacks_is_the_operators_fault() -> None:
    with pytest.raises(AppUnavailable, match=r"system=rolle .* role \(paragraph\), tone"):
        move_system_text(an_app("rolle"), TURN)
