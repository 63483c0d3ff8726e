"""A text ends where the client wants it to, however it was cut on its way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RunFailed
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, ReasoningDelta, TextDelta, Usage
from gateway.exchange.stop_sequences import CutStage, StopSequences, TextLimit


def cut_stage(*sequences: str) -> CutStage:
    return CutStage(lambda: StopSequences(sequences))


def read(stage: CutStage, *pieces: str) -> tuple[str, AnswerEvent]:
    """The text and the last event; each piece travels by itself."""
    events: list[AnswerEvent] = [TextDelta(piece) for piece in pieces if piece]
    told = [shown for event in [*events, Finished(usage=Usage(1, 2, 3))] for shown in stage.feed([event])]
    assert all(isinstance(event, TextDelta) and event.text for event in told[:-1])
    return "".join(event.text for event in told if isinstance(event, TextDelta)), told[-1]


@pytest.mark.parametrize(
    ("sequences", "text", "shown"),
    [
        (("END",), "one END two", "one "),
        (("END",), "END", ""),
        (("\nuser:",), "Hi.\nuser: and so on", "Hi."),
        (("a", "b"), "xxbxa", "xx"),
        (("abcd", "bc"), "xabcd", "xa"),  # bc was whole first
        (("bcd", "bc"), "abcd", "a"),
        (("aab",), "aaab", "a"),
        (("😀",), "so 😀", "so "),
    ],
)
def test_what_comes_before_a_sequence(sequences: tuple[str, ...], text: str, shown: str) -> None:
    for size in range(1, len(text) + 1):
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
        assert read(cut_stage(*sequences), *pieces) == (shown, Finished(FinishReason.STOP)), size


def test_a_text_without_them_is_whole() -> None:
    assert read(cut_stage("END"), "one E", "N") == ("one EN", Finished(usage=Usage(1, 2, 3)))


def test_only_what_may_begin_a_sequence_waits() -> None:
    stage = cut_stage("END")
    assert stage.feed([TextDelta("one ")]) == [TextDelta("one ")]
    assert stage.feed([TextDelta("two E")]) == [TextDelta("two ")]
    assert stage.feed([TextDelta("N")]) == []
    assert stage.feed([TextDelta("three")]) == [TextDelta("ENthree")]


def test_a_thought_ends_nothing() -> None:
    events: list[AnswerEvent] = [ReasoningDelta("the END"), TextDelta("x")]
    assert cut_stage("END").feed(events) == events
    assert CutStage(lambda: TextLimit(1)).feed(events) == events


def test_nothing_follows_a_cut() -> None:
    stage = cut_stage("END")
    events: list[AnswerEvent] = [TextDelta("xENDy"), ReasoningDelta("hm"), Finished()]
    assert stage.feed(events) == [TextDelta("x"), Finished(FinishReason.STOP)]
    assert stage.feed([TextDelta("z"), Finished()]) == []


def test_a_failure_shows_what_was_held_back() -> None:
    failed = Failed(RunFailed("no"))
    stage = cut_stage("END")
    assert stage.feed([TextDelta("xE"), failed]) == [TextDelta("x"), TextDelta("E"), failed]


def test_a_cut_does_not_hide_that_moderation_has_taken_the_text_back() -> None:
    end = Finished(FinishReason.CONTENT_FILTER, text="I cannot. END of it.")
    assert cut_stage("END").feed([TextDelta("bad"), end])[-1] == Finished(
        FinishReason.CONTENT_FILTER, text="I cannot. "
    )
    assert CutStage(lambda: TextLimit(1)).feed([end]) == [Finished(FinishReason.CONTENT_FILTER, text="I")]


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("limit", "shown", "reason"),
    [
        (1, "o", FinishReason.LENGTH),
        (3, "one", FinishReason.LENGTH),
        (6, "one tw", FinishReason.LENGTH),
        (7, "one two", FinishReason.STOP),
        (8, "one two", FinishReason.STOP),
    ],
)
def test_a_text_ends_after_so_many_characters(limit: int, shown: str, reason: FinishReason, size: int) -> None:
    pieces = ["one two"[start : start + size] for start in range(0, 7, size)]
    text, end = read(CutStage(lambda: TextLimit(limit)), *pieces)
    assert isinstance(end, Finished)
    assert (text, end.reason) == (shown, reason)


@given(
    st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.text("abc", max_size=5), max_size=8),
)
def test_pieces_make_no_difference(sequences: list[str], pieces: list[str]) -> None:
    whole = read(cut_stage(*sequences), "".join(pieces))
    assert read(cut_stage(*sequences), *pieces) == whole
    assert all(sequence not in whole[0] for sequence in sequences)
