"""What the pacer does to a stream: scenarios on a virtual clock, and what an even stream pays for it.

    python tests/performance/pacing.py [--plot FILE.png]

Gaps are counted between two pieces of text where text was at hand for the whole gap: what the pacer answers for.
Bursts that are further apart than SMOOTH_MAX_DELAY leave a silence that no pacing within that delay can fill; `longest
silence` shows it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gateway.exchange.answer import AnswerEvent, Finished, TextDelta  # noqa: E402
from gateway.policy.pacer import Pacer  # noqa: E402

Arrivals = Sequence[tuple[float, Sequence[AnswerEvent]]]
_TEXT = "the gateway makes every app usable from any client, and keeps what it says: 人工智能 สวัสดี नमस्ते 👩‍👩‍👧‍👦 🇩🇪"
_WORDS = _TEXT.split()


@dataclass
class Flow:
    """One stream through a pacer."""

    came: list[tuple[float, int]] = field(default_factory=list)  # when, how many code points
    went: list[tuple[float, int]] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)  # between pieces, while text waited
    delays: list[float] = field(default_factory=list)  # of each code point

    def longest_silence(self) -> float:
        times = [when for when, _ in self.went]
        return max((after - before for before, after in pairwise(times)), default=0.0)


def run(pacer: Pacer, arrivals: Arrivals, late: float = 0.0) -> Flow:
    """The caller's part: push at each arrival, due at next_at (`late` seconds after it)."""
    flow = Flow()
    queue: list[float] = []  # when each waiting code point came
    for when, kind, events in _moments(pacer, arrivals, late):
        if kind == "push":
            texts = [event.text for event in events if isinstance(event, TextDelta)]
            flow.came += [(when, len(text)) for text in texts]
            waited = bool(queue)
            queue += [when] * sum(map(len, texts))
            sent = pacer.push(list(events), when)
        else:
            waited = bool(queue)
            sent = pacer.due(when)
        size = sum(len(event.text) for event in sent if isinstance(event, TextDelta))
        if size:
            if waited:
                flow.gaps.append(when - flow.went[-1][0])
            flow.delays += [when - came for came in queue[:size]]
            del queue[:size]
            flow.went.append((when, size))
    assert not queue
    return flow


def _moments(pacer: Pacer, arrivals: Arrivals, late: float) -> Iterator[tuple[float, str, Sequence[AnswerEvent]]]:
    for when, events in arrivals:
        while pacer.next_at is not None and pacer.next_at + late < when:
            yield pacer.next_at + late, "due", []
        yield when, "push", events
    while pacer.next_at is not None:
        yield pacer.next_at + late, "due", []


def bursts(size: int, every: float, seconds: float) -> Arrivals:
    text = _text(size)
    return [*((i * every, [TextDelta(text)]) for i in range(round(seconds / every))), (seconds, [Finished()])]


def packets(count: int, every: float, seconds: float) -> Arrivals:
    """Tokens that a proxy lets through some at a time, each in a read of its own."""
    rnd = random.Random(1)
    times = [i * every + j * 0.001 for i in range(round(seconds / every)) for j in range(count)]
    return [*((when, [TextDelta(_token(rnd))]) for when in times), (seconds, [Finished()])]


def tokens(rate: float, seconds: float, jitter: float = 0.0) -> Arrivals:
    rnd = random.Random(2)
    times = [(1 + i + rnd.uniform(-jitter, jitter) / 2) / rate for i in range(round(rate * seconds))]
    return [*((when, [TextDelta(_token(rnd))]) for when in times), (seconds + 2 / rate, [Finished()])]


def whole(size: int) -> Arrivals:
    return [(0.0, [TextDelta(_text(size)), Finished()])]


def _token(rnd: random.Random) -> str:
    return " " + rnd.choice(_WORDS)


