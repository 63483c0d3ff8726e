"""Starts the rig and the system under test, puts load on it, and takes its figures."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.performance.machine import RIG_CPU, ROOT, SYSTEM_CPU, busy_seconds, cpu_seconds, pids_of
from tests.performance.systems import CannotRun, Started, System, folder_for

SOURCES = Path(__file__).parent / "rig"
PROGRAMS = ROOT / ".bench/rig"
_READY_SECONDS = 90.0

Orders = dict[str, Any]


@dataclass(frozen=True)
class Load:
    """What one run of the load generator found, and what the system spent on it."""

    found: dict[str, Any]
    cpu_seconds: float
    foreign_share: float  # of the system's processor that went to others

    @property
    def us_per_token(self) -> float:
        """NaN where too many answers failed for their cost to mean anything."""
        return self.cpu_seconds * 1e6 / self.found["tokens"] if self._counts else math.nan

    @property
    def ms_per_call(self) -> float:
        """The same for an answer."""
        return self.cpu_seconds * 1e3 / self.found["right"] if self._counts else math.nan

    @property
    def _counts(self) -> bool:
        return bool(self.found["right"] > 0.9 * self.found["calls"])

    @property
    def errors(self) -> int:
        return int(self.found["calls"] - self.found["right"])

    def micros(self, what: str, quantile: str = "p50") -> float:
        """A time of the load generator; NaN where it saw none."""
        return float(self.found.get(what, {}).get(quantile, float("nan")))


def build() -> None:
    """Compile the rig where it has changed. Raises CannotRun without a compiler."""
    compiler = shutil.which("cc")
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    for name in ("upstream", "load"):
        program = PROGRAMS / name
        if program.exists() and program.stat().st_mtime > newest:
            continue
        if compiler is None:
            raise CannotRun("a C compiler is needed to build the rig (on Debian: apt-get install gcc libc6-dev)")
        subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCES / f"{name}.c")], check=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """A running upstream's port."""
    with subprocess.Popen([PROGRAMS / "upstream"], stdout=subprocess.PIPE, preexec_fn=_on(RIG_CPU)) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def upstream_stats(port: int) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats", timeout=5) as answer:
        return dict(json.load(answer))


class Running:
    """A system that is ready."""

    def __init__(
        self, started: Started, process: subprocess.Popen[bytes] | None, port: int, log: Path, lean: bool = True
    ) -> None:
        self.lean = lean
        self.started = started
        self.process = process
        self.port = port
        self.log = log

    def arguments(self, orders: Orders) -> list[str]:
        """The load generator's command line."""
        given = {"port": self.port, "path": self.started.path, "header": self.started.header, **orders}
        return [str(PROGRAMS / "load"), *(f"{name}={value}" for name, value in given.items() if value != "")]

    def load(self, orders: Orders) -> Load:
        """Put load on it."""
        pid = self.process.pid if self.process else None
        cpu, busy, began = cpu_seconds(pid) if pid else 0.0, busy_seconds(SYSTEM_CPU), time.monotonic()
        done = subprocess.run(self.arguments(orders), capture_output=True, preexec_fn=_on(RIG_CPU), check=True)
        time.sleep(0.05)  # what the last answers still cost
        spent = cpu_seconds(pid) - cpu if pid else 0.0
        foreign = busy_seconds(SYSTEM_CPU) - busy - spent
        return Load(json.loads(done.stdout), spent, max(0.0, foreign) / (time.monotonic() - began))


@contextlib.contextmanager
def running(system: System, upstream_port: int, wrapper: list[str] | None = None) -> Iterator[Running]:
    """Start a system, wait until it is ready, end it and its children. Raises CannotRun."""
    folder = folder_for(system.name)
    port = _free_port()
    started = system.start(port, upstream_port, folder)
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*(wrapper or []), *started.command],
            cwd=ROOT,
            env={**os.environ, **started.env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            preexec_fn=_on(SYSTEM_CPU),
            start_new_session=True,
        )
    try:
        _wait_until_ready(system, process, f"http://127.0.0.1:{port}{started.ready_path}", log)
        found = Running(started, process, port, log, system.lean)
        found.load({"streams": 8, "calls": 200 if system.lean else 40, "tokens": 50, "limit": 30})  # warm up
        yield found
    finally:
        _end(process)
        if sys.exc_info()[0] is None:
            shutil.rmtree(folder)


def direct(upstream_port: int) -> Running:
    """No system at all: what the rig itself takes."""
    return Running(Started([], path="/openai/v1/chat/completions"), None, upstream_port, Path(os.devnull))


def _wait_until_ready(system: System, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    request = urllib.request.Request(url, headers={"Authorization": "Bearer sk-rig"})
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=2):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise CannotRun(f"{system.name} does not start; its log: {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    pids = pids_of(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _on(cpu: int) -> Any:
    def pin() -> None:
        with contextlib.suppress(OSError):  # a machine with one processor
            os.sched_setaffinity(0, {cpu})

    return pin
