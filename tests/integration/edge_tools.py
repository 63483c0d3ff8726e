"""What the tests of the edges share: requests over bare sockets, and looks at a gateway's process from outside."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx


def body_of(model: str, text: str, stream: bool = True) -> dict[str, Any]:
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}


def request_bytes(model: str, text: str = "Hello", stream: bool = True) -> bytes:
    """A whole HTTP request."""
    body = json.dumps(body_of(model, text, stream)).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def send_request(
    port: int, model: str, text: str = "Hello", *, stream: bool = True, more: bytes = b""
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request over a bare socket, so that the test decides how the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request_bytes(model, text, stream) + more)
    await writer.drain()
    return reader, writer


def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def until(condition: Callable[[], object], seconds: float = 8.0) -> None:
    """Wait for what another task brings about."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def port_of(base_url: str) -> int:
    return int(base_url.rsplit(":", 1)[1])


def resident_bytes(pid: int) -> int:
    """What a process holds of the machine's memory."""
    return _status_bytes(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """The most that it ever held."""
    return _status_bytes(pid, "VmHWM")


def open_files(pid: int) -> int:
    """Its file descriptors."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _status_bytes(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


async def metric(http: httpx.AsyncClient, name: str) -> float:
    """The value of a series, written as Prometheus prints it; 0 where there is none."""
    text = (await http.get("/metrics")).text
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.rsplit(" ", 1)[0] == name), 0.0)


def data_of(stream: str) -> list[str]:
    """The data of every event of a stream, comments left out."""
    frames = [frame for frame in stream.split("\n\n") if frame]
    return [frame.removeprefix("data: ") for frame in frames if not frame.startswith(":")]


def text_of(events: list[str]) -> str:
    """The text of the chunks before `[DONE]` or an error."""
    chunks = [json.loads(data) for data in events if data != "[DONE]"]
    return "".join(choice["delta"].get("content", "") for one in chunks for choice in one.get("choices", ()))