def _text(size: int) -> str:
    return (_TEXT * (size // len(_TEXT) + 1))[:size]


SCENARIOS: dict[str, Arrivals] = {
    "1,000 characters each second, in one event": bursts(1000, 1.0, 5.0),
    "200 characters each 200 ms": bursts(200, 0.2, 5.0),
    "40 characters each 300 ms": bursts(40, 0.3, 5.0),
    "8 tokens each 270 ms, 1 ms apart": packets(8, 0.27, 5.0),
    "40 tokens each 800 ms, 1 ms apart": packets(40, 0.8, 5.0),
    "2,000 characters, the whole answer in one event": whole(2000),
    "1,000,000 characters, the whole answer in one event": whole(1_000_000),
    "token by token, 10 a second": tokens(10, 5.0),
    "token by token, 30 a second": tokens(30, 5.0),
    "token by token, 30 a second, jitter 60 %": tokens(30, 5.0, 0.6),
    "token by token, 100 a second": tokens(100, 5.0),
}


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(int(part * len(values)), len(values) - 1)] if values else 0.0


def table(max_delay: float, late: float) -> str:
    head = (
        "scenario",
        "events",
        "pieces",
        "gap p50",
        "gap p99",
        "longest",
        "longest silence",
        "delay p50",
        "delay max",
        "last",
    )
    lines = ["{:52}{:>8}{:>8}{:>9}{:>9}{:>9}{:>17}{:>11}{:>11}{:>7}".format(*head)]
    for name, arrivals in SCENARIOS.items():
        flow = run(Pacer(max_delay), arrivals, late)
        milliseconds = [
            _percentile(flow.gaps, 0.5),
            _percentile(flow.gaps, 0.99),
            max(flow.gaps, default=0.0),
            flow.longest_silence(),
            _percentile(flow.delays, 0.5),
            max(flow.delays),
            flow.delays[-1],
        ]
        figures = "{:9.0f}{:9.0f}{:9.0f}{:17.0f}{:11.0f}{:11.0f}{:7.0f}".format(
            *(1000 * value for value in milliseconds)
        )
        lines.append(f"{name:52}{len(flow.came):8}{len(flow.went):8}{figures}")
    return "\n".join(lines)


def cost() -> str:
    """What an even stream pays for each delta, and a burst for each piece: the least of many runs."""
    lines = []
    for name, text in (("ASCII", " token"), ("Chinese", "人工")):
        batch: list[AnswerEvent] = [TextDelta(text)]
        with_pacer, without = (min(_push_time(push, batch) for _ in range(200)) for push in (Pacer().push, _pass))
        lines.append(f"even stream, {name}: {with_pacer:.0f} ns per delta with the pacer, {without:.0f} ns without")
    for name, text in (
        ("ASCII", "The quick brown fox. "),
        ("Chinese", "人工智能正在改变"),
        ("Hindi", "नमस्ते दुनिया "),
        ("emoji", "👩‍👩‍👧‍👦🇩🇪 "),
    ):
        arrivals: Arrivals = [(float(i), [TextDelta((text * 100)[:1000])]) for i in range(50)]
        pieces = len(run(Pacer(), arrivals).went)
        seconds = min(_replay(Pacer(), arrivals) for _ in range(20))
        lines.append(f"bursts of 1,000 code points, {name}: {seconds / pieces * 1e6:.1f} µs per piece")
    return "\n".join(lines)


def _pass(events: list[AnswerEvent], now: float) -> list[AnswerEvent]:
    return events


def _push_time(push: Callable[[list[AnswerEvent], float], object], batch: list[AnswerEvent]) -> float:
    times = [i * 0.02 for i in range(2000)]
    began = perf_counter()
    for now in times:
        push(batch, now)
    return (perf_counter() - began) / len(times) * 1e9


def _replay(pacer: Pacer, arrivals: Arrivals) -> float:
    began = perf_counter()
    for when, kind, events in _moments(pacer, arrivals, 0.0):
        if kind == "push":
            pacer.push(list(events), when)
        else:
            pacer.due(when)
    return perf_counter() - began


def plot(path: str, max_delay: float, late: float) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = [row for row in SCENARIOS.items() if not row[0].startswith(("1,000,000", "token by token, 10"))]
    figure, axes = pyplot.subplots(len(shown) // 2, 2, figsize=(14, 3 * (len(shown) // 2)), layout="constrained")
    for axis, (name, arrivals) in zip(axes.flat, shown, strict=True):
        flow = run(Pacer(max_delay), arrivals, late)
        for label, pieces, colour in (("before", flow.came, "tab:red"), ("after", flow.went, "tab:blue")):
            times = [-0.05, *(when for when, _ in pieces), arrivals[-1][0] + 0.3]
            sums = list(accumulate([0, *(size for _, size in pieces), 0]))
            axis.step(times, sums, where="post", color=colour, label=label, marker=".", lw=1, ms=3)
        axis.set(title=name, xlabel="seconds", ylabel="code points", xlim=(-0.05, 2.6 if len(flow.came) > 1 else 0.3))
        axis.set_ylim(0, 1.1 * sum(size for when, size in flow.came if when < 2.6))
        axis.legend(loc="upper left")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-delay", type=float, default=0.25, help="seconds (0.25)")
    parser.add_argument("--late", type=float, default=0.0, help="seconds that every timer is late (0)")
    parser.add_argument("--plot", metavar="FILE.png", help="draw what came and what went; needs matplotlib")
    options = parser.parse_args()
    print("Milliseconds, on a virtual clock:")
    print(table(options.max_delay, options.late))
    print()
    print(cost())
    if options.plot:
        plot(options.plot, options.max_delay, options.late)


if __name__ == "__main__":
    main()
