"""A listing of a conversation's messages, asked for with limit=1: Dify gives the newest alone."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.messages import is_last_message, read_suggestions


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
