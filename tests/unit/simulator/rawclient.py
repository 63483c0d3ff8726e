"""An HTTP client that sees what the wire does: chunk borders, missing ends, resets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from tests.simulator.apps import App
from tests.simulator.server import Simulator

ROUTES = {"completion": "completion-messages", "workflow": "workflows/run"}


@dataclass(slots=True)
class Answer:
    status: int = 0
    phrase: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False  # the response came to its HTTP end
    reset: bool = False

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        return read_events(self.body)

    @property
    def text(self) -> str:
        return "".join(
            event["data"]["text"] if event["event"] == "text_chunk" else event["answer"]
            for event in self.events
            if event["event"] in ("message", "agent_message", "text_chunk", "message_file")
        )


def read_events(body: bytes) -> list[dict[str, Any]]:
    frames = [frame for frame in body.split(b"\n\n") if frame.startswith(b"data: ")]
    return [json.loads(frame[6:]) for frame in frames]


class Ask:
    """One request on its own connection; `answer` reads all, or read in steps."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self.answer = Answer()

    async def open(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._simulator.port)
        lines = [f"{method} {path} HTTP/1.1", "Host: dify", *(f"{name}: {value}" for name, value in headers.items())]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def read_head(self) -> None:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.strip().split("\r\n")
        _, status, self.answer.phrase = status_line.split(" ", 2)
        self.answer.status = int(status)
        self.answer.headers = dict(line.split(": ", 1) for line in lines)

    async def read_chunk(self) -> bytes:
        """The next chunk, empty at the end."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        chunk = (await self.reader.readexactly(size + 2))[:size]
        if chunk:
            self.answer.chunks.append(chunk)
            self.answer.body += chunk
        return chunk

    async def read_all(self) -> Answer:
        try:
            await self.read_head()
            if self.answer.headers.get("Transfer-Encoding") == "chunked":
                while await self.read_chunk():
                    pass
            else:
                self.answer.body = await self.reader.readexactly(int(self.answer.headers.get("Content-Length", "0")))
            self.answer.complete = True
        except asyncio.IncompleteReadError as error:
            self.answer.body += error.partial
        except ConnectionResetError:
            self.answer.reset = True
        finally:
            self.writer.close()
        return self.answer


async def call(simulator: Simulator, method: str, path: str, app: App | None, body: Any = None) -> Answer:
    """Any request; `body` is sent as JSON unless it is bytes already."""
    headers = {"Connection": "close"}
    if app is not None:
        headers["Authorization"] = f"Bearer {app.key}"
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    if data:
        headers["Content-Type"] = "application/json"
    ask = Ask(simulator)
    await ask.open(method, path, headers, data)
    return await ask.read_all()


def generation(app: App, text: str, **fields: Any) -> tuple[str, dict[str, Any]]:
    """Path and body that ask this app, in its mode, for an answer to `text`."""
    path = f"/v1/{ROUTES.get(app.mode, 'chat-messages')}"
    body: dict[str, Any] = {"inputs": {}, "user": "u1", "response_mode": "streaming", "auto_generate_name": False}
    if app.mode in ROUTES:
        body["inputs"] = {app.form[0].variable: text}
    else:
        body["query"] = text
    return path, body | fields


async def ask(simulator: Simulator, app: App, text: str, **fields: Any) -> Answer:
    path, body = generation(app, text, **fields)
    return await call(simulator, "POST", path, app, body)


async def start(simulator: Simulator, app: App, text: str, **fields: Any) -> Ask:
    """A request whose answer the test reads step by step."""
    path, body = generation(app, text, **fields)
    headers = {"Authorization": f"Bearer {app.key}", "Content-Type": "application/json"}
    asked = Ask(simulator)
    await asked.open("POST", path, headers, json.dumps(body).encode())
    return asked
