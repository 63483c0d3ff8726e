"""Which steps an answer passes on its way to the client."""

from __future__ import annotations

from dataclasses import replace

from gateway.exchange.answer import AnswerEvent, Finished, FinishReason, ReasoningDelta, TextDelta
from gateway.exchange.stages import answer_stages
from gateway.exchange.turn import Message, Role, Turn

TURN = Turn("writer", (Message(Role.USER, "Hello"),))


def steps(turn: Turn) -> list[str]:
    return [type(stage).__name__ for stage in answer_stages(turn)]


def test_an_answer_passes_no_step_that_nobody_asked_for() -> None:
    assert steps(TURN) == ["ReasoningStage"]
    assert steps(replace(TURN, stream=True)) == ["ReasoningStage"]
    assert steps(replace(TURN, max_tokens=5)) == ["ReasoningStage"]


def test_a_text_is_cut_where_the_turn_says() -> None:
    turn = replace(TURN, stop=("END",), max_characters=7)
    assert steps(turn) == ["ReasoningStage", "CutStage", "CutStage"]
    events: list[AnswerEvent] = [TextDelta("<think>END</think>Hello ENDless"), Finished()]
    for stage in answer_stages(turn):
        events = stage.feed(events)
    assert events == [ReasoningDelta("END"), TextDelta("Hello "), Finished()]


def test_the_settled_text_is_cut_alike() -> None:
    events: list[AnswerEvent] = [TextDelta("Hi"), Finished(text="Hello world END")]
    for stage in answer_stages(replace(TURN, stop=("END",), max_characters=7)):
        events = stage.feed(events)
    assert events == [TextDelta("Hi"), Finished(FinishReason.LENGTH, text="Hello w")]
