"""What every mode hands to the request that asks with it."""

from __future__ import annotations

import pytest

from gateway.exchange.memory.thread import Outcome, PlainThread, Scope
from gateway.exchange.turn import Prompt


@pytest.mark.parametrize("whole", [None, "", "another text"])
@pytest.mark.parametrize("ids", [("c", "m"), (None, None)])
def test_a_plain_thread_writes_nothing_into_the_answer(ids: tuple[str | None, str | None], whole: str | None) -> None:
    thread = PlainThread(Prompt("hi"), "ann", Outcome.NONE)
    thread.feed("Hello")
    assert thread.tail(*ids, whole) == ""
    assert thread == PlainThread(Prompt("hi"), "ann", Outcome.NONE)


def test_a_plain_thread_cannot_begin_anew() -> None:
    thread = PlainThread(Prompt("hi"), "ann", Outcome.FOLDED)
    assert thread.anew(Outcome.HEALED) is thread
    assert thread.outcome is Outcome.FOLDED
    assert thread.last_message_id is None


def test_a_scope_shows_no_key_and_has_conversations_unless_told_otherwise() -> None:
    scope = Scope("app-SECRETsecret", "ann")
    assert "SECRET" not in repr(scope)
    assert (scope.has_conversations, scope.legacy_user) == (True, None)


def test_outcomes_are_words_for_a_label() -> None:
    assert [f"{outcome}" for outcome in Outcome] == ["none", "folded", "started", "continued", "branched", "healed"]
