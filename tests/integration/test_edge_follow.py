"""A workflow run whose stream breaks is taken up again where Dify can, from 1.14 on; elsewhere it is no worse off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import metric, send_request, text_of, until
from tests.integration.raw_dify import HEAD, LAST_CHUNK, MODEL, Exchange, RawDify, chunk, event, say
from tests.simulator.server import Simulator

FLOWS = ["Demo Workflow", "Demo Chatflow"]
TEXT = "".join(f"w{number} " for number in range(1, 21))


def followed(simulator: Simulator) -> list[str]:
    return [record.path for record in simulator.requests if record.path.endswith("/events")]


async def cut_after(simulator: Simulator, tokens: int) -> None:
    """Cut every connection once the run has come so far; the run itself goes on, as in a Dify behind a proxy."""
    await until(lambda: simulator.runs and simulator.runs[-1].tokens >= tokens)
    for connection in list(simulator._connections):
        connection.abort()


async def ask_and_cut(gateway: Gateway, simulator: Simulator, model: str, stream: bool) -> Any:
    asking = asyncio.create_task(gateway.chat(model, "[[n=20 delay=0.03]]", stream=stream))
    await cut_after(simulator, 4)
    return await asking


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", FLOWS)
async def test_a_run_is_taken_up_again(
    start_simulator: StartSimulator, start_gateway: StartGateway, model: str, stream: bool
) -> None:
    simulator = await start_simulator("1.16.0")
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="0")
    response = await ask_and_cut(gateway, simulator, model, stream)
    assert response.status_code == 200, response.text
    if stream:
        events = [frame.removeprefix("data: ") for frame in response.text.split("\n\n") if frame]
        assert events[-1] == "[DONE]"
        text = text_of(events)
    else:
        text = response.json()["choices"][0]["message"]["content"]
    assert text.split() == TEXT.split()  # nothing is missing and nothing is said twice
    assert len(followed(simulator)) == 1
    assert len(simulator.runs) == 1
    assert await metric(gateway.http, 'gateway_followed_runs_total{outcome="ok"}') == 1
    assert (gateway.services.dify.open_streams, gateway.services.dify.load()) == (0, {})


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", FLOWS)
async def test_a_dify_that_cannot_is_no_worse_off(
    start_simulator: StartSimulator, start_gateway: StartGateway, model: str, stream: bool
) -> None:
    simulator = await start_simulator("1.12.1")
    gateway = await start_gateway(simulator)
    response = await ask_and_cut(gateway, simulator, model, stream)
    if stream:
        error = json.loads(response.text.split("\n\n")[-2].removeprefix("data: "))["error"]
    else:
        assert response.status_code == 502
        error = response.json()["error"]
    assert error["code"] == "upstream_truncated"
    assert await metric(gateway.http, 'gateway_followed_runs_total{outcome="failed"}') == 1
    await until(lambda: simulator.runs[0].state == "stopped")
    assert gateway.services.dify.load() == {}


@pytest.mark.parametrize("model", ["Demo Chatbot", "Demo Agent", "Demo New Agent", "Demo Text Generator"])
async def test_an_app_without_a_workflow_has_nothing_to_take_up(
    start_simulator: StartSimulator, start_gateway: StartGateway, model: str
) -> None:
    simulator = await start_simulator("1.16.0")
    gateway = await start_gateway(simulator)
    response = await ask_and_cut(gateway, simulator, model, stream=False)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_truncated")
    assert followed(simulator) == []


@pytest.mark.parametrize("model", FLOWS)
async def test_a_run_is_taken_up_only_once(
    start_simulator: StartSimulator, start_gateway: StartGateway, model: str
) -> None:
    simulator = await start_simulator("1.16.0")
    gateway = await start_gateway(simulator)
    asking = asyncio.create_task(gateway.chat(model, "[[n=40 delay=0.05]]", stream=True))
    await cut_after(simulator, 4)
    await until(lambda: followed(simulator))
    await cut_after(simulator, 12)
    events = (await asking).text.split("\n\n")
    assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == "upstream_truncated"
    assert len(followed(simulator)) == 1


async def test_a_client_that_leaves_a_run_that_was_taken_up_stops_it(
    start_simulator: StartSimulator, start_gateway: StartGateway
) -> None:
    simulator = await start_simulator("1.16.0")
    gateway = await start_gateway(simulator)
    reader, writer = await send_request(gateway.port, "Demo Workflow", "[[n=500 delay=0.02]]")
    await reader.readuntil(b"w3")
    await cut_after(simulator, 4)
    await until(lambda: followed(simulator))
    writer.close()
    await until(lambda: simulator.runs[0].state == "stopped")
    await until(lambda: gateway.services.dify.open_streams == 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_what_was_said_meanwhile_is_not_lost(start_gateway: StartGateway, stream: bool) -> None:
    """Dify tells a follower only what comes from then on; the end tells the whole."""
    follow = say(
        HEAD,
        chunk(event("text_chunk", data={"text": "three "})),
        chunk(event("workflow_finished", data={"status": "succeeded", "outputs": {"text": "one two three four"}})),
        LAST_CHUNK,
    )
    async with RawDify(mode="workflow", follow=follow) as dify:
        started = event("workflow_started", workflow_run_id="r")
        dify.script = say(HEAD, chunk(started), chunk(event("text_chunk", data={"text": "one "})))
        gateway = await start_gateway(**dify.environ())
        if stream:
            _, events = await gateway.stream(MODEL)
            assert events[-1] == "[DONE]"
            assert text_of(events) == "one two three four"
        else:
            document = (await gateway.chat(MODEL)).json()
            assert document["choices"][0]["message"]["content"] == "one two three four"


async def test_a_client_that_leaves_while_a_run_is_taken_up_stops_it(start_gateway: StartGateway) -> None:
    asked = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        asked.set()
        await asyncio.sleep(0.5)
        await exchange.send(HEAD)
        await exchange.gone()  # and nothing more: no event shows that nobody listens

    async with RawDify(mode="workflow", follow=slow) as dify:
        dify.script = say(
            HEAD, chunk(event("workflow_started", workflow_run_id="r")), chunk(event("text_chunk", data={"text": "w "}))
        )
        gateway = await start_gateway(**dify.environ())
        reader, writer = await send_request(gateway.port, MODEL)
        await reader.readuntil(b"w ")
        await asked.wait()
        writer.close()
        await until(lambda: dify.stops)
        await until(lambda: gateway.services.dify.open_streams == 0)


@pytest.mark.parametrize("stream", [True, False])
async def test_the_commit_to_a_client_does_not_take_the_follow_back(start_gateway: StartGateway, stream: bool) -> None:
    """The stream's 200 is due while Dify is asked to go on; nothing was said yet."""
    asked = 0

    async def slow(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.6)
        ending = event("workflow_finished", data={"status": "succeeded", "outputs": {"text": "one two"}})
        await exchange.send(HEAD + chunk(ending) + LAST_CHUNK)

    async with RawDify(mode="workflow", follow=slow) as dify:
        dify.script = say(HEAD, chunk(event("workflow_started", workflow_run_id="r")))
        gateway = await start_gateway(**dify.environ(COMMIT_AFTER="0.2"))
        if stream:
            _, events = await gateway.stream(MODEL)
            assert events[-1] == "[DONE]", events
            assert text_of(events) == "one two"
        else:
            assert (await gateway.chat(MODEL)).json()["choices"][0]["message"]["content"] == "one two"
        assert asked == 1
        assert (gateway.services.dify.open_streams, gateway.services.dify.load()) == (0, {})
