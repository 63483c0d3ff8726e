"""A question reaches Dify once: what was not sent is tried again, what may have arrived never is."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import until
from tests.integration.raw_dify import HEAD, MODEL, Exchange, RawDify, Script, chunk, event, say
from tests.simulator.server import Simulator


@pytest.fixture
async def dify(opened: AsyncExitStack) -> AsyncIterator[RawDify]:
    async with RawDify() as dify:
        yield dify


async def reset_at_once(exchange: Exchange) -> None:
    exchange.reset()


async def close_half(exchange: Exchange) -> None:
    """FIN, and the connection stays open for reading: a request sent again on it would be seen."""
    exchange.writer.write_eof()
    await exchange.gone()


DEATHS: dict[str, Script] = {
    "closed": say(),
    "reset": reset_at_once,
    "half closed": close_half,
    "closed within the head": say(b"HTTP/1.1 200 OK\r\n"),
    "reset after the head": say(HEAD),
    "closed after a ping": say(HEAD, chunk(b"event: ping\n\n")),
    "closed after an event without text": say(HEAD, chunk(event("workflow_started"))),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("death", DEATHS)
async def test_a_question_that_may_have_arrived_is_never_sent_again(
    dify: RawDify, start_gateway: StartGateway, death: str, stream: bool
) -> None:
    gateway = await start_gateway(**dify.environ())
    dify.script = DEATHS[death]
    response = await gateway.chat(MODEL, stream=stream)
    assert response.status_code == 502
    assert response.headers["x-should-retry"] == "false"
    await asyncio.sleep(0.3)  # longer than the first retry would take
    assert len(dify.exchanges) == 1


async def test_every_answer_has_a_connection_of_its_own(dify: RawDify, start_gateway: StartGateway) -> None:
    """A kept connection may be dead, and libcurl would then send the question again."""

    async def answer_and_stay_open(exchange: Exchange) -> None:
        await say(HEAD, chunk(event("message", answer="x")), chunk(event("message_end")) + b"0\r\n\r\n")(exchange)
        await exchange.gone()

    gateway = await start_gateway(**dify.environ())
    await gateway.services.refresher.refresh()  # leaves kept connections behind
    dify.script = answer_and_stay_open
    for _ in range(5):
        assert (await gateway.chat(MODEL)).status_code == 200
    small_calls = {connection for connection, path in dify.calls if "chat-messages" not in path}
    used = [exchange.connection for exchange in dify.exchanges]
    assert len(set(used)) == 5
    assert not small_calls & set(used)
    await until(lambda: all(exchange.writer.is_closing() for exchange in dify.exchanges))


async def test_a_dify_that_comes_back_in_time_is_not_missed(
    start_simulator: StartSimulator, start_gateway: StartGateway
) -> None:
    """A restart of Dify: refused for a moment, then up; the client sees only its answer."""
    simulator = await start_simulator()
    gateway = await start_gateway(simulator)
    port = simulator.port
    await simulator.stop()
    answering = asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=3]]"))
    await asyncio.sleep(0.1)  # the first try is refused by now, the second one comes after 0.1 to 0.2 s
    assert not answering.done()
    await simulator.start(port=port)
    response = await answering
    assert response.status_code == 200, response.text
    assert len(simulator.runs) == 1
    assert gateway.services.dify.load() == {}


async def test_a_dify_that_stays_away_is_told_in_bounded_time(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator)
    await simulator.stop()
    began = time.monotonic()
    response = await gateway.chat("Demo Chatbot")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_refused")
    assert "x-should-retry" not in response.headers  # 502 is retried by the SDKs anyway
    assert time.monotonic() - began < 8
    assert gateway.services.dify.load() == {}


async def test_a_name_that_nobody_knows(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator)
    move(gateway, "http://dify.invalid/v1")
    response = await gateway.chat("Demo Chatbot")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_dns_failed")


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """The port of a server that accepts nothing and whose backlog is full: connecting to it hangs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        time.sleep(0.1)
        yield port
        for client in waiting:
            client.close()


async def test_a_connection_that_hangs_is_given_up(
    start_gateway: StartGateway, simulator: Simulator, full_backlog: int
) -> None:
    gateway = await start_gateway(simulator, CONNECT_TIMEOUT="0.4")
    move(gateway, f"http://127.0.0.1:{full_backlog}/v1")
    response = await gateway.chat("Demo Chatbot")
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_connect_timeout")
    assert response.headers["x-should-retry"] == "true"  # nothing was sent
    assert gateway.services.dify.load() == {}


def move(gateway: Gateway, base_url: str) -> None:
    """Let every known app be at another address from now on."""
    registry = gateway.services.registry
    snapshot = registry.snapshot
    models = {name: replace(app, key=replace(app.key, base_url=base_url)) for name, app in snapshot.models.items()}
    registry.snapshot = replace(snapshot, models=models)
