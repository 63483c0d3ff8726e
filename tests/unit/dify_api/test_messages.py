"""A listing of a conversation's messages, asked for with limit=1: Dify gives the newest alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.messages import is_last_message, newest_conversation, read_past, read_suggestions
from gateway.exchange.memory.comparison import PastTurn


def listing(*ids: Any) -> dict[str, Any]:
    data = [{"id": one, "conversation_id": "c", "query": "q", "answer": "a"} for one in ids]
    return {"limit": 1, "has_more": True, "data": data}


def test_a_conversation_ends_with_the_message_that_is_listed() -> None:
    assert is_last_message(listing("m-2"), "m-2")
    assert not is_last_message(listing("m-3"), "m-2")


def test_a_conversation_without_messages_does_not_end_with_one() -> None:
    assert not is_last_message(listing(), "m-2")


@pytest.mark.parametrize("data", [[None], ["m-2"], [["id", "m-2"]], [{}], [{"id": 2}]])
def test_entries_that_are_no_messages_are_not_the_one(data: list[Any]) -> None:
    assert not is_last_message({"data": data}, "m-2")


@pytest.mark.parametrize("answer", [None, "", 5, [], [{"id": "m-3"}], {}, {"data": None}, {"data": {"id": "m-3"}}])
def test_a_listing_that_cannot_be_read_says_nothing_against_it(answer: object) -> None:
    assert is_last_message(answer, "m-2")


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "id", "x"]), inner),
)


@given(JSON)
def test_any_json_is_read(answer: object) -> None:
    assert is_last_message(answer, "m-2") in (True, False)


@pytest.mark.parametrize(
    ("body", "questions"),
    [
        ({"result": "success", "data": ["And you?", "Why?"]}, ("And you?", "Why?")),
        ({"data": ["", " ", 3, None, "Why?"]}, ("Why?",)),
        ({"data": "Why?"}, ()),
        ({}, ()),
        (None, ()),
        ([], ()),
    ],
)
def test_questions_that_could_come_next(body: object, questions: tuple[str, ...]) -> None:
    assert read_suggestions(body) == questions


def conversations(*ids: object) -> object:
    return {"limit": 1, "has_more": False, "data": [{"id": one, "name": "n"} for one in ids]}


@pytest.mark.parametrize(
    ("listing", "newest"),
    [
        (conversations("c-1", "c-2"), "c-1"),
        (conversations(), None),
        (conversations(None), None),
        (conversations(""), None),
        (conversations(5), None),
        ({"data": ["c-1"]}, None),
        ({"data": None}, None),
        ([], None),
        (None, None),
    ],
)
def test_the_newest_conversation_comes_first(listing: object, newest: str | None) -> None:
    assert newest_conversation(listing) == newest


def page(*turns: tuple[object, object, object]) -> object:
    return {"data": [{"query": query, "answer": answer, "created_at": at} for query, answer, at in turns]}


FIRST, SECOND = PastTurn("a", "b"), PastTurn("c", "d")


@pytest.mark.parametrize(
    ("listing", "past"),
    [
        (page(("a", "b", 1), ("c", "d", 2)), [FIRST, SECOND]),
        (page(("c", "d", 2), ("a", "b", 1)), [FIRST, SECOND]),
        (page(("a", "b", 1), ("c", "d", 1)), [FIRST, SECOND]),
        (page(("a", "b", None), ("c", "d", 1)), [FIRST, SECOND]),
        (page(("a", None, 1)), [PastTurn("a", "")]),
        (page(), []),
        ({"data": "x"}, None),
        (None, None),
    ],
)
def test_what_was_said_comes_oldest_first(listing: object, past: list[PastTurn] | None) -> None:
    assert read_past(listing) == past
