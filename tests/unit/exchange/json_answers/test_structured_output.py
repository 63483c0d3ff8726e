"""Bare JSON out of whatever a model writes around it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, Rejected, TextDelta, Usage
from gateway.exchange.json_answers.json_text import LIVE_FROM
from gateway.exchange.json_answers.structured_output import StructuredOutput, instruct_format
from gateway.exchange.turn import ResponseFormat

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
OBJECT = ResponseFormat()
FITTING = ResponseFormat(SCHEMA)
ARRAY = ResponseFormat({"type": "array", "items": {"type": "integer"}})


def answer(stage: StructuredOutput, text: str, size: int = 5, end: Finished | None = None) -> list[AnswerEvent]:
    pieces = [TextDelta(text[start : start + size]) for start in range(0, len(text), size)]
    return [event for piece in pieces for event in stage.feed([piece])] + stage.feed([end or Finished()])


def said(events: list[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# What a model writes, and what a client gets of it.
OUTPUTS = {
    "bare": ('{"a": 1}', '{"a": 1}'),
    "in a fence": ('```json\n{\n "a": 1\n}\n```', '{\n "a": 1\n}'),
    "prose around": ('Sure, here it is:\n\n{"a": 1}\n\nAnything else?', '{"a": 1}'),
    "braces in the prose": ('The set {x} of f{n}: {"a": 1} {b}', '{"a": 1}'),
    "braces in strings": ('{"a": 1, "b": "}{\\"]"}', '{"a": 1, "b": "}{\\"]"}'),
    "nested": ('{"a": 1, "b": {"c": [{"d": {}}]}}.', '{"a": 1, "b": {"c": [{"d": {}}]}}'),
    "scripts": ('好的 {"a": 1, "b": "漢字 👩‍👩‍👧"} 完', '{"a": 1, "b": "漢字 👩‍👩‍👧"}'),
    "a line break in a string": ('{"a": 1, "b": "x\ny"}', '{"a": 1, "b": "x\\ny"}'),
    "commas too many": ('{"a": 1, "b": [1, {"c": 2,},],}', '{"a": 1, "b": [1, {"c": 2}]}'),
    "words of Python": ('{"a": 1, "b": [True, None]}', '{"a": 1, "b": [true, null]}'),
    "the end missing behind a word": ('{"a": 1, "b": true', '{"a": 1, "b": true}'),
    "the end missing behind a comma": ('{"a": 1,', '{"a": 1}'),
    "the end missing": ('{"a": 1, "b": ["x', '{"a": 1, "b": ["x"]}'),
}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("written", "wanted"), OUTPUTS.values(), ids=OUTPUTS)
def test_the_client_gets_bare_json(written: str, wanted: str, size: int, live: bool) -> None:
    events = answer(StructuredOutput(FITTING, live), written, size)
    assert json.loads(said(events)) == json.loads(wanted)
    assert events[-1] == Finished()


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize(("written", "wanted"), OUTPUTS.values(), ids=OUTPUTS)
def test_long_json_is_bare_while_it_streams(written: str, wanted: str, size: int) -> None:
    long = f'"a": 1, "long": "{"x" * LIVE_FROM}"'
    events = answer(StructuredOutput(FITTING, live=True), written.replace('"a": 1', long), size)
    assert said(events) == wanted.replace('"a": 1', long)
    assert events[-1] == Finished()


def test_long_json_streams_and_prose_does_not() -> None:
    stage, long = StructuredOutput(OBJECT, live=True), '{ "a": "' + "x" * LIVE_FROM
    assert stage.feed([TextDelta("Here: ")]) == []
    assert stage.feed([TextDelta(long[:20])]) == []
    assert stage.feed([TextDelta(long[20:])]) == [TextDelta(long)]
    assert stage.feed([TextDelta('", "b": 1')]) == [TextDelta('", "b": 1')]
    assert stage.feed([TextDelta("} Done.")]) == [TextDelta("}")]
    assert stage.feed([TextDelta(' {"b": 2}')]) == []
    assert stage.feed([Finished()]) == [Finished()]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ('As in {"b": 0}: {"a": 1}', {"a": 1}),  # the first one that fits
        ('Maybe {"a": 0}?\n</think>\n\n{"a": 1}', {"a": 1}),  # a thought whose beginning is in the model's prompt
        ('{"a": 1}\n</think>\n\nDone.', {"a": 1}),
        ("{'a': 1}", {"a": 1}),
        ('{a: 1, "b": True,}', {"a": 1, "b": True}),
        ('{"a": "1", "b": "2"}', {"a": 1, "b": "2"}),  # the type that the schema names
        ('{"a": 1, "b": "says "hi" there"}', {"a": 1, "b": 'says "hi" there'}),
    ],
)
def test_of_a_whole_answer_the_best_is_taken(written: str, wanted: object, live: bool) -> None:
    assert json.loads(said(answer(StructuredOutput(FITTING, live), written))) == wanted


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    "wanted", [ARRAY, ResponseFormat({"$ref": "#/$defs/list", "$defs": {"list": {"type": "array"}}})]
)
def test_an_array_is_found_where_the_schema_wants_one(wanted: ResponseFormat, live: bool) -> None:
    assert said(answer(StructuredOutput(wanted, live), "See [A]: [1, 2] {3}")) == "[1, 2]"


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("written", ["", "No.", "I will not do {that}.", "[1, 2]", '{"a": "x"}', '{"b": 1}'])
def test_an_answer_without_json_is_asked_for_again(written: str, live: bool) -> None:
    stage = StructuredOutput(FITTING, live)
    [rejected] = answer(stage, written, end=Finished(usage=Usage(1, 2, 3)))
    assert isinstance(rejected, Rejected)
    assert (rejected.error.code, rejected.error.status, rejected.usage) == ("invalid_json", 502, Usage(1, 2, 3))
    assert said(answer(stage, 'Sorry: {"a": 2}')) == '{"a": 2}'


def test_the_second_question_says_what_was_wrong() -> None:
    [rejected] = answer(StructuredOutput(FITTING, live=False), '{"a": "x"}')
    assert isinstance(rejected, Rejected)
    for text in (rejected.question, rejected.error.message):
        assert "a: 'x' is not of type 'integer'" in text


def test_of_several_that_do_not_fit_the_first_is_spoken_of() -> None:
    [rejected] = answer(StructuredOutput(FITTING, live=False), '{"a": "x"} or {"b": 1}')
    assert isinstance(rejected, Rejected)
    assert "a: 'x' is not of type 'integer'" in rejected.question


@pytest.mark.parametrize("written", ['{"a": "x"}', '{"b": 1}', '{"a": 1,, "b": 2}', '{"a": }'])
def test_what_was_shown_and_does_not_fit_ends_in_an_error(written: str) -> None:
    *_, end = answer(StructuredOutput(FITTING, live=True), written.replace("}", f', "c": "{"x" * LIVE_FROM}"}}'))
    assert isinstance(end, Failed)
    assert end.error.code == "invalid_json"


# --- other ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("live", [False, True])
def test_an_answer_that_is_cut_off_is_shown_as_far_as_it_goes(live: bool) -> None:
    end = Finished(FinishReason.LENGTH)
    for json_text in ('{"b": [1', '{"b": ["' + "x" * LIVE_FROM):
        events = answer(StructuredOutput(FITTING, live), f"So: {json_text}", 100, end)
        assert (said(events), events[-1]) == (json_text, end)


@pytest.mark.parametrize("reason", [FinishReason.TOOL_CALLS, FinishReason.CONTENT_FILTER])
def test_an_answer_of_calls_or_of_the_moderation_is_no_json(reason: FinishReason) -> None:
    end = Finished(reason, text="I cannot.")
    assert answer(StructuredOutput(FITTING, live=False), "Well", end=end) == [end]


@pytest.mark.parametrize("live", [False, True])
def test_the_settled_text_is_bare_too(live: bool) -> None:
    events = answer(StructuredOutput(FITTING, live), 'See {"a": 1}', end=Finished(text='```\n{"a": 1}\n```'))
    assert events[-1] == Finished(text='{"a": 1}')


LONG_BEGINNING = '{"long": "' + "x" * LIVE_FROM + '", "b": '


@given(
    st.sampled_from(["", LONG_BEGINNING]), st.text("{}[]\"':,\\ ta1-\n", max_size=50), st.booleans(), st.integers(1, 9)
)
@settings(max_examples=300, deadline=None)
def test_garbage_never_raises_and_what_is_given_out_is_json(begun: str, text: str, live: bool, size: int) -> None:
    events = answer(StructuredOutput(OBJECT, live), begun + text, size)
    assert isinstance(events[-1], Finished | Rejected | Failed)
    if isinstance(events[-1], Finished):
        assert isinstance(json.loads(said(events)), dict)


def test_the_instruction_has_the_schema() -> None:
    assert "JSON object" in instruct_format(OBJECT)
    assert "JSON array" in instruct_format(ARRAY)
    assert json.dumps(SCHEMA, separators=(",", ":")) in instruct_format(FITTING)
