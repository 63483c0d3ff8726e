"""A Dify that says exactly the bytes it is told, when it is told: one TCP server for the faults of the wire.

/info, /parameters and stop calls get proper answers; each generation is handed to the test's script.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

MODEL = "Raw App"
KEY = "app-raw000000000000000000001"
TASK_ID = "task-of-the-raw-app"

EVENT_STREAM = b"Content-Type: text/event-stream\r\n"
HEAD = b"HTTP/1.1 200 OK\r\n" + EVENT_STREAM + b"Transfer-Encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def event(name: str, **fields: Any) -> bytes:
    """One event as Dify writes it."""
    return b"data: %s\n\n" % json.dumps({"event": name, "task_id": TASK_ID, **fields}).encode()


def message(text: str) -> bytes:
    """One delta of the answer."""
    return event("message", answer=text)


END = event("message_end", metadata={"usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}})


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(*texts: str) -> bytes:
    """A proper answer, chunked."""
    return HEAD + b"".join(chunk(message(text)) for text in texts) + chunk(END) + LAST_CHUNK


@dataclass(eq=False)
class Exchange:
    """One generation: what was asked, and the connection to answer it on."""

    head: str
    body: Any
    connection: int  # counted from 1
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: int = 0  # bytes that the operating system has taken

    async def send(self, data: bytes) -> None:
        """Write, and wait while the gateway takes nothing."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)

    async def gone(self) -> None:
        """Wait until the gateway has closed the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(4096):
                pass

    def reset(self) -> None:
        """RST instead of FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Exchange], Awaitable[None]]


def say(*pieces: bytes, pause: float = 0.0) -> Script:
    """A script that sends these pieces and closes the connection."""

    async def script(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.send(piece)
            await asyncio.sleep(pause)

    return script


@dataclass(eq=False)
class RawDify:
    """`async with RawDify(script) as dify`; `script` may be replaced between requests."""

    script: Script = field(default_factory=lambda: say(whole("Hello", " world")))
    follow: Script | None = None  # for a run that is taken up again
    upload: Script | None = None  # for a file; the app takes any if there is one
    suggest_after: float = 0.0  # seconds
    mode: str = "chat"
    tls: ssl.SSLContext | None = None
    keep_alive: bool = True  # for the small calls
    stop_answers: list[bytes] = field(default_factory=list)  # raw answers to stop calls, before the proper ones
    exchanges: list[Exchange] = field(default_factory=list)
    calls: list[tuple[int, str]] = field(default_factory=list)  # (connection, method and path) of all requests
    connections: int = 0
    port: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> RawDify:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls, limit=1 << 26)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.close_connections()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def listen_again(self) -> None:
        """Restart on the same port, with other TLS if `tls` was replaced; what is open is closed."""
        if self._server is not None and self._server.is_serving():
            await self.stop_listening()
        self.connections = 0
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls, limit=1 << 26)

    async def stop_listening(self) -> None:
        """Connections are refused from now on."""
        assert self._server is not None
        self._server.close()
        self.close_connections()
        await asyncio.sleep(0.05)

    def close_connections(self) -> None:
        """Close all that are open, as a server does with idle ones."""
        for writer in list(self._writers):
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    @property
    def base_url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}/v1"

    @property
    def open_connections(self) -> int:
        return len(self._writers)

    @property
    def stops(self) -> list[str]:
        return [path for _, path in self.calls if path.endswith("/stop")]

    def environ(self, **more: str) -> dict[str, str]:
        """The settings of a gateway in front of it."""
        return {"DIFY_API_BASE": self.base_url, "DIFY_API_KEYS": KEY, **more}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._serve_one(number, reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _serve_one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        method, target, _ = head.split(" ", 2)
        self.calls.append((number, f"{method} {target.partition('?')[0]}"))
        if target.endswith("/files/upload") and self.upload is not None:
            await self.upload(Exchange(head, body, number, reader, writer))
            return False
        if method == "POST" and not target.endswith("/stop"):
            exchange = Exchange(head, json.loads(body), number, reader, writer)
            self.exchanges.append(exchange)
            await self.script(exchange)
            return False
        if "/events?" in target and self.follow is not None:
            await self.follow(Exchange(head, None, number, reader, writer))
            return False
        if target.endswith("/stop") and self.stop_answers:
            writer.write(self.stop_answers.pop(0))
            return False
        if "/suggested" in target:
            await asyncio.sleep(self.suggest_after)
        writer.write(self._small_answer(target))
        await writer.drain()
        return self.keep_alive

    def _small_answer(self, target: str) -> bytes:
        document: dict[str, Any] = {"result": "success"}
        if target.endswith("/info"):
            document = {"name": MODEL, "description": "", "tags": [], "mode": self.mode}
        elif target.endswith("/parameters"):
            document = {"opening_statement": "", "user_input_form": [], "system_parameters": {}}
            document["file_upload"] = {"enabled": self.upload is not None}
        elif "/suggested" in target:
            document["data"] = ["And then?"]
        body = json.dumps(document).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + (b"" if self.keep_alive else b"Connection: close\r\n") + b"\r\n" + body
