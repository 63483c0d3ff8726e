"""Bursts arrive as an even flow where somebody reads along, and untouched where a program does."""

from __future__ import annotations

import json
import time

import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.apps import DEMO_CHAT
from tests.simulator.server import Simulator

BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)", "Origin": "https://chat.example"}


async def deltas(gateway: Gateway, text: str, headers: dict[str, str]) -> tuple[list[str], float]:
    """The answer's text pieces, and the seconds from the first to the last."""
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": text}]}
    pieces, times = [], []
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            chunk = json.loads(line[6:]) if line.startswith("data: {") else {"choices": []}
            for choice in chunk["choices"]:
                if piece := choice["delta"].get("content", ""):
                    pieces.append(piece)
                    times.append(time.monotonic())
    return pieces, times[-1] - times[0]


@pytest.fixture
async def gateway(start_gateway: StartGateway, simulator: Simulator) -> Gateway:
    return await start_gateway(simulator, CONVERSATION_MEMORY_MODE="0")


async def test_a_burst_is_cut_for_readers_only(gateway: Gateway) -> None:
    whole, took = await deltas(gateway, "[[big=2000]]", {})
    assert len(whole) == 1
    assert took == 0
    pieces, took = await deltas(gateway, "[[big=2000]]", BROWSER)
    assert "".join(pieces) == whole[0]
    assert len(pieces) > 4
    assert took < 2  # 0.25 on a quiet machine


async def test_text_comes_after_a_silence_longer_than_the_pacing(gateway: Gateway) -> None:
    bursts = "[[n=90 delay=0.015 glue=30]]"  # 0.45 s apart
    plain, _ = await deltas(gateway, bursts, {})
    paced, _ = await deltas(gateway, bursts, BROWSER)
    assert "".join(paced) == "".join(plain)
    assert "w90" in "".join(paced)


async def test_an_even_stream_passes_untouched(gateway: Gateway) -> None:
    plain, _ = await deltas(gateway, "[[n=20 delay=0.03]]", {})
    paced, _ = await deltas(gateway, "[[n=20 delay=0.03]]", BROWSER)
    assert paced == plain


@pytest.mark.parametrize(
    ("settings", "headers", "is_paced"),
    [
        ({"SMOOTH_STREAMING": "on"}, {}, True),
        ({"SMOOTH_STREAMING": "off"}, BROWSER, False),
        ({"SMOOTH_STREAMING": "off"}, {"X-Smooth-Streaming": "on"}, True),
        ({"SMOOTH_STREAMING": "on"}, {"X-Smooth-Streaming": "off"}, False),
        ({"DIFY_API_KEYS": f"{DEMO_CHAT.key}?smooth=on"}, {}, True),
        (
            {"DIFY_API_KEYS": f"{DEMO_CHAT.key}?smooth=on", "VALID_API_KEYS": "sk-a?smooth=off"},
            {"Authorization": "Bearer sk-a"},
            False,
        ),
    ],
)
async def test_operators_and_clients_choose(
    start_gateway: StartGateway, simulator: Simulator, settings: dict[str, str], headers: dict[str, str], is_paced: bool
) -> None:
    gateway = await start_gateway(simulator, **settings)
    pieces, _ = await deltas(gateway, "[[big=2000]]", headers)
    assert (len(pieces) > 4) == is_paced


async def test_a_failure_comes_behind_the_text_that_waits(gateway: Gateway) -> None:
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=9 drop=3]]"}]}
    response = await gateway.http.post("/v1/chat/completions", json=body, headers=BROWSER)
    *chunks, last = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    assert last["error"]["code"] == "upstream_truncated"
    assert "w3" in "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)


async def test_an_unknown_wish_is_an_error(gateway: Gateway, simulator: Simulator) -> None:
    response = await gateway.http.post(
        "/v1/chat/completions",
        json={"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "Hi"}]},
        headers={"X-Smooth-Streaming": "please"},
    )
    assert (response.status_code, response.json()["error"]["param"]) == (400, "X-Smooth-Streaming")
    assert simulator.runs == []
