"""A client that leaves ends its transfer at once, and Dify is told to stop the run."""

from __future__ import annotations

import asyncio
import json
import socket
import struct

import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.server import Simulator

MODES = ["Demo Chatbot", "Demo Agent", "Demo Chatflow", "Demo Text Generator", "Demo Workflow"]


async def ask(
    gateway: Gateway, model: str, text: str, *, stream: bool = True
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request over a bare socket, so that the test decides how the connection ends."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": text}]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    await writer.drain()
    return reader, writer


async def until(condition: object, seconds: float = 5.0) -> None:
    """Wait for what another task brings about."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def leave(writer: asyncio.StreamWriter, how: str) -> None:
    if how == "rst":
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


def stops(simulator: Simulator) -> list[str]:
    return [record.path for record in simulator.requests if record.path.endswith("/stop")]


@pytest.mark.parametrize("how", ["fin", "rst"])
@pytest.mark.parametrize("model", MODES)
async def test_leaving_in_the_middle_stops_the_run(
    gateway: Gateway, simulator: Simulator, model: str, how: str
) -> None:
    reader, writer = await ask(gateway, model, "[[n=500 delay=0.02]]")
    await reader.readuntil(b"w3")
    leave(writer, how)
    await until(lambda: simulator.runs[0].state == "stopped")
    assert len(stops(simulator)) == 1
    assert gateway.services.dify.open_streams == 0


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
async def test_leaving_before_the_first_event_stops_the_run_too(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, stream: bool
) -> None:
    simulator = await start_simulator(version)
    gateway = await start_gateway(simulator)
    _, writer = await ask(gateway, "Demo Chatbot", "[[first=0.5 n=500 delay=0.02]]", stream=stream)
    await until(lambda: simulator.runs)
    leave(writer, "fin")
    await until(lambda: simulator.runs[0].state == "stopped")
    await until(lambda: gateway.services.dify.open_streams == 0)


async def test_leaving_a_whole_answer_stops_the_run(gateway: Gateway, simulator: Simulator) -> None:
    _, writer = await ask(gateway, "Demo Chatflow", "[[n=500 delay=0.02]]", stream=False)
    await until(lambda: simulator.runs and simulator.runs[0].tokens > 3)
    leave(writer, "fin")
    await until(lambda: simulator.runs[0].state == "stopped")


async def test_an_answer_that_is_whole_is_not_stopped(gateway: Gateway, simulator: Simulator) -> None:
    response = await gateway.chat("Demo Chatbot", "[[n=3]]")
    assert response.status_code == 200
    await gateway.services.background.finish(5)
    assert stops(simulator) == []


async def test_a_hundred_leave_at_once(gateway: Gateway, simulator: Simulator) -> None:
    async def one() -> None:
        reader, writer = await ask(gateway, "Demo Chatbot", "[[n=5000 delay=0.02]]")
        await reader.readuntil(b"w2")
        leave(writer, "rst")

    await asyncio.gather(*(one() for _ in range(100)))
    await until(lambda: all(run.state == "stopped" for run in simulator.runs), 15)
    assert len(stops(simulator)) == len(simulator.runs) == 100
    assert gateway.services.dify.open_streams == 0


async def test_requests_of_clients_that_left_are_counted_as_such(gateway: Gateway) -> None:
    reader, writer = await ask(gateway, "Demo Chatbot", "[[n=500 delay=0.02]]")
    await reader.readuntil(b"w3")
    leave(writer, "fin")
    await until(lambda: gateway.services.dify.open_streams == 0)
    await asyncio.sleep(0.05)
    metrics = (await gateway.http.get("/metrics")).text
    assert 'gateway_requests_total{code="499",endpoint="chat.completions",model="Demo Chatbot"} 1.0' in metrics
    assert 'gateway_client_disconnects_total{endpoint="chat.completions"} 1.0' in metrics


async def test_a_client_that_takes_nothing_is_dropped(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, CLIENT_WRITE_TIMEOUT="0.3")
    _, writer = await ask(gateway, "Demo Chatbot", "[[big=8000000 stall=1]]")
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await until(lambda: stops(simulator), 10)
    assert gateway.services.dify.open_streams == 0
    writer.transport.abort()
