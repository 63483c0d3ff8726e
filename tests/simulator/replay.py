"""Recorded responses: status, content type and body bytes of a real server, event by event."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

from tests.simulator.replies import Recording

# Replaced or added by this server's own framing.
_OWN_HEADERS = {"server", "date", "connection", "transfer-encoding", "x-version", "x-env"}


class NoRecording(ValueError):
    """The path does not name a recording."""


def load_recording(traces_dir: Path | None, name: str, speed: float | None) -> Recording:
    """`name` is "<version>/<trace>" below the traces directory. With a `speed` it keeps its own time."""
    path = _trace_path(traces_dir, name)
    trace = json.loads(path.read_text())
    response = trace["response"]
    body = (path.parent / Path(response["file"]).name).read_bytes()
    streamed = response["file"].endswith(".sse")
    chunks = tuple(re.findall(rb".+?\n\n|.+", body, re.DOTALL)) if streamed else (body,)
    headers = tuple((name, value) for name, value in response["headers"] if name.lower() not in _OWN_HEADERS)
    return Recording(
        status=int(response["status_line"].split()[1]),
        headers=headers,
        chunks=chunks,
        pauses=_pauses(trace.get("events_at_s") or [], len(chunks), speed),
        chunked=any(name.lower() == "transfer-encoding" for name, _ in response["headers"]),
        complete=bool(response.get("complete", True)),
    )


def _trace_path(traces_dir: Path | None, name: str) -> Path:
    if traces_dir is None:
        raise NoRecording("no traces directory was given")
    root = traces_dir.resolve()
    path = (root / f"{name}.json").resolve()
    if not path.is_relative_to(root) or not path.is_file():
        raise NoRecording(f"no recording {name!r}")
    return path


def _pauses(arrivals: list[float], count: int, speed: float | None) -> tuple[float, ...]:
    if not speed:
        return (0.0,) * count
    times = [0.0, *arrivals, *([arrivals[-1] if arrivals else 0.0] * count)][: count + 1]
    return tuple(max(later - earlier, 0.0) / speed for earlier, later in itertools.pairwise(times))
