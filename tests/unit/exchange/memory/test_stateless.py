from __future__ import annotations

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.memory import zero_width
from gateway.exchange.memory.stateless import Stateless
from gateway.exchange.memory.thread import Outcome, Scope, Thread
from gateway.exchange.turn import Message, Role, Turn

SYSTEM, USER, ASSISTANT, TOOL = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL


def recall(*messages: tuple[Role, str]) -> Thread:
    turn = Turn("m", tuple(Message(role, text) for role, text in messages))
    return Stateless().recall(turn, Scope("app-key", "ann"))


def query(*messages: tuple[Role, str]) -> str:
    return recall(*messages).prompt.query


def test_only_the_system_text_and_the_last_question_are_sent() -> None:
    history = [(SYSTEM, "Be brief."), (USER, "one"), (ASSISTANT, "1"), (USER, "two")]
    assert query(*history) == "Be brief.\n\ntwo"


def test_a_tool_result_travels_with_its_question() -> None:
    history = [(USER, "one"), (TOOL, "old"), (USER, "weather?"), (ASSISTANT, "calls"), (TOOL, "3 C"), (TOOL, "wind")]
    assert query(*history) == "weather?\n\n3 C\n\nwind"


def test_an_answer_at_the_end_does_not_hide_the_question() -> None:
    assert query((USER, "one"), (ASSISTANT, "1")) == "one"


def test_without_any_question_the_last_word_is_sent() -> None:
    assert query((SYSTEM, "s"), (ASSISTANT, "a"), (TOOL, "t")) == "s\n\nt"


def test_an_empty_question_is_not_replaced_by_an_older_one() -> None:
    with pytest.raises(InvalidRequest):
        query((USER, "one"), (ASSISTANT, "1"), (USER, ""))


def test_nothing_is_remembered() -> None:
    thread = recall((USER, "one"))
    assert (thread.user, thread.outcome, thread.prompt.conversation_id) == ("ann", Outcome.NONE, None)
    thread.feed("1")
    assert thread.tail("c", "m") == ""


def test_what_is_hidden_is_not_sent() -> None:
    assert query((SYSTEM, f"s{zero_width.hide(b'one')}"), (USER, f"u{zero_width.hide(b'two')}")) == "s\n\nu"
    with pytest.raises(InvalidRequest):
        query((USER, zero_width.hide(b"only this")))
