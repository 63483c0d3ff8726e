"""Messages with files, and a simulator of either release with a gateway in front of it."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.server import Simulator

BOTH = pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
PNG = b"\x89PNG\r\n\x1a\n picture"
PDF = b"%PDF-1.7 text"
WEB = "https://files.example/cat.png"

Json = dict[str, Any]


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def picture(url: str = "") -> Json:
    return {"type": "image_url", "image_url": {"url": url or data_url(PNG, "image/png")}}


def file(name: str, data: bytes, media_type: str) -> Json:
    return {"type": "file", "file": {"filename": name, "file_data": data_url(data, media_type)}}


def said(*parts: Json, text: str = "Look. [[n=2]]") -> Json:
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


async def ask(gateway: Gateway, model: str, *messages: Json, **more: Any) -> Any:
    body = {"model": model, "messages": list(messages), **more}
    return await gateway.http.post("/v1/chat/completions", json=body)


def uploads(simulator: Simulator) -> int:
    return sum(request.path == "/v1/files/upload" for request in simulator.requests)


async def start(version: str, start_simulator: StartSimulator, start_gateway: StartGateway, **environ: str) -> Any:
    simulator = await start_simulator(version)
    modes = "" if version == "1.12.1" else "?mode={}"
    keys = ",".join(app.key + modes.format(app.mode) for app in simulator.apps.values())
    return simulator, await start_gateway(simulator, DIFY_API_KEYS=keys, **environ)
