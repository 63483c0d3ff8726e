"""Which steps an answer passes on its way to the client."""

from __future__ import annotations

from dataclasses import replace

from gateway.exchange.answer import AnswerEvent, Finished, FinishReason, ReasoningDelta, TextDelta
from gateway.exchange.reasoning import Reasoning
from gateway.exchange.stages import answer_stages
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
