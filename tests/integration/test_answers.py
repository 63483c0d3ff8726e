"""Every app mode answers, streamed and whole, over real sockets."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import StartGateway, StartSimulator

MODES = ["Demo Chatbot", "Demo Agent", "Demo Chatflow", "Demo Text Generator", "Demo Workflow"]
VERSIONS = {
    "0.15.3": MODES,
    "1.12.1": MODES,
    "1.16.0": [*MODES, "Demo New Agent"],
}


@pytest.mark.parametrize(
    ("version", "model"), [(version, model) for version, models in VERSIONS.items() for model in models]
)
async def test_every_mode_of_every_version_answers(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, model: str
) -> None:
    gateway = await start_gateway(await start_simulator(version))
    whole = await gateway.chat(model, "[[n=5]]")
    assert whole.status_code == 200, whole.text
    text = whole.json()["choices"][0]["message"]["content"]
    assert text.split()[:5] == ["w1", "w2", "w3", "w4", "w5"]

    response, events = await gateway.stream(model, "[[n=5]]")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert events[-1] == "[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks).rstrip() == text.rstrip()
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
