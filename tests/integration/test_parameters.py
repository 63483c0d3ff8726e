"""What Dify has no place for: named, or done by the gateway."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.server import Simulator


async def until_stopped(simulator: Simulator) -> None:
    async with asyncio.timeout(5):
        while simulator.runs[-1].state == "running":
            await asyncio.sleep(0.01)
    assert simulator.runs[-1].state == "stopped"


async def test_what_is_ignored_is_named(gateway: Gateway) -> None:
    answer = await gateway.chat("Demo Chatbot", temperature=0.2, max_tokens=5, seed=None, logprobs=False, stop=["x"])
    assert answer.headers["x-ignored-parameters"] == "temperature, max_tokens"
    assert "x-ignored-parameters" in answer.headers["access-control-expose-headers"]
    assert "x-ignored-parameters" not in (await gateway.chat("Demo Chatbot")).headers
    streamed, _ = await gateway.stream("Demo Chatbot", seed=1)
    assert streamed.headers["x-ignored-parameters"] == "seed"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_sequence_ends_text_and_run(gateway: Gateway, simulator: Simulator, stream: bool) -> None:
    question = "[[n=1000 delay=0.01]]"
    if stream:
        _, frames = await gateway.stream("Demo Chatbot", question, stop=["w4", "w3"])
        choices = [json.loads(frame)["choices"][0] for frame in frames[:-1]]
        text, reason = "".join(choice["delta"]["content"] for choice in choices), choices[-1]["finish_reason"]
    else:
        answer = await gateway.chat("Demo Chatbot", question, stop="w3")
        choice = answer.json()["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    assert (text, reason) == ("w1 w2 ", "stop")
    await until_stopped(simulator)


async def test_a_limit_in_characters_ends_text_and_run(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, CHARACTERS_PER_TOKEN="1.5")
    answer = await gateway.chat("Demo Chatbot", "[[n=1000 delay=0.01]]", max_completion_tokens=5, temperature=1)
    choice = answer.json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("w1 w2 w3"[:8], "length")
    assert answer.headers["x-ignored-parameters"] == "temperature"
    await until_stopped(simulator)
