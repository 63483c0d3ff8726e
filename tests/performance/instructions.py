"""What an answer and a token cost in instructions, by callgrind: the same figure whatever else the machine does.

Only what runs outside of the kernel is counted, so this does not stand for time; but a change of one per cent shows,
where times of the same build differ by ten.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.performance.machine import commit
from tests.performance.results import write_section
from tests.performance.rig_runner import Orders, Running, running, upstream
from tests.performance.systems import FLOOR, GATEWAY, PEERS, CannotRun, System

_SYSTEMS = [GATEWAY, FLOOR, PEERS[0]]
_LOADS: dict[str, tuple[Orders, int]] = {  # by what is counted: a load, and how many of these it holds
    "a stream of 10 tokens": ({"streams": 8, "tokens": 10, "calls": 400}, 400),
    "an answer that is not streamed": ({"streams": 8, "whole": 1, "calls": 400}, 400),
    "a token, each alone": ({"streams": 20, "tokens": 100, "delay": 100, "calls": 20, "stamped": 10}, 2000),
    "a token, 16 arrive together": ({"streams": 16, "tokens": 200, "calls": 100, "batch": 16}, 20_000),
}
_LIMIT_SECONDS = 300  # a program runs some fifty times slower
_DUMP_SECONDS = 20


def measure() -> None:
    """Print the table and write it into RESULTS.md. Raises CannotRun."""
    if shutil.which("callgrind_control") is None:
        raise CannotRun("valgrind is missing (on Debian: apt-get install valgrind)")
    counted = {system.name: _count(system) for system in _SYSTEMS}
    lines = ["| thousand instructions for | " + " | ".join(counted) + " |", "|---" * (len(counted) + 1) + "|"]
    for what in _LOADS:
        lines.append(f"| {what} | " + " | ".join(f"{counts[what]:,.1f}" for counts in counted.values()) + " |")
    text = "\n".join(lines)
    print(text)
    write_section("instructions", f"{time.strftime('%F %H:%M', time.gmtime())} UTC, commit {commit()}.\n\n{text}")


def _count(system: System) -> dict[str, float]:
    """Thousands, by load."""
    counts: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        wrapper = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={name}/count"]
        with upstream() as port, running(system, port, wrapper) as subject:
            assert subject.process is not None
            for what, (orders, number) in _LOADS.items():
                print(f"{system.name}: {what} …", file=sys.stderr, flush=True)
                _load(subject, {**orders, "calls": max(20, int(orders["calls"]) // 5)})  # caches are filled
                _control("--zero", subject.process.pid)
                _load(subject, orders)
                counts[what] = _total(Path(name), subject.process.pid) / number / 1000
    return counts


def _load(subject: Running, orders: Orders) -> None:
    words = subject.arguments({**orders, "limit": _LIMIT_SECONDS})
    done = subprocess.run(words, capture_output=True, check=True)
    found = json.loads(done.stdout)
    if found["right"] != found["calls"]:
        raise CannotRun(f"{found['calls'] - found['right']} answers failed under callgrind: {found['failures']}")


def _total(folder: Path, pid: int) -> int:
    """Instructions since the counters were set to zero."""
    before = set(folder.iterdir())
    _control("--dump", pid)
    deadline = time.monotonic() + _DUMP_SECONDS
    while time.monotonic() < deadline:
        for path in set(folder.iterdir()) - before:
            if total := re.search(r"^totals: (\d+)", path.read_text(), re.MULTILINE):
                return int(total[1])
        time.sleep(0.2)
    raise CannotRun("callgrind wrote no counts")


def _control(order: str, pid: int) -> None:
    subprocess.run(["callgrind_control", order, str(pid)], capture_output=True, check=True)
