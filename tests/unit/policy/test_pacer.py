"""The pacer on a clock of its own: what leaves when, whatever arrives when."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InternalError
from gateway.exchange.answer import AnswerEvent, Failed, Finished, ReasoningDelta, Started, TextDelta
from gateway.policy.pacer import FULL, OFF, THIN, Pacer, PacingLoad

MAX_DELAY = 0.25
TICK = 0.02
SEEN = 0.0601  # the longest gap between two pieces while text waits
END = Finished()
Arrivals = list[tuple[float, list[AnswerEvent]]]
TEXT = "Der Fluß, 人工智能 สวัสดีน้ำ नमस्ते क्षि 👩‍👩‍👧‍👦 🇩🇪🇫🇷 👍🏽 e\u0301 1️⃣ \r\n"


@dataclass
class Outcome:
    """What one stream did."""

    sent: list[tuple[float, list[AnswerEvent]]] = field(default_factory=list)  # when, what; nothing empty
    pieces: list[tuple[float, str]] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)  # between pieces, where text waited for the whole gap
    delays: list[float] = field(default_factory=list)  # of each code point

    @property
    def text(self) -> str:
        return "".join(piece for _, piece in self.pieces)

    @property
    def sizes(self) -> list[int]:
        return [len(piece) for _, piece in self.pieces]


def drive(pacer: Pacer, arrivals: Arrivals, late: float = 0.0) -> Outcome:
    """Call `push` at each arrival and `due` at each `next_at`; check what holds at every call."""
    outcome = Outcome()
    waiting = ""
    came: list[float] = []
    total = 0
    torn: set[int] = set()  # where other events stand in the text

    def take(sent: list[AnswerEvent], now: float, arrived: str, is_due: bool) -> None:
        nonlocal waiting
        waited, waiting = bool(waiting), waiting + arrived
        texts = [event.text for event in sent if isinstance(event, TextDelta)]
        if sent:
            outcome.sent.append((now, sent))
        for text in texts:
            if waited:
                outcome.gaps.append(now - outcome.pieces[-1][0])
            if is_due:
                assert now - outcome.pieces[-1][0] > 0.9 * TICK
            assert text
            assert waiting.startswith(text)
            # A cluster that is whole at hand is not cut.
            ends = {match.end() for match in regex.finditer(r"\X", waiting)}
            assert len(text) in ends or len(outcome.text) + len(text) in torn
            outcome.pieces.append((now, text))
            outcome.delays += [now - then for then in came[: len(text)]]
            del came[: len(text)]
            waiting, waited = waiting[len(text) :], False
        assert all(not isinstance(b, TextDelta) for a, b in pairwise(sent) if isinstance(a, TextDelta))
        if waiting:
            assert pacer.next_at is not None
            assert now < pacer.next_at
        assert pacer.due(now) == []

    def wait_until(when: float) -> None:
        while pacer.next_at is not None and pacer.next_at + late < when:
            now = pacer.next_at + late
            take(pacer.due(now), now, "", is_due=True)

    for when, events in arrivals:
        wait_until(when)
        text = ""
        for event in events:
            if isinstance(event, TextDelta):
                text += event.text
            else:
                torn.add(total + len(text))
        total += len(text)
        came += [when] * len(text)
        take(pacer.push(events, when), when, text, is_due=False)
    wait_until(inf)
    assert waiting == ""
    return outcome


def text(*pieces: str) -> list[AnswerEvent]:
    return [TextDelta(piece) for piece in pieces]


def evenly(deltas: list[str], rate: float) -> Arrivals:
    return [(i / rate, text(delta)) for i, delta in enumerate(deltas)]


def percentile(values: list[float], part: float) -> float:
    return sorted(values)[int(part * len(values))]


# What is even passes untouched.


@pytest.mark.parametrize("rate", [3, 10, 30, 60, 100, 200])
@pytest.mark.parametrize(
    "deltas", [[" token", "s", " international"], ["人工", "智", "能"], ["न", "म", "स", "्", "त", "े"]]
)
def test_an_even_stream_passes_untouched(rate: float, deltas: list[str]) -> None:
    pacer = Pacer()
    for when, events in evenly(deltas * 100, rate):
        assert pacer.push(events, when) is events
        assert pacer.next_at is None


@given(
    st.lists(st.tuples(st.floats(0.01, 0.05), st.sampled_from([" a", "词", " word", " conversations", "👩", "्"]))),
    st.floats(0.0, 1e6),
)
def test_an_even_stream_with_jitter_passes_untouched(stream: list[tuple[float, str]], now: float) -> None:
    pacer = Pacer()
    for pause, delta in stream:
        now += pause
        events = text(delta)
        assert pacer.push(events, now) is events
        assert pacer.next_at is None


def test_an_even_stream_of_long_deltas_passes_untouched() -> None:
    pacer = Pacer()
    for when, events in evenly(["x" * 32] * 100, 50):
        assert pacer.push(events, when) is events


def test_an_even_stream_that_gathers_speed_passes_untouched() -> None:
    pacer = Pacer()
    for i in range(300):
        events = text("x" * (10 + i))
        assert pacer.push(events, i * 0.05) is events


def test_a_pause_makes_single_words_wait_for_nothing() -> None:
    pacer = Pacer()
    for when in [0.0, 0.03, 2.0, 2.03, 2.06, 2.09, 5.0]:
        events = text(" word")
        assert pacer.push(events, when) is events


def test_a_stream_that_became_even_passes_untouched_again() -> None:
    outcome = drive(Pacer(), [(0.0, text("x" * 1000)), *((0.01 * i, text(" word")) for i in range(1, 200))])
    assert outcome.pieces[-100:] == [(0.01 * i, " word") for i in range(100, 200)]
    assert outcome.delays[-500:] == [0.0] * 500


@pytest.mark.parametrize("event", [Started("task"), ReasoningDelta("hm"), END, Failed(InternalError("x"))])
def test_what_is_not_text_passes_untouched(event: AnswerEvent) -> None:
    pacer = Pacer()
    events = [event]
    assert pacer.push(events, 1.0) is events
    assert pacer.next_at is None


def test_a_short_answer_and_its_end_leave_at_once() -> None:
    assert Pacer().push([Started("task"), *text("Hello."), END], 0.0) == [Started("task"), TextDelta("Hello."), END]


# Bursts become a flow.


def test_the_first_text_goes_out_at_once() -> None:
    outcome = drive(Pacer(), [(5.0, text(TEXT * 20))])
    assert outcome.pieces[0][0] == 5.0
    assert len(outcome.pieces[0][1]) < len(TEXT) * 2


def test_a_burst_leaves_in_even_pieces_within_the_delay() -> None:
    outcome = drive(Pacer(), [(0.0, text("x" * 1000))])
    assert [when for when, _ in outcome.pieces] == pytest.approx([i * TICK for i in range(13)])
    assert max(outcome.sizes) - min(outcome.sizes) <= 1
    assert outcome.delays[-1] == pytest.approx(0.24)


def test_a_small_burst_leaves_in_words_not_letters() -> None:
    outcome = drive(Pacer(), [(0.0, text("x" * 40))])
    assert outcome.sizes == [4] * 10
    assert max(outcome.gaps) < SEEN


def test_a_burst_flows_at_the_speed_of_the_stream() -> None:
    bursts: Arrivals = [(i * 0.1, text("x" * 100)) for i in range(30)]
    outcome = drive(Pacer(), bursts)
    settled = outcome.delays[1000:]
    assert max(settled) < 0.13  # not longer than until the next burst, though 0.25 s is allowed
    assert max(b - a for (a, _), (b, _) in pairwise(outcome.pieces)) < SEEN


def test_a_silence_does_not_change_the_speed() -> None:
    bursts = [i * 0.1 + (3.0 if i >= 20 else 0.0) for i in range(40)]
    outcome = drive(Pacer(), [(when, text("x" * 100)) for when in bursts])
    assert max(outcome.delays[1000:]) < 0.13


def test_the_speed_counts_all_that_comes_at_one_moment() -> None:
    outcome = drive(Pacer(), [(i * 0.1, text("x" * 50)) for i in range(40) for _ in range(2)])
    assert max(outcome.delays[1000:]) < 0.13


def test_a_trickle_has_no_gaps_that_are_seen() -> None:
    outcome = drive(Pacer(), [(0.0, text("x")), (1.0, text("xxxx")), (1.001, text("yyyyyyyyyyy."))])
    assert outcome.sizes == [1, 4, 4, 4, 4]
    assert max(outcome.gaps) < SEEN


def test_many_small_arrivals_keep_their_deadlines() -> None:
    slow = evenly(["word"] * 50, 10)
    outcome = drive(Pacer(), [*slow, *((5.0 + i / 1000, text("xxxx")) for i in range(300))])
    assert max(outcome.delays) <= MAX_DELAY
    assert max(outcome.sizes) < 150


def test_a_new_burst_need_not_wait_for_the_pace_of_the_one_before() -> None:
    slow = drive(Pacer(), [(0.0, text("x" * 34))]).pieces
    (before, _), (last, _) = slow[-2:]
    assert last - before > 1.2 * TICK
    again = drive(Pacer(), [(0.0, text("x" * 34)), (last + TICK, text("y" * 100))])
    assert again.pieces[len(slow)][0] == last + TICK


def test_the_flow_catches_up_as_the_backlog_grows() -> None:
    small, large = (drive(Pacer(), [(0.0, text("x" * 200)), (0.1, text("x" * size))]) for size in (200, 2000))
    assert max(large.sizes) > 4 * max(small.sizes)
    assert max(large.sizes) < 2 * 2000 / 12  # from the moment that it grows, not only before the deadline
    assert max(small.delays + large.delays) <= MAX_DELAY


def test_tokens_that_come_together_one_by_one_are_a_burst_too() -> None:
    packets: Arrivals = [(i * 0.25 + j * 0.001, text(" word")) for i in range(20) for j in range(10)]
    outcome = drive(Pacer(), packets)
    later = [when for when, _ in outcome.pieces if when >= 0.5]
    assert max(b - a for a, b in pairwise(later)) < 0.1  # 0.24 as it comes


def test_so_are_tokens_that_come_together_at_the_start() -> None:
    outcome = drive(Pacer(), [(i * 0.001, text(" word")) for i in range(40)])
    assert sum(len(piece) for when, piece in outcome.pieces if when < 0.02) < 80
    assert outcome.pieces[-1][0] > 0.1


def test_tiny_events_that_wait_leave_as_one_piece() -> None:
    tiny = text(*["ab"] * 500)
    outcome = drive(Pacer(), [(0.0, tiny)])
    assert outcome.text == "ab" * 500
    assert len(outcome.pieces) == 13
    assert Pacer().push(text("a", "b", "c"), 0.0) == [TextDelta("abc")]


def test_a_late_caller_sends_more_at_once() -> None:
    pacer = Pacer()
    first = pacer.push(text("x" * 1000), 0.0)
    assert pacer.due(0.3) == [TextDelta("x" * (1000 - len(first[0].text)))]  # type: ignore[union-attr]
    assert pacer.next_at is None


def test_late_timers_cost_no_more_than_their_lateness() -> None:
    for late in (0.001, 0.005, 0.009, 0.03):
        arrivals: Arrivals = [(i * 0.4, text(TEXT * 10)) for i in range(5)]
        assert max(drive(Pacer(), arrivals, late).delays) <= MAX_DELAY + max(0.0, late - TICK / 2) + 1e-9


def test_nothing_is_due_early() -> None:
    pacer = Pacer()
    assert pacer.next_at is None
    assert pacer.due(0.0) == []
    pacer.push(text("x" * 1000), 0.0)
    assert pacer.next_at == pytest.approx(TICK)
    assert pacer.due(0.018) == []
    assert pacer.due(0.01999) != []


def test_without_delay_everything_passes() -> None:
    for i in range(50):
        pacer = Pacer(max_delay=0.0)
        assert pacer.push(text("x" * 1000 * i + "x"), i * 0.005) == text("x" * 1000 * i + "x")
        assert pacer.push(text("y" * 1000), i * 0.005 + 0.001) == text("y" * 1000)
        assert pacer.next_at is None


# The end, and what else is not text.


def test_the_end_follows_the_last_text() -> None:
    outcome = drive(Pacer(), [(0.0, [*text("x" * 2000), END])])
    assert len(outcome.pieces) == 13
    when, last = outcome.sent[-1]
    assert last[1:] == [END]
    assert isinstance(last[0], TextDelta)
    assert when <= MAX_DELAY


def test_the_end_adds_no_delay_to_the_text_before_it() -> None:
    burst: Arrivals = [(0.0, text("x" * 2000))]
    without, with_end = drive(Pacer(), burst), drive(Pacer(), [*burst, (0.1, [END])])
    assert with_end.pieces == without.pieces
    assert with_end.sent[-1][0] == without.sent[-1][0]


@pytest.mark.parametrize("event", [ReasoningDelta("hm"), Failed(InternalError("x")), Started("task")])
def test_any_other_event_takes_the_text_with_it(event: AnswerEvent) -> None:
    pacer = Pacer()
    first = pacer.push(text("x" * 100), 0.0)
    assert isinstance(first[0], TextDelta)
    assert pacer.push([event], 0.01) == [TextDelta("x" * (100 - len(first[0].text))), event]
    assert pacer.next_at is None
    assert pacer.push([*text("x" * 100), event, *text("yes")], 9.0) == [TextDelta("x" * 100), event, TextDelta("yes")]


def test_flush_gives_all_that_waits_and_the_pacer_goes_on() -> None:
    pacer = Pacer()
    first = pacer.push([*text("x" * 100), END], 0.0)
    assert isinstance(first[0], TextDelta)
    assert pacer.flush() == [TextDelta("x" * (100 - len(first[0].text))), END]
    assert pacer.flush() == []
    assert pacer.next_at is None
    assert drive(pacer, [(1.0, text("y" * 500))]).text == "y" * 500


@pytest.mark.parametrize("size", [10_000, 1_000_000])
def test_a_whole_answer_in_one_event_leaves_within_the_delay(size: int) -> None:
    answer = (TEXT * (size // len(TEXT) + 1))[:size]
    pacer = Pacer()
    sent, now = pacer.push([*text(answer), END], 0.0), 0.0
    pieces = [event.text for event in sent if isinstance(event, TextDelta)]
    while pacer.next_at is not None:
        now = pacer.next_at
        sent = pacer.due(now)
        pieces += [event.text for event in sent if isinstance(event, TextDelta)]
    assert sent[-1] == END
    assert "".join(pieces) == answer
    assert now <= MAX_DELAY
    assert max(map(len, pieces)) < 1.1 * size / 13 + 20


# Characters stay whole.


def test_pieces_are_cut_between_clusters() -> None:
    family = "👩‍👩‍👧‍👦"
    outcome = drive(Pacer(), [(0.0, text(family * 10))])
    assert {piece.replace(family, "") for _, piece in outcome.pieces} == {""}
    assert len(outcome.pieces) == 10


@pytest.mark.parametrize(
    ("begin", "rest"), [("e", "\u0301"), ("👩", "\u200d👧"), ("🇩", "🇪"), ("क", "्"), ("น", "้ำ"), ("👍", "🏽"), ("1", "️⃣")]
)
def test_a_cluster_in_two_arrivals_leaves_whole(begin: str, rest: str) -> None:
    pacer = Pacer()
    packet: Arrivals = [(1.0, text("xxxx")), (1.01, text("yy" + begin)), (1.05, text(rest + " z"))]
    outcome = drive(pacer, [(0.0, text("x")), *packet])
    assert any(begin + rest in piece for _, piece in outcome.pieces)


def test_a_cluster_is_not_held_for_longer_than_a_pause() -> None:
    outcome = drive(Pacer(), [(0.0, text("x")), (1.0, text("xxxx")), (1.01, text("yy人"))])
    assert outcome.pieces[2:] == [(1.02, "yy"), (pytest.approx(1.06), "人")]


def test_a_cluster_is_not_held_behind_a_full_stop_or_before_the_end() -> None:
    for tail in (text("yy人."), [*text("yy人"), END]):
        outcome = drive(Pacer(), [(0.0, text("x")), (1.0, text("xxxx")), (1.01, tail)])
        assert outcome.pieces[-1][0] == pytest.approx(1.02)
    outcome = drive(Pacer(), [(0.0, text("x")), (1.0, text("xxxx")), (1.01, text("yy人")), (1.03, [END])])
    assert outcome.sent[-1] == (pytest.approx(1.04), [TextDelta("人"), END])


def test_marks_without_end_do_not_hold_a_cluster_past_its_time() -> None:
    marks: Arrivals = [(1.01 + 0.01 * i, text("\u0301")) for i in range(100)]
    outcome = drive(Pacer(), [(0.0, text("x")), (1.0, text("xxxx")), *marks])
    assert max(outcome.delays) <= MAX_DELAY


# Whatever arrives.

_PIECES = st.one_of(
    st.sampled_from(list(TEXT)),
    st.sampled_from([" a", " word", "人工", "e\u0301", "👩‍👩‍👧‍👦", "\u0301", "\u200d", "🇩", "\r", "\n", "\ud83d"]),
    st.integers(1, 30).map(lambda count: TEXT * count),
    st.text(min_size=1),
)
_EVENTS = st.one_of(
    _PIECES.map(TextDelta), _PIECES.map(TextDelta), _PIECES.map(TextDelta), st.just(ReasoningDelta("r"))
)
_PAUSES = st.one_of(st.just(0.0), st.floats(0, 0.03), st.floats(0, 0.4), st.floats(0, 3))


@st.composite
def streams(draw: st.DrawFn) -> Arrivals:
    now = draw(st.floats(0, 1e5))
    arrivals: Arrivals = []
    for pause, events in draw(st.lists(st.tuples(_PAUSES, st.lists(_EVENTS, max_size=4)), max_size=40)):
        now += pause
        arrivals.append((now, list(events)))
    return [*arrivals, (now + draw(_PAUSES), draw(st.sampled_from([[END], [Failed(InternalError("x"))], []])))]


def merged(batches: list[list[AnswerEvent]]) -> list[object]:
    """Events in order, with adjacent texts as one."""
    flat: list[object] = []
    for event in (event for batch in batches for event in batch):
        if isinstance(event, TextDelta) and flat and isinstance(flat[-1], str):
            flat[-1] += event.text
        else:
            flat.append(event.text if isinstance(event, TextDelta) else event)
    return flat


@given(streams())
def test_the_transcript_is_the_same_and_nothing_is_late(arrivals: Arrivals) -> None:
    outcome = drive(Pacer(), arrivals)
    assert merged([events for _, events in outcome.sent]) == merged([events for _, events in arrivals])
    assert max(outcome.delays, default=0) <= MAX_DELAY
    assert max(outcome.gaps, default=0) <= SEEN
    first = [when for when, events in arrivals if any(isinstance(event, TextDelta) for event in events)][:1]
    assert [when for when, _ in outcome.pieces][:1] == first
    if outcome.sent:
        assert outcome.sent[-1][0] <= arrivals[-1][0] + MAX_DELAY


@given(streams(), st.floats(0, 0.3), st.sampled_from([0.05, 0.1, 1.0]))
def test_the_transcript_is_the_same_when_the_caller_is_late(arrivals: Arrivals, late: float, max_delay: float) -> None:
    outcome = drive(Pacer(max_delay), arrivals, late)
    assert merged([events for _, events in outcome.sent]) == merged([events for _, events in arrivals])
    assert max(outcome.delays, default=0) <= max_delay + late


@pytest.mark.parametrize(
    ("arrivals", "smooth"),
    [
        ([(float(i), text("x" * 1000)) for i in range(5)], False),
        ([(0.0, [*text(TEXT * 40), END])], False),
        ([(i * 0.2, text(TEXT * 3)) for i in range(20)], False),
        ([(i * 0.3 + j * 0.001, text(" word")) for i in range(20) for j in range(10)], False),
        (evenly([" word"] * 150, 30), True),
    ],
    ids=["1,000 characters each second", "whole answer", "200 ms", "packets of tokens", "token by token"],
)
def test_goals_of_scenarios(arrivals: Arrivals, smooth: bool) -> None:
    outcome = drive(Pacer(), arrivals, late=0.002)
    assert outcome.delays[-1] <= MAX_DELAY
    if smooth:
        assert not outcome.gaps
        assert max(outcome.delays) == 0
    else:
        assert percentile(outcome.gaps, 0.99) <= SEEN
        assert percentile(outcome.gaps, 0.5) < 0.03


# Under load.


def test_a_busy_process_paces_more_coarsely() -> None:
    load = PacingLoad()
    load.note(0.03, 10, 0.0)
    outcome = drive(Pacer(load=load), [(0.0, text("x" * 1000))])
    assert [when for when, _ in outcome.pieces] == pytest.approx([0.0, 0.06, 0.12, 0.18, 0.24])
    assert max(outcome.sizes) - min(outcome.sizes) <= 1


def test_an_overloaded_process_does_not_pace_and_lets_go_what_waits() -> None:
    load = PacingLoad()
    pacer, other = Pacer(load=load), Pacer(load=load)
    pacer.push([*text("x" * 1000), END], 0.0)
    load.note(0.2, 10, 0.01)
    assert len(pacer.due(TICK)) == 2
    assert pacer.next_at is None
    events = text("x" * 1000)
    assert other.push(events, 0.0) is events
    assert other.push(text("a" * 500, "b"), 0.001) == text("a" * 500 + "b")


@pytest.mark.parametrize(
    ("lag", "streams", "level"),
    [
        (0.0, 0, FULL),
        (0.019, 199, FULL),
        (0.02, 0, THIN),
        (0.0, 200, THIN),
        (0.049, 599, THIN),
        (0.05, 0, OFF),
        (0.0, 600, OFF),
    ],
)
def test_load_thins_pacing_at_once(lag: float, streams: int, level: object) -> None:
    load = PacingLoad()
    assert load.note(lag, streams, 100.0) is level
    assert load.level is level


def levels(load: PacingLoad, lag: float, begin: int, seconds: int) -> str:
    return " ".join(load.note(lag, 10, begin + second).name for second in range(seconds))


def test_pacing_comes_back_level_by_level_after_a_calm() -> None:
    load = PacingLoad()
    load.note(0.1, 10, 0.0)
    assert levels(load, 0.001, 1, 7) == "off off thin thin thin full full"


def test_pacing_does_not_come_back_while_the_load_has_only_just_fallen() -> None:
    load = PacingLoad()
    load.note(0.1, 10, 0.0)
    assert set(levels(load, 0.045, 1, 60).split()) == {"off"}
    assert levels(load, 0.02, 61, 60).endswith("thin")
    assert set(levels(load, 0.013, 121, 60).split()) == {"thin"}
    assert levels(load, 0.011, 181, 4) == "thin thin full full"
    load.note(0.0, 700, 300.0)
    assert {load.note(0.0, 400, 300.0 + second).name for second in range(60)} == {"off"}
    assert [load.note(0.0, 350, 360.0 + second).name for second in range(4)] == ["off", "off", "thin", "thin"]


def test_a_relapse_doubles_the_calm_that_is_asked_for() -> None:
    load = PacingLoad()
    now, calms = 0.0, []
    for _ in range(7):
        load.note(0.1, 10, now)
        began = now
        while load.level is OFF:
            now += 1.0
            load.note(0.0, 10, now)
        calms.append(now - began)
    assert calms == [3, 6, 12, 24, 48, 60, 60]
    for _ in range(200):
        now += 1.0
        load.note(0.0, 10, now)
    load.note(0.1, 10, now)
    assert levels(load, 0.0, int(now) + 1, 3) == "off off thin"
