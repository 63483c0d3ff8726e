"""What one gateway tells of its answer is what the other one reads."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway import errors
from gateway.errors import GatewayError
from gateway.exchange.answer import (
    AnswerEvent,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    Rejected,
    Started,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from gateway.exchange.citation import Citation
from gateway.exchange.event_codec import decode_events, encode_events
from gateway.exchange.file_link import FileLink
from gateway.exchange.forms.form import Form, FormAction, FormField

EVENTS: list[AnswerEvent] = [
    Started("task"),
    Started("task", "conversation", "message", "run"),
    TextDelta('w1 \U0001f600 \u2028 \0 \ud800 "\\'),
    ReasoningDelta("hm"),
    ToolCallDelta(0, '{"a":', "call_1", "weather"),
    ToolCallDelta(0, "1}"),
    Finished(),
    *(Finished(reason, Usage(1, 2, 3), "settled") for reason in FinishReason),
    Finished(text=""),
    Finished(form=Form("tok", "run", "Send?", (FormField("note", options=("a", "b")),), (FormAction("yes", "Yes"),))),
    Finished(files=(FileLink("https://x/a.png", "image", "a.png", "image/png", 12), FileLink("https://x/b"))),
    Finished(usage=Usage(1, 2, 3, 4, 5, "0.0000390", "USD"), workflow_run_id="run", questions=("And you?", "Why?")),
    Finished(
        citations=(Citation(1, "text"), Citation(2, "", "a.pdf", "Manuals", "d", "k", "s", 0.5, 7, "https://a.b"))
    ),
]
ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]


def test_every_kind_of_event_is_here() -> None:
    assert {type(event) for event in EVENTS} | {Failed, Rejected} == set(get_args(AnswerEvent))


def test_events_arrive_as_they_were() -> None:
    assert decode_events(encode_events(EVENTS)) == EVENTS
    assert decode_events(encode_events([])) == []


@given(some.text(some.characters(), min_size=1))
def test_any_text_arrives_as_it_was(text: str) -> None:
    encoded = encode_events([TextDelta(text)])
    assert encoded.isascii()
    assert encoded.isprintable()
    assert decode_events(encoded) == [TextDelta(text)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_arrives_as_it_was(kind: type[GatewayError]) -> None:
    for sent in (kind("plain"), kind("full", param="messages[0]", code="odd", should_retry=True, retry_after=7)):
        (event,) = decode_events(encode_events([Failed(sent)]))
        assert isinstance(event, Failed)
        assert type(event.error) is kind
        assert vars(event.error) == vars(sent)
        assert str(event.error) == str(sent)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}{",
        "null",
        "[1]",
        '[["TextDelta"]]',
        '[["TextDelta",{"words":"x"}]]',
        '[["Applause",{}]]',
        '[["Finished",{"reason":"bored"}]]',
        '[["Failed",{"error":{"kind":"NoSuchError","message":"x"}}]]',
        '[["Failed",{"error":{"kind":"RunFailed"}}]]',
    ],
)
def test_anything_else_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller takes any
        decode_events(text)


def test_only_events_are_written() -> None:
    with pytest.raises(TypeError):
        encode_events([TextDelta(b"bytes")])  # type: ignore[arg-type]


def test_it_is_json() -> None:
    assert json.loads(encode_events([TextDelta("x")])) == [["TextDelta", {"text": "x"}]]
