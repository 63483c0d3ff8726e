"""Which steps an answer passes on its way to the client."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import AppMode
from gateway.exchange.answer import (
    AnswerEvent,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    Rejected,
    TextDelta,
    ToolCallDelta,
)
from gateway.exchange.forms.form import Form, FormAction
from gateway.exchange.stages import answer_stages, pass_stages
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import Message, ResponseFormat, Role, ToolChoice, ToolSpec, Turn

TURN = Turn("writer", (Message(Role.USER, "Hello"),))


def steps(turn: Turn) -> list[str]:
    return [type(stage).__name__ for stage in answer_stages(turn, CallSyntax("x"), str, repr)]


def test_an_answer_passes_no_step_that_nobody_asked_for() -> None:
    assert steps(TURN) == ["ReasoningStage", "FormStage"]
    assert steps(replace(TURN, stream=True)) == ["ReasoningStage", "FormStage"]
    assert steps(replace(TURN, max_tokens=5)) == ["ReasoningStage", "FormStage"]


def test_a_text_is_cut_where_the_turn_says() -> None:
    turn = replace(TURN, stop=("END",), max_characters=7)
    assert steps(turn) == ["ReasoningStage", "CutStage", "CutStage", "FormStage"]
    events: list[AnswerEvent] = [TextDelta("<think>END</think>Hello ENDless"), Finished()]
    for stage in answer_stages(turn, CallSyntax("x"), str, repr):
        events = stage.feed(events)
    assert events == [ReasoningDelta("END"), TextDelta("Hello "), Finished()]


def test_the_settled_text_is_cut_alike() -> None:
    events: list[AnswerEvent] = [TextDelta("Hi"), Finished(text="Hello world END")]
    for stage in answer_stages(replace(TURN, stop=("END",), max_characters=7), CallSyntax("x"), str, repr):
        events = stage.feed(events)
    assert events == [TextDelta("Hi"), Finished(FinishReason.LENGTH, text="Hello w")]


def test_calls_are_looked_for_before_json_and_cuts_come_last() -> None:
    tools = ToolChoice((ToolSpec("clock"),))
    turn = replace(TURN, tool_choice=tools, response_format=ResponseFormat(), stop=("END",))
    assert steps(turn) == ["ReasoningStage", "ToolCallStage", "StructuredOutput", "CutStage", "FormStage"]


def test_thoughts_do_not_stand_in_json() -> None:
    turn = replace(TURN, response_format=ResponseFormat(), reasoning=Reasoning.INLINE)
    events: list[AnswerEvent] = [TextDelta('<think>\n{"a": 0}\n</think>\n{"a": 1}'), Finished()]
    for stage in answer_stages(turn, CallSyntax("x"), str, repr):
        events = stage.feed(events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == '{"a": 1}'
    assert any(isinstance(event, ReasoningDelta) for event in events)


@pytest.mark.parametrize("settled", [None, "settled"])
@pytest.mark.parametrize("size", [1, 5, 1000])
@pytest.mark.parametrize(
    ("wish", "shown"),
    [
        (Reasoning.INLINE, "<think>\nSay {}.\n</think>\n\nLook. "),
        (Reasoning.FIELD, "Look. "),
        (Reasoning.DROP, "Look. "),
    ],
)
def test_a_call_that_is_only_thought_of_is_none(wish: Reasoning, shown: str, size: int, settled: str | None) -> None:
    syntax = CallSyntax("x")
    call = syntax.write("clock", {})
    turn = replace(TURN, tool_choice=ToolChoice((ToolSpec("clock"),)), reasoning=wish)
    written = f"<think>\nSay {call}.\n</think>\n\nLook. {call}"
    batches: list[list[AnswerEvent]] = [[TextDelta(written[at : at + size])] for at in range(0, len(written), size)]
    batches.append([Finished(text=settled and written)])
    events: list[AnswerEvent] = []
    stages = answer_stages(turn, syntax, str, repr)
    for batch in batches:
        for stage in stages:
            batch = stage.feed(batch)
        events += batch
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == shown.format(call)
    assert [event for event in events if isinstance(event, ToolCallDelta)] == [ToolCallDelta(0, "{}", "0", "clock")]
    assert events[-1] == Finished(FinishReason.TOOL_CALLS, text=settled and shown.format(call))


# --- texts that pass --------------------------------------------------------------------------------------------------

STREAMS = sorted((Path(__file__).parents[2] / "traces").glob("*/*.sse"))
SYNTAX = CallSyntax("x")
TOOLS = ToolChoice((ToolSpec("clock"),))
TURNS = {
    "plain": TURN,
    "inline": replace(TURN, reasoning=Reasoning.INLINE),
    "dropped": replace(TURN, reasoning=Reasoning.DROP),
    "cut": replace(TURN, stop=("END", "w3"), max_characters=20),
    "held back": replace(TURN, hold_back=True),
    "tools": replace(TURN, tool_choice=TOOLS, stream=True),
    "tools, inline": replace(TURN, tool_choice=TOOLS, reasoning=Reasoning.INLINE),
    "a call": replace(TURN, tool_choice=replace(TOOLS, required=True)),
    "JSON": replace(TURN, response_format=ResponseFormat(), stream=True),
}


def shown(turn: Turn, batches: list[list[AnswerEvent]], *, passing: bool) -> list[object]:
    """The answer behind all stages; `passing`: texts that pass a stage are not fed to it."""
    stages = answer_stages(turn, SYNTAX, str, repr)
    told: list[object] = []
    for events in batches:
        if passing:
            events = pass_stages(stages, events)
        else:
            for stage in stages:
                events = stage.feed(events)
        told += [(event.error.code, str(event.error)) if isinstance(event, Failed) else event for event in events]
        if events and isinstance(events[-1], Finished | Failed | Rejected):
            break
    return [(event.error.code, event.question) if isinstance(event, Rejected) else event for event in told]


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_text_that_passes_a_stage_is_what_feeding_it_gives(turn: Turn) -> None:
    for path in STREAMS:
        reader = AnswerReader(AppMode(json.loads(path.with_suffix(".json").read_bytes())["mode"]))
        data = path.read_bytes()
        batches = [reader.receive(data[at : at + 200]) for at in range(0, len(data), 200)] + [reader.receive_eof()]
        assert shown(turn, batches, passing=True) == shown(turn, batches, passing=False), path


CALL = SYNTAX.write("clock", {})
FORM = Form("tok", "run", "Send it?", (), (FormAction("yes", "Yes"),))
PIECES = st.sampled_from(
    ["a ", "b\n", "\n\n", " ", "<think>", "</think>", "<", "`", "```\n", "END", '{"a": ', "1}", CALL]
)
BATCHES = st.lists(
    st.builds(lambda text: [TextDelta(text)], PIECES)
    | st.lists(st.builds(TextDelta, PIECES) | st.builds(ReasoningDelta, PIECES, st.booleans()), max_size=3),
    max_size=12,
)
ENDS = st.sampled_from([Finished(), Finished(text="a <think>b</think> END"), Finished(form=FORM)])


@given(st.sampled_from(list(TURNS.values())), BATCHES, ENDS)
@example(TURNS["inline"], [[TextDelta("a ")], [TextDelta("<think>b</think>\n")], [TextDelta("c")]], Finished())
@example(TURN, [[TextDelta("a ")]], Finished(form=FORM))
def test_any_text_that_passes_a_stage_is_what_feeding_it_gives(
    turn: Turn, batches: list[list[AnswerEvent]], end: Finished
) -> None:
    batches = [*batches, [end]]
    assert shown(turn, batches, passing=True) == shown(turn, batches, passing=False)
