"""Nothing is shown that moderation may take back."""

from __future__ import annotations

from gateway.errors import RunFailed
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, ReasoningDelta, Started, TextDelta
from gateway.exchange.hold_back import HoldBackStage

SAID: list[AnswerEvent] = [ReasoningDelta("hm"), TextDelta("secret "), TextDelta("text")]


def test_a_text_that_stands_is_shown_at_its_end() -> None:
    stage = HoldBackStage()
    assert stage.feed([Started("t"), *SAID]) == [Started("t")]
    assert stage.feed([Finished()]) == [*SAID, Finished()]
    assert stage.feed([TextDelta("A second answer."), Finished()]) == [TextDelta("A second answer."), Finished()]


def test_one_that_was_replaced_is_never_shown() -> None:
    end = Finished(FinishReason.CONTENT_FILTER, text="No.")
    assert HoldBackStage().feed([*SAID, end]) == [TextDelta("No."), Finished(FinishReason.CONTENT_FILTER)]
    assert HoldBackStage().feed([*SAID, Finished(text="")]) == [Finished()]


def test_nor_is_one_that_failed() -> None:
    failed = Failed(RunFailed("no"))
    assert HoldBackStage().feed([*SAID, failed]) == [failed]


def test_a_second_answer_does_not_repeat_the_first() -> None:
    stage = HoldBackStage()
    stage.feed([*SAID, Finished()])
    assert stage.feed([TextDelta("better"), Finished()]) == [TextDelta("better"), Finished()]
