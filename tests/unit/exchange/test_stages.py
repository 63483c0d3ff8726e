"""Which steps an answer passes on its way to the client."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.exchange.answer import AnswerEvent, Finished, FinishReason, ReasoningDelta, TextDelta, ToolCallDelta
from gateway.exchange.stages import answer_stages
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
