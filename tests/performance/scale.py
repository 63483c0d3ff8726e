"""How cost and waiting grow with the number of streams, what a storm of clients does, and where it breaks."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.performance.machine import commit, cpu_seconds, describe, memory_kib
from tests.performance.results import write_section
from tests.performance.rig_runner import Running, running, upstream
from tests.performance.systems import GATEWAY, Started, System

_STEPS = [(100, 1), (500, 1), (1000, 1), (2000, 1), (5000, 2), (10_000, 2)]  # streams, processes
_TOKENS_PER_SECOND = 10_000  # of all streams together; fewer where a token each 40 ms is fewer
_HOLD_SECONDS = 10
_CLIENTS_PER_SECOND = 500
_LIMIT = 500  # streams, for the run that goes over it


@dataclass(frozen=True)
class Run:
    """What the clients and the processes of one run had to say."""

    found: list[dict[str, Any]]  # by process
    cpu_seconds: float
    wall_seconds: float
    peak_kib: int

    def total(self, what: str) -> int:
        return sum(int(one[what]) for one in self.found)

    @property
    def failed(self) -> int:
        return self.total("calls") - self.total("right")

    def worst(self, what: str, quantile: str) -> float:
        """In ms."""
        return max((one[what][quantile] / 1e3 for one in self.found if what in one), default=math.nan)


def measure() -> None:
    """Print the tables and write them into RESULTS.md."""
    columns = ["streams", "processes", "tokens/s", "CPU per token, µs", "of a core", "memory, MiB"]
    columns += ["a token's way p50 / p99, ms", "first token p50 / p99, ms", "failed"]
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    for streams, processes in _STEPS:
        print(f"{streams} streams …", file=sys.stderr, flush=True)
        lines.append(_growth(streams, processes))
    print("storm …", file=sys.stderr, flush=True)
    storm = _storm()
    print("over the limit …", file=sys.stderr, flush=True)
    text = "\n".join([*lines, "", storm, "", _over_the_limit()])
    print(text)
    head = f"{time.strftime('%F %H:%M', time.gmtime())} UTC, commit {commit()}, on {describe()}."
    note = "The rig shares its processor with the second process; the upstream sends first tokens at once."
    write_section("scale", f"{head} {note}\n\n{text}")


def _growth(streams: int, processes: int) -> str:
    delay = max(40, streams * 1000 // _TOKENS_PER_SECOND)
    ramp = streams / _CLIENTS_PER_SECOND
    tokens = int((ramp + _HOLD_SECONDS) * 1000 / delay)
    orders = {"tokens": tokens, "delay": delay, "first": 0, "ramp": int(ramp * 1000), "stamped": 5, "limit": 120}
    run = _run(streams, processes, orders, ramp + _HOLD_SECONDS / 2)
    per_second = run.total("tokens") / run.wall_seconds
    cells = [
        f"{streams:,}",
        str(processes),
        f"{per_second:,.0f}",
        f"{run.cpu_seconds * 1e6 / max(1, run.total('tokens')):.0f}",
        f"{run.cpu_seconds / run.wall_seconds:.0%}",
        f"{run.peak_kib / 1024:.0f}",
        f"{run.worst('transit', 'p50'):.1f} / {run.worst('transit', 'p99'):.0f}",
        f"{run.worst('first_token', 'p50'):.1f} / {run.worst('first_token', 'p99'):.0f}",
        str(run.failed),
    ]
    return "| " + " | ".join(cells) + " |"


def _storm() -> str:
    """Clients that come back all together, as after a restart of a load balancer."""
    orders = {"tokens": 8, "delay": 1000, "first": 0, "ramp": 10_000, "fresh": 1, "limit": 60}
    run = _run(5000, 1, orders, 9)
    p50, p99 = run.worst("first_token", "p50"), run.worst("first_token", "p99")
    return (
        f"5,000 clients that reconnect within 10 s, on one process: {run.total('right'):,} answers, "
        f"{run.failed} failures; "
        f"first token after {p50:.0f} ms (p50), {p99:.0f} ms (p99); {run.cpu_seconds / run.wall_seconds:.0%} of a core."
    )


def _over_the_limit() -> str:
    """Twice as many clients as MAX_STREAMS lets in, and a queue that is soon full."""

    def start(port: int, upstream_port: int, folder: Path) -> Started:
        started = GATEWAY.start(port, upstream_port, folder)
        limits = {"MAX_STREAMS": str(_LIMIT), "MAX_STREAMS_PER_DIFY": str(_LIMIT), "QUEUE_SECONDS": "2"}
        return replace(started, env={**started.env, **limits})

    orders = {"tokens": 10, "delay": 1000, "first": 0, "ramp": 1000, "fresh": 1, "limit": 60}
    run = _run(2 * _LIMIT, 1, orders, 5, System("gateway", "", start))
    refused = {kind: count for one in run.found for kind, (count, _) in one["failures"].items()}
    words = next((sample for one in run.found for _, sample in one["failures"].values()), "")
    return (
        f"{2 * _LIMIT:,} clients at once where {_LIMIT} may stream (`MAX_STREAMS`): {run.total('right')} answers, "
        f"first token after {run.worst('first_token', 'p99'):.0f} ms (p99); "
        f"refused: {json.dumps(refused)}, `{words.strip()}`."
    )


def _run(streams: int, processes: int, orders: dict[str, Any], peak_after: float, system: System = GATEWAY) -> Run:
    with contextlib.ExitStack() as opened:
        port = opened.enter_context(upstream())
        gateways: list[Running] = [opened.enter_context(running(system, port)) for _ in range(processes)]
        pids = [gateway.process.pid for gateway in gateways if gateway.process]
        for pid in pids[1:]:
            os.sched_setaffinity(pid, {1})
        each = {**orders, "streams": streams // processes, "calls": streams // processes}
        cpu, began = sum(map(cpu_seconds, pids)), time.monotonic()
        clients = [
            subprocess.Popen(["taskset", "-c", "1", *gateway.arguments(each)], stdout=subprocess.PIPE)
            for gateway in gateways
        ]
        time.sleep(peak_after)
        peak = sum(map(memory_kib, pids))
        found = [json.loads(client.communicate()[0]) for client in clients]
        wall = time.monotonic() - began
        return Run(found, sum(map(cpu_seconds, pids)) - cpu, wall, peak)
