"""A flame graph of the gateway under load: where its time goes, by function."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.performance.rig_runner import running, upstream
from tests.performance.systems import GATEWAY, TOOLS, CannotRun
from tests.performance.tools import program

_LOADS = {
    "paced 500": {"streams": 500, "tokens": 100, "delay": 40, "ramp": 2000, "seconds": 12},
    "flood": {"streams": 64, "tokens": 200, "seconds": 14},
    "short": {"streams": 32, "tokens": 10, "seconds": 14},
    "whole": {"streams": 32, "whole": 1, "seconds": 14},
}
_PROFILED_SECONDS = 10


def draw(load: str) -> None:
    """Write .bench/flame-LOAD.svg. Raises CannotRun."""
    if load not in _LOADS:
        raise CannotRun(f"there is no load {load!r} to profile; there are {', '.join(_LOADS)}")
    spy = program("py-spy")
    graph = TOOLS / f"flame-{load.replace(' ', '-')}.svg"
    with upstream() as upstream_port, running(GATEWAY, upstream_port) as gateway:
        clients = subprocess.Popen(gateway.arguments(_LOADS[load]), stdout=subprocess.DEVNULL)
        time.sleep(3)
        assert gateway.process is not None
        pid, seconds = str(gateway.process.pid), str(_PROFILED_SECONDS)
        words = [spy, "record", "--rate", "400", "--duration", seconds, "--output", str(graph), "--pid", pid]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        clients.wait()
    if done.returncode:
        raise CannotRun(f"py-spy cannot look into the gateway: {done.stderr.strip()[-200:]}")
    print(graph, file=sys.stderr)
