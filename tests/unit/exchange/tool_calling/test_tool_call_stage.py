"""From an answer's text to what a client is told: text, calls, the question for a second answer, or an error."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import UnusableAnswer
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
from gateway.exchange.json_answers.json_text import LIVE_FROM
from gateway.exchange.tool_calling import open_call
from gateway.exchange.tool_calling.tool_call_stage import ToolCallStage
from gateway.exchange.turn import ToolChoice
from tests.unit.exchange.tool_calling.corpus import (
    CALL_OSLO,
    CALL_ROME,
    CORPUS,
    LONG,
    OSLO,
    ROME,
    SYNTAX,
    TOOLS,
    Output,
    tagged,
)

ANY = ToolChoice(TOOLS)
REQUIRED = ToolChoice(TOOLS, required=True)
BAD = '[[{"name":"weather","arguments":{}}]]'


def stage_for(choice: ToolChoice = ANY, live: bool = True) -> ToolCallStage:
    return ToolCallStage(choice, SYNTAX, lambda number: f"call_{number}", live)


def answer(stage: ToolCallStage, text: str, size: int = 7, end: Finished | None = None) -> list[AnswerEvent]:
    """The stage's events for an answer that comes in pieces."""
    text = tagged(text)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    batches: list[list[AnswerEvent]] = [[TextDelta(piece)] for piece in pieces]
    return [event for batch in [*batches, [end or Finished()]] for event in stage.feed(batch)]


def said(events: Iterable[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def calls(events: Iterable[AnswerEvent]) -> list[tuple[str, Any]]:
    """The calls as a client puts them together; ids and names come once, in front."""
    names: list[str] = []
    arguments: list[str] = []
    for event in events:
        if isinstance(event, ToolCallDelta):
            if event.index == len(names):
                assert (event.id, event.name is not None) == (f"call_{event.index}", True)
                names.append(event.name or "")
                arguments.append("")
            else:
                assert (event.id, event.name) == (None, None)
            arguments[event.index] += event.arguments
    return [(name, json.loads(text)) for name, text in zip(names, arguments, strict=True)]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("output", CORPUS, ids=lambda output: output.about)
def test_a_models_output_becomes_text_and_calls(output: Output, size: int, live: bool) -> None:
    events = answer(stage_for(live=live), output.written, size)
    good = [call for call in output.calls if call is not None]
    assert said(events) == output.said
    assert calls(events) == good
    if None in output.calls:
        assert isinstance(events[-1], Rejected)
        assert events[-1].error.code == "invalid_tool_call"
    else:
        assert events[-1] == Finished(FinishReason.TOOL_CALLS if good else FinishReason.STOP)


@given(
    st.text()
    | st.lists(st.sampled_from([SYNTAX.opening, SYNTAX.closing, *'{}[]":,\\', "name", "weather"])).map("".join)
)
@settings(max_examples=200, deadline=None)
def test_garbage_never_raises(text: str) -> None:
    assert isinstance(answer(stage_for(), text, 4)[-1], Finished | Rejected | Failed)


# --- what is shown when -----------------------------------------------------------------------------------------------


def test_text_that_cannot_begin_a_call_passes_at_once() -> None:
    stage = stage_for()
    for text in ("It ", "is ", "12 < 13 "):
        assert stage.feed([TextDelta(text)]) == [TextDelta(text)]


def test_other_events_pass_in_their_place() -> None:
    others: list[AnswerEvent] = [Started("t"), ReasoningDelta("hm"), TextDelta("Yes"), ReasoningDelta("so")]
    assert stage_for().feed(others) == others
    failed = Failed(UnusableAnswer("no"))
    assert stage_for().feed([failed]) == [failed]


def test_a_short_call_is_told_whole_and_compact() -> None:
    events = answer(stage_for(), f"[[ {CALL_OSLO} ]]")
    assert events[0] == ToolCallDelta(0, '{"city":"Oslo"}', "call_0", "weather")


def test_long_arguments_are_shown_as_they_come() -> None:
    call = json.dumps({"name": "write_file", "arguments": {"content": LONG}})
    stage = stage_for()
    deltas = [stage.feed([TextDelta(piece)]) for piece in [tagged("[["), call[:LIVE_FROM], *call[LIVE_FROM:]]]
    assert [len(batch) for batch in deltas[:4]] == [0, 1, 1, 1]
    assert calls([event for batch in deltas for event in batch]) == [("write_file", {"content": LONG})]


# JSON to the letter, which is shown as it was written.
ODD = ("infinity", "half a character")


@pytest.mark.parametrize("size", [1, 5, 10_000])
@pytest.mark.parametrize("output", [one for one in CORPUS if one.about not in ODD], ids=lambda output: output.about)
def test_what_is_shown_early_is_what_would_be_shown_late_or_an_error(
    output: Output, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_call, "LIVE_FROM", 35)  # behind the head, amid the arguments of most
    *shown, end = answer(stage_for(), output.written, size)
    if isinstance(end, Failed):
        assert output.about in ("a number as text", "null for nothing") or None in output.calls
    else:
        assert calls(shown) == [call for call in output.calls if call is not None]
        assert said(shown) == output.said


def test_a_client_that_waits_for_the_whole_gets_them_whole() -> None:
    events = answer(stage_for(live=False), f'[[{{"name":"write_file","arguments":{{"content":{json.dumps(LONG)}}}}}]]')
    assert len(events) == 2


def test_where_the_head_is_unusual_nothing_is_shown_before_the_end() -> None:
    text = json.dumps({"arguments": {"content": LONG}, "name": "write_file"})
    events = answer(stage_for(), f"[[{text}]]")
    assert (len(events), calls(events)) == (2, [("write_file", {"content": LONG})])
    unknown = json.dumps({"name": "radar", "arguments": {"content": LONG}})
    assert isinstance(answer(stage_for(), f"[[{unknown}]]")[-1], Rejected)


# --- what may be called -----------------------------------------------------------------------------------------------


def test_of_several_calls_the_first_counts_where_one_is_wanted() -> None:
    one = ToolChoice(TOOLS, parallel=False)
    for text in (f"[[{CALL_OSLO}]][[{CALL_ROME}]]", f"[[ [{CALL_OSLO},{CALL_ROME}] ]]"):
        assert calls(answer(stage_for(one), text)) == [OSLO]


def test_a_tool_that_is_not_allowed_now_is_unknown() -> None:
    only_clock = ToolChoice((TOOLS[1],))
    assert isinstance(answer(stage_for(only_clock), f"[[{CALL_OSLO}]]")[-1], Rejected)


def test_where_a_call_is_required_text_is_no_answer() -> None:
    events = answer(stage_for(REQUIRED), f"Well. [[{CALL_OSLO}]] There.")
    assert (said(events), calls(events)) == ("", [OSLO])
    [rejected] = answer(stage_for(REQUIRED), "It is warm.")
    assert isinstance(rejected, Rejected)
    assert SYNTAX.opening in rejected.question


# --- the second answer ------------------------------------------------------------------------------------------------


def test_the_second_question_says_what_was_wrong() -> None:
    [*_, rejected] = answer(stage_for(), BAD, end=Finished(usage=Usage(1, 2, 3)))
    assert isinstance(rejected, Rejected)
    assert "'city' is a required property" in rejected.question
    assert "'city' is a required property" in rejected.error.message
    assert (rejected.error.status, rejected.usage) == (502, Usage(1, 2, 3))


def test_the_second_answer_goes_on_where_the_first_ended() -> None:
    stage = stage_for()
    events = answer(stage, f"Look. [[{CALL_OSLO}]]{BAD}")
    assert isinstance(events.pop(), Rejected)
    events += answer(stage, f"Sorry! [[{CALL_ROME}]]")
    assert (said(events), calls(events)) == ("Look. ", [OSLO, ROME])
    assert events[-1] == Finished(FinishReason.TOOL_CALLS)


def test_a_second_answer_without_a_call_is_rejected_where_one_is_required() -> None:
    stage = stage_for(REQUIRED)
    answer(stage, "No.")
    assert isinstance(answer(stage, "No!")[-1], Rejected)


def test_what_was_shown_cannot_be_taken_back() -> None:
    call = json.dumps({"name": "weather", "arguments": {"town": LONG}})
    events = answer(stage_for(), f"[[{call}]] and more")
    assert isinstance(events[-1], Failed)
    assert isinstance(events[-1].error, UnusableAnswer)
    assert not any(isinstance(event, Finished) for event in events)


def test_shown_arguments_that_lack_their_end_get_it() -> None:
    call = json.dumps({"name": "write_file", "arguments": {"content": LONG}})[:-3]
    assert calls(answer(stage_for(), f"[[{call}")) == [("write_file", {"content": LONG})]


@pytest.mark.parametrize(("first", "shown"), [("", "It is warm."), ("Look.", "Look.\n\nIt is warm.")])
@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH])
def test_a_second_answer_in_words_is_the_answer(first: str, shown: str, reason: FinishReason) -> None:
    for settled in (None, tagged(f"{first}{BAD}")):
        stage = stage_for()
        events = answer(stage, f"{first}{BAD}", end=Finished(text=settled))
        assert isinstance(events.pop(), Rejected)
        events += answer(stage, " It is warm.\n", end=Finished(reason, text=settled and "It is warm."))
        assert (said(events), calls(events)) == (shown, [])
        assert events[-1] == Finished(reason, text=settled and shown)


