"""HTTP/1.1 by hand: a real server library would not misbehave on demand."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

MAX_HEAD_BYTES = 64 * 1024


class BadRequest(Exception):
    """Not HTTP; the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    path: str  # decoded, without the query
    query: str
    version: str
    headers: dict[str, str]  # lower-case names; the last of a repeated field counts
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        wanted = self.headers.get("connection", "").lower()
        return wanted != "close" if self.version == "HTTP/1.1" else wanted == "keep-alive"


class Connection(asyncio.Protocol):
    """One client's connection: whole requests in, bytes out, and `gone` when the client leaves."""

    def __init__(self, on_connect: Callable[[Connection], None]) -> None:
        self.gone = asyncio.Event()
        self._on_connect = on_connect
        self._buffer = bytearray()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: asyncio.Transport

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._on_connect(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._arrived.set()

    def eof_received(self) -> bool:
        self._lost()
        return True  # keep writing: a client may close its half only

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # reading

    async def read_request(self) -> HttpRequest | None:
        """The next request, or None when the client has closed."""
        head = await self._read_until(b"\r\n\r\n")
        if head is None:
            return None
        method, target, version, headers = _read_head(head)
        if headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await self._read_body(headers)
        parts = urlsplit(target)
        return HttpRequest(method, unquote(parts.path), parts.query, version, headers, body)

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return await self._read_exactly(int(headers.get("content-length") or 0))
        body = bytearray()
        while size := int((await self._read_until(b"\r\n") or b"0").split(b";")[0], 16):
            body += (await self._read_exactly(size + 2))[:size]
        while await self._read_until(b"\r\n"):  # trailers, then an empty line
            pass
        return bytes(body)

    async def _read_until(self, mark: bytes) -> bytes | None:
        start = 0
        while (found := self._buffer.find(mark, start)) < 0:
            if len(self._buffer) > MAX_HEAD_BYTES:
                raise BadRequest("the request's head is too long")
            start = max(len(self._buffer) - len(mark), 0)
            if not await self._more():
                return None
        taken = bytes(self._buffer[:found])
        del self._buffer[: found + len(mark)]
        return taken

    async def _read_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not await self._more():
                raise BadRequest("the request's body ended early")
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    async def _more(self) -> bool:
        if self.gone.is_set():
            return False
        self._arrived.clear()
        await self._arrived.wait()
        return not self.gone.is_set() or bool(self._buffer)

    # writing

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    async def drain(self) -> None:
        """Wait for a slow reader."""
        await self._writable.wait()

    def close(self) -> None:
        """Send what is written, then FIN."""
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def reset(self) -> None:
        """RST instead of FIN: the client sees "connection reset by peer"."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _lost(self) -> None:
        self.gone.set()
        self._arrived.set()


def _read_head(head: bytes) -> tuple[str, str, str, dict[str, str]]:
    first, *lines = head.decode("latin-1").lstrip("\r\n").split("\r\n")
    try:
        method, target, version = first.split(" ")
        fields = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    except ValueError as error:
        raise BadRequest(first) from error
    return method, target, version, fields
