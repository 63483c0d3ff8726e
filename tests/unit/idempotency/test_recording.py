"""A recording gives everybody the same answer from its start; the shelf stays within its limit."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.exchange.answer import AnswerEvent, Finished, ReasoningDelta, Started, TextDelta, ToolCallDelta
from gateway.idempotency.recording import Link, Recording, Shelf

LIMIT = 160_000  # one recording may take 10,000


class Batch(list[AnswerEvent]):
    """A list that can be watched."""


def read(first: Link | None) -> list[AnswerEvent]:
    """All events from this link on."""
    events: list[AnswerEvent] = []
    while first is not None:
        events += first.batch
        first = first.next
    return events


def recorded(name: str, text: str) -> Recording:
    recording = Recording(name)
    recording.append([TextDelta(text)])
    recording.end()
    return recording


# --- a recording ------------------------------------------------------------------------------------------------------


def test_who_comes_later_reads_from_the_start() -> None:
    recording = Recording("a")
    early = recording.first
    recording.append([Started("t"), TextDelta("w1 ")])
    late = recording.first
    recording.append([TextDelta("w2"), Finished()])
    assert read(early) == read(late) == [Started("t"), TextDelta("w1 "), TextDelta("w2"), Finished()]


def test_at_the_end_it_gets_small_and_says_the_same() -> None:
    recording = Recording("a")
    reading = recording.first
    recording.append([Started("t"), ReasoningDelta("h"), ReasoningDelta("m")])
    for number in range(100):
        recording.append([TextDelta(f"w{number} ")])
    recording.append([Finished()])
    before = recording.size
    recording.end()
    text = "".join(f"w{number} " for number in range(100))
    assert read(recording.first) == [Started("t"), ReasoningDelta("hm"), TextDelta(text), Finished()]
    assert recording.size < before / 8
    assert len(read(reading)) == 104  # who is reading is not disturbed


DELTAS = some.builds(TextDelta, some.text(min_size=1)) | some.builds(ReasoningDelta, some.text(min_size=1))


@given(some.lists(some.lists(DELTAS | some.just(Started("t")), min_size=1)))
def test_the_end_changes_no_text(batches: list[list[AnswerEvent]]) -> None:
    recording = Recording("a")
    for batch in batches:
        recording.append(batch)
    recording.end()

    def texts(events: list[AnswerEvent]) -> list[tuple[type, str]]:
        return [(type(event), letter) for event in events for letter in getattr(event, "text", "-")]

    assert texts(read(recording.first)) == texts([event for batch in batches for event in batch])


def test_an_answer_without_events_is_one() -> None:
    recording = Recording("a")
    recording.end()
    assert recording.joinable
    assert read(recording.first) == []


def test_without_its_start_it_keeps_only_what_is_being_read() -> None:
    recording = Recording("a")
    reading = recording.first
    batch = Batch([TextDelta("x" * 5000)])
    held = weakref.ref(batch)
    recording.append(batch)
    del batch
    recording.drop_start()
    assert not recording.joinable
    assert recording.size < 2000
    recording.append([TextDelta("more")])
    assert [event.text for event in read(reading) if isinstance(event, TextDelta)][1] == "more"
    assert held() is not None
    reading = None
    gc.collect()
    assert held() is None
    recording.end()
    assert not recording.joinable


# --- the shelf --------------------------------------------------------------------------------------------------------


def test_it_is_found_until_its_time_is_over() -> None:
    shelf: Shelf[Recording] = Shelf()
    one, other = recorded("one", "x"), recorded("other", "x")
    for recording, until in ((one, 700.0), (other, 650.0)):
        shelf.put(recording, LIMIT)
        shelf.keep(recording, 100.0, until - 100.0, LIMIT)
    assert shelf.find("one", 649.9) is one
    assert shelf.find("other", 649.9) is other
    assert shelf.find("other", 650.0) is None
    assert shelf.find("one", 699.9) is one
    assert shelf.find("one", 700.0) is None
    assert (len(shelf), shelf.size) == (0, 0)


def test_old_ones_go_although_nobody_looks_for_any() -> None:
    shelf: Shelf[Recording] = Shelf()
    for number in range(20):
        recording = recorded(str(number), "x")
        shelf.put(recording, LIMIT)
        shelf.keep(recording, float(number), 5.0, LIMIT)
    assert len(shelf) == 5


def test_a_running_one_has_no_end_of_its_time() -> None:
    shelf: Shelf[Recording] = Shelf()
    shelf.put(Recording("a"), LIMIT)
    assert shelf.find("a", 1e9) is not None


def test_a_new_one_takes_the_place_of_an_older_one() -> None:
    shelf: Shelf[Recording] = Shelf()
    older, newer = Recording("a"), Recording("a")
    shelf.put(older, LIMIT)
    shelf.put(newer, LIMIT)
    older.append([TextDelta("x" * 1000)])
    shelf.weigh(older, LIMIT)
    shelf.keep(older, 0.0, 1.0, LIMIT)
    assert shelf.find("a", 2.0) is newer
    assert shelf.size == newer.size


def test_the_oldest_finished_ones_make_room() -> None:
    shelf: Shelf[Recording] = Shelf()
    running = Recording("running")
    shelf.put(running, LIMIT)
    for number in range(40):
        recording = recorded(str(number), "x" * 8000)
        shelf.put(recording, LIMIT)
        shelf.keep(recording, 0.0, 600.0 + number, LIMIT)
        assert shelf.size <= LIMIT
    kept = [number for number in range(40) if shelf.find(str(number), 0.0)]
    assert kept == list(range(40 - len(kept), 40))
    assert 15 <= len(kept) <= 20
    assert shelf.find("running", 0.0) is running


def test_one_that_is_too_large_loses_its_start_and_keeps_its_place() -> None:
    shelf: Shelf[Recording] = Shelf()
    large = Recording("large")
    shelf.put(large, LIMIT)
    while large.joinable:
        large.append([TextDelta("x" * 100)])
        shelf.weigh(large, LIMIT)
        assert large.size <= 10_000
    assert shelf.find("large", 0.0) is large
    large.end()
    shelf.keep(large, 0.0, 600.0, LIMIT)
    assert shelf.find("large", 599.0) is large


def test_when_only_running_ones_are_left_the_growing_one_loses_its_start() -> None:
    shelf: Shelf[Recording] = Shelf()
    running = [Recording(str(number)) for number in range(30)]
    for recording in running:
        shelf.put(recording, LIMIT)
    for recording in running:
        recording.append([TextDelta("x" * 8000)])
        shelf.weigh(recording, LIMIT)
        assert shelf.size <= LIMIT
    assert [recording.joinable for recording in running] == sorted([recording.joinable for recording in running])[::-1]
    assert not running[-1].joinable


@given(some.lists(some.tuples(some.sampled_from("pgker"), some.integers(0, 5), some.integers(1, 9000))))
def test_the_shelf_is_never_over_its_limit(steps: list[tuple[str, int, int]]) -> None:
    shelf: Shelf[Recording] = Shelf()
    limit = 32_000
    for now, (step, number, amount) in enumerate(steps):
        found = shelf.find(str(number), float(now))
        if found is None or step == "p":
            shelf.put(Recording(str(number)), limit)
        elif step == "g" and not found.over:
            found.append([TextDelta("x" * amount)])
            shelf.weigh(found, limit)
        elif step == "k" and not found.over:
            found.end()
            shelf.keep(found, float(now), amount % 20, limit)
        elif step == "r":
            shelf.remove(found)
        kept = [recording for n in range(6) if (recording := shelf.find(str(n), float(now)))]
        assert shelf.size == sum(recording.size for recording in kept) <= limit
        assert len(shelf) == len(kept)


@pytest.mark.parametrize("text", ["x" * 1000, "\u4e2d" * 1000])
def test_sizes_are_those_of_memory(text: str) -> None:
    assert recorded("a", text).size - recorded("a", "x").size == pytest.approx(
        len(text) * (1 if text.isascii() else 2), abs=100
    )


def test_the_arguments_of_a_call_take_room_too() -> None:
    recording = Recording("a")
    recording.append([ToolCallDelta(0, "x" * 100_000)])
    assert recording.size > 100_000
