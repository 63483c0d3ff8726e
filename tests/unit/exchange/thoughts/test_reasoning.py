"""Thoughts as a field, in the text, or not at all."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import pytest

from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import AppMode
from gateway.errors import RunFailed
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, ReasoningDelta, Started, TextDelta
from gateway.exchange.thoughts.reasoning import Reasoning, ReasoningStage
from gateway.sse import SSEDecoder


def show(wish: Reasoning, *events: AnswerEvent) -> tuple[str, str, AnswerEvent]:
    stage = ReasoningStage(wish)
    told = [shown for event in events for shown in stage.feed([event])]
    assert all(delta.text for delta in told if isinstance(delta, TextDelta | ReasoningDelta))
    thought = "".join(delta.text for delta in told if isinstance(delta, ReasoningDelta))
    return thought, "".join(delta.text for delta in told if isinstance(delta, TextDelta)), told[-1]


ANSWER = (TextDelta("<think>\nhm"), TextDelta("\n</think>\n\nAn "), TextDelta("answer."), Finished())


@pytest.mark.parametrize(
    ("wish", "thought", "said"),
    [
        (Reasoning.FIELD, "hm", "An answer."),
        (Reasoning.INLINE, "", "<think>\nhm\n</think>\n\nAn answer."),
        (Reasoning.DROP, "", "An answer."),
    ],
)
def test_a_thought_in_the_text(wish: Reasoning, thought: str, said: str) -> None:
    assert show(wish, *ANSWER) == (thought, said, Finished())


STEPS = (
    ReasoningDelta("I need the clock."),
    ReasoningDelta("→ clock", begins=True),
    ReasoningDelta("\n← noon"),
    TextDelta("It is noon."),
    Finished(),
)


@pytest.mark.parametrize(
    ("wish", "thought", "said"),
    [
        (Reasoning.FIELD, "I need the clock.\n\n→ clock\n← noon", "It is noon."),
        (Reasoning.INLINE, "", "<think>\nI need the clock.\n\n→ clock\n← noon\n</think>\n\nIt is noon."),
        (Reasoning.DROP, "", "It is noon."),
    ],
)
def test_thoughts_of_their_own(wish: Reasoning, thought: str, said: str) -> None:
    assert show(wish, *STEPS) == (thought, said, Finished())


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_tag_in_the_text_has_a_line_of_its_own_and_one_empty_line_behind_it(size: int) -> None:
    before, after = cut([TextDelta("Let me look.")], size), cut([TextDelta("\n\nIt is noon.")], size)
    text = show(Reasoning.INLINE, *before, ReasoningDelta("→ clock", begins=True), *after, Finished())[1]
    assert text == "Let me look.\n\n<think>\n→ clock\n</think>\n\nIt is noon."
    again = cut([TextDelta(text)], size)
    assert show(Reasoning.INLINE, *again, Finished())[1] == text
    assert show(Reasoning.INLINE, TextDelta("Look:\n"), ReasoningDelta("hm"), Finished())[1].startswith(
        "Look:\n<think>"
    )


def test_thoughts_that_end_a_line_are_one_empty_line_apart() -> None:
    events = [ReasoningDelta("one\n"), ReasoningDelta("two\n\n", begins=True), ReasoningDelta("three", begins=True)]
    assert show(Reasoning.FIELD, *events, Finished())[0] == "one\n\ntwo\n\nthree"


def test_thoughts_do_not_begin_with_an_empty_line() -> None:
    events = [ReasoningDelta("\n"), ReasoningDelta("\n• LLM"), ReasoningDelta("\n• ANSWER"), Finished()]
    assert show(Reasoning.FIELD, *events)[0] == "• LLM\n• ANSWER"


def test_a_step_ends_a_thought_that_was_left_open() -> None:
    events = [TextDelta("<think>\nI need the clock."), ReasoningDelta("→ clock", begins=True), TextDelta("It is noon.")]
    assert show(Reasoning.FIELD, *events, Finished())[:2] == ("I need the clock.\n\n→ clock", "It is noon.")


def test_plain_texts_pass_as_they_are() -> None:
    stage = ReasoningStage(Reasoning.FIELD)
    events: list[AnswerEvent] = [Started("t"), TextDelta("An "), TextDelta("answer.")]
    assert all(told is event for told, event in zip(stage.feed(events), events, strict=True))
    assert stage.lets_pass("More.")


@pytest.mark.parametrize("wish", Reasoning)
def test_batches_make_no_difference(wish: Reasoning) -> None:
    together = ReasoningStage(wish).feed([*STEPS[:-1], *ANSWER])
    stage = ReasoningStage(wish)
    assert [told for event in [*STEPS[:-1], *ANSWER] for told in stage.feed([event])] == together


def test_what_was_held_back_comes_before_the_end() -> None:
    assert show(Reasoning.FIELD, TextDelta("a <thi"), Finished()) == ("", "a <thi", Finished())
    failed = Failed(RunFailed("no"))
    assert show(Reasoning.FIELD, TextDelta("a <thi"), failed) == ("", "a <thi", failed)
    assert show(Reasoning.INLINE, TextDelta("<think>hm"), Finished())[1] == "<think>\nhm\n</think>\n\n"


@pytest.mark.parametrize(
    ("wish", "settled"),
    [
        (Reasoning.FIELD, "An answer."),
        (Reasoning.INLINE, "<think>\nhm\n</think>\n\nAn answer."),
        (Reasoning.DROP, "An answer."),
    ],
)
def test_the_settled_text_is_split_alike(wish: Reasoning, settled: str) -> None:
    end = show(wish, Finished(text="<think>hm</think>An answer."))[2]
    assert end == Finished(text=settled)
    assert show(wish, Finished(text="Plain."))[2] == Finished(text="Plain.")


def test_thoughts_that_the_settled_text_leaves_out_stay_in_the_text() -> None:
    said = (TextDelta("<think>one</think>An"), ReasoningDelta("two", begins=True), TextDelta(" answer."))
    end = show(Reasoning.INLINE, *said, Finished(text="An answer."))[2]
    assert end == Finished(text="<think>\none\n\ntwo\n</think>\n\nAn answer.")
    assert show(Reasoning.DROP, *said, Finished(text="An answer."))[2] == Finished(text="An answer.")
    taken_back = Finished(FinishReason.CONTENT_FILTER, text="I cannot.")
    assert show(Reasoning.INLINE, *said, taken_back)[2] == taken_back


TRACES = Path(__file__).parents[3] / "traces"
TAGGED = sorted(
    path for path in TRACES.glob("*/*.sse") if path.stat().st_size < 50_000 and b"think" in path.read_bytes()
)


def recorded(path: Path) -> list[AnswerEvent]:
    reader = AnswerReader(AppMode(json.loads(path.with_suffix(".json").read_bytes())["mode"]))
    events = [event for frame in SSEDecoder().feed(path.read_bytes()) for event in reader.receive_data(frame)]
    return events if reader.complete else events + reader.receive_eof()


def cut(events: list[AnswerEvent], size: int) -> list[AnswerEvent]:
    """The same answer with its text in pieces of this size."""
    pieces: list[AnswerEvent] = []
    for kind, group in groupby(events, key=lambda event: type(event) is TextDelta):
        if not kind:
            pieces += group
            continue
        text = "".join(event.text for event in group if isinstance(event, TextDelta))
        pieces += [TextDelta(text[start : start + size]) for start in range(0, len(text), size)]
    return pieces


@pytest.mark.parametrize("wish", Reasoning)
@pytest.mark.parametrize("path", TAGGED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_recordings_say_the_same_however_they_are_cut(path: Path, wish: Reasoning) -> None:
    events = recorded(path)
    told = show(wish, *events)
    assert "<think" not in told[1] or wish is Reasoning.INLINE
    assert "hmm let me think" in told[1 if wish is Reasoning.INLINE else 0] or wish is Reasoning.DROP
    for size in (1, 2, 3, 7, 50):
        assert show(wish, *cut(events, size)) == told, size


def test_there_are_recordings_with_thoughts() -> None:
    assert {path.parent.name for path in TAGGED} >= {"0.15.3", "1.12.1"}