def test_nothing_is_said_where_the_second_answer_is_rejected_too() -> None:
    stage = stage_for()
    answer(stage, BAD)
    [rejected] = answer(stage, f"Sorry! {BAD}")
    assert isinstance(rejected, Rejected)


# --- other ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", [FinishReason.LENGTH, FinishReason.CONTENT_FILTER])
@pytest.mark.parametrize("length", [30, 400])
def test_an_answer_that_is_cut_or_replaced_is_not_asked_for_again(reason: FinishReason, length: int) -> None:
    call = json.dumps({"name": "weather", "arguments": {"town": LONG}})[:length]
    events = answer(stage_for(REQUIRED), f"[[{call}", end=Finished(reason))
    assert events[-1] == Finished(reason)
    assert len([event for event in events if isinstance(event, Finished | Rejected | Failed)]) == 1


def test_what_replaces_an_answer_is_told_as_it_is() -> None:
    end = Finished(FinishReason.CONTENT_FILTER, text="I cannot.")
    assert answer(stage_for(REQUIRED), f"[[{CALL_OSLO}", end=end)[-1] == end


def test_the_settled_text_is_without_calls() -> None:
    settled = tagged(f"Well. [[{CALL_OSLO}]]")
    [*_, end] = answer(stage_for(), f"We [[{CALL_OSLO}]]", end=Finished(text=settled))
    assert end == Finished(FinishReason.TOOL_CALLS, text="Well. ")
    [*_, end] = answer(stage_for(REQUIRED), f"[[{CALL_OSLO}]]", end=Finished(text=settled))
    assert end == Finished(FinishReason.TOOL_CALLS, text="")


def test_the_settled_text_is_the_first_answers() -> None:
    stage = stage_for()
    answer(stage, f"We {BAD}", end=Finished(text=tagged(f"Well. {BAD}")))
    [*_, end] = answer(stage, '[[{"name":"clock"}]]', end=Finished(text="other"))
    assert end == Finished(FinishReason.TOOL_CALLS, text="Well. ")
