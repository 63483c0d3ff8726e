"""What is measured: loads, and the figures that are taken from them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.performance.machine import memory_kib
from tests.performance.rig_runner import Orders, Running, direct, upstream_stats

Figures = dict[str, float]

_OPEN_STREAMS = 1000


@dataclass(frozen=True)
class Scenario:
    """One thing to measure; `take` gives its figures by name (see FIGURES)."""

    name: str
    what: str
    take: Callable[[Running, int], Figures]  # the system, the upstream's port
    lean_only: bool = False  # slow systems do not get through
    quick: bool = True  # part of a quick look
    fresh: bool = (
        False  # in a process of its own: memory that was used is not given back, and some systems do not recover
    )


@dataclass(frozen=True)
class Figure:
    """One row of the results."""

    name: str
    what: str
    unit: str
    must_be: float | None = None  # the goal in the figure's own unit
    must_be_times: float | None = None  # the goal as a multiple of the floor's figure
    digits: int = 2


def _per_token(name: str, orders: Orders) -> Callable[[Running, int], Figures]:
    def take(system: Running, upstream_port: int) -> Figures:
        # Of 500 streams slow systems would serve none in time; what a token costs them hardly depends on that.
        load = system.load(orders if system.lean else {**orders, "streams": min(100, orders["streams"])})
        figures = {name: load.us_per_token, f"{name} errors": float(load.errors)}
        if name == "paced 2000":
            figures |= {
                "paced 2000 first": load.micros("first_token") / 1e3,
                "paced 2000 transit p99": load.micros("transit", "p99") / 1e3,
            }
        return figures

    return take


def _per_call(name: str, orders: Orders) -> Callable[[Running, int], Figures]:
    def take(system: Running, upstream_port: int) -> Figures:
        load = system.load(orders)
        return {name: load.ms_per_call, f"{name} errors": float(load.errors)}

    return take


def _alone(system: Running, upstream_port: int) -> Figures:
    orders = {"streams": 1, "calls": 12, "tokens": 25, "delay": 10, "stamped": 1, "limit": 30}
    through, without = system.load(orders), direct(upstream_port).load(orders)

    def added(*what: str) -> float:
        return sum(through.micros(one) - without.micros(one) for one in what) / 1e3

    return {
        "added to the first token": added("to_upstream", "first_transit"),
        "added to a token": added("transit"),
        "alone errors": float(through.errors),
    }


def _open(system: Running, upstream_port: int) -> Figures:
    """Streams that tell a token a second; then their clients are gone."""
    assert system.process is not None
    base = memory_kib(system.process.pid)
    orders = {"streams": _OPEN_STREAMS, "calls": _OPEN_STREAMS, "tokens": 40, "delay": 1000, "first": 200, "ramp": 3000}
    clients = subprocess.Popen(system.arguments(orders), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 12
    while upstream_stats(upstream_port)["active"] < _OPEN_STREAMS and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    active = upstream_stats(upstream_port)["active"]
    each = (memory_kib(system.process.pid) - base) / max(1, active)
    clients.kill()
    clients.wait()
    gone = time.monotonic()
    while upstream_stats(upstream_port)["active"] and time.monotonic() - gone < 10:
        time.sleep(0.01)
    return {
        "base": base / 1024,
        "a stream": each,
        "gone": time.monotonic() - gone,
        "open errors": float(_OPEN_STREAMS - active),
    }


_PACED = {"tokens": 100, "delay": 40, "stamped": 10}

SCENARIOS = [
    Scenario("alone", "one stream, a token each 10 ms, against no gateway at all", _alone),
    Scenario(
        "paced 500",
        "500 streams (Portkey and LiteLLM: 100), a token each 40 ms: every token arrives alone",
        _per_token("paced 500", {**_PACED, "streams": 500, "ramp": 3000, "seconds": 4}),
    ),
    Scenario(
        "paced 50",
        "50 streams, a token each 4 ms: as many tokens a second, of fewer streams",
        _per_token("paced 50", {**_PACED, "tokens": 1000, "delay": 4, "streams": 50, "ramp": 1000, "seconds": 5}),
        lean_only=True,
        quick=False,
    ),
    Scenario(
        "flood",
        "64 streams of 200 tokens, as fast as possible",
        _per_token("flood", {"streams": 64, "tokens": 200, "seconds": 3}),
    ),
    Scenario(
        "flood 16",
        "the same, 16 tokens in each send",
        _per_token("flood 16", {"streams": 64, "tokens": 200, "seconds": 3, "batch": 16}),
    ),
    Scenario(
        "short",
        "32 streams of 10 tokens, one after another",
        _per_call("short", {"streams": 32, "tokens": 10, "seconds": 3}),
    ),
    Scenario(
        "whole", "the same with 50 tokens, not streamed", _per_call("whole", {"streams": 32, "whole": 1, "seconds": 3})
    ),
    Scenario(
        "paced 2000",
        "2,000 streams, a token each 40 ms: 50,000 a second wanted",
        _per_token("paced 2000", {**_PACED, "streams": 2000, "ramp": 4000, "seconds": 5, "limit": 45}),
        lean_only=True,
        quick=False,
    ),
    Scenario("open", "1,000 open streams; then their clients vanish", _open, fresh=True),
]

FIGURES = [
    Figure("paced 500", "CPU per token, each alone (500 streams)", "µs", must_be=65, must_be_times=2.6, digits=1),
    Figure("paced 50", "CPU per token, as many of 50 streams", "µs", digits=1),
    Figure("flood", "CPU per token, as fast as possible", "µs", must_be=12, must_be_times=1.5),
    Figure("flood 16", "CPU per token, 16 arrive together", "µs", must_be=5),
    Figure("short", "CPU per stream of 10 tokens", "ms", must_be=0.60),
    Figure("whole", "CPU per answer that is not streamed", "ms", must_be=0.45),
    Figure("added to the first token", "added to the first token, p50", "ms", must_be=1.5),
    Figure("added to a token", "added to a token, p50", "ms", must_be=0.4),
    Figure("a stream", "memory per open stream", "KiB", must_be=90, digits=0),
    Figure("base", "memory before the first one", "MiB", must_be=60, digits=0),
    Figure("gone", "clients vanish → Dify's side closed (1,000)", "s", must_be=0.3),
    Figure("paced 2000", "CPU per token at 2,000 streams", "µs", digits=1),
    Figure("paced 2000 first", "first token at 2,000 streams, p50 (40 ms are Dify's)", "ms", must_be=250, digits=0),
    Figure("paced 2000 transit p99", "a token's way at 2,000 streams, p99", "ms", digits=0),
]
