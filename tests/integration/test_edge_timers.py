"""A Dify that stands still, whole or in part: some timer ends every such answer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.conftest import StartGateway
from tests.integration.edge_tools import send_request
from tests.integration.raw_dify import HEAD, MODEL, Exchange, RawDify, Script, chunk, message
from tests.integration.test_process import ROOT


@asynccontextmanager
async def dify_process() -> AsyncIterator[tuple[int, dict[str, str]]]:
    """The simulator as a process of its own: its id, and the settings of a gateway in front of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.simulator", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        lines = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
        yield process.pid, dict(line.split("=", 1) for line in lines)
    finally:
        os.kill(process.pid, signal.SIGCONT)
        process.terminate()
        await process.communicate()


async def test_a_dify_process_that_is_stopped_before_it_answers(start_gateway: StartGateway) -> None:
    """Its kernel goes on to accept connections, so that no connect time-out can tell."""
    async with dify_process() as (pid, environ):
        gateway = await start_gateway(**environ, CONNECT_TIMEOUT="0.2", FIRST_BYTE_TIMEOUT="0.4")
        os.kill(pid, signal.SIGSTOP)
        response = await gateway.chat("Demo Chatbot")
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_first_byte_timeout")
        assert response.headers["x-should-retry"] == "false"
        assert gateway.services.dify.load() == {}
        os.kill(pid, signal.SIGCONT)
        assert (await gateway.chat("Demo Chatbot")).status_code == 200


async def test_a_dify_process_that_is_stopped_in_the_middle(start_gateway: StartGateway) -> None:
    async with dify_process() as (pid, environ):
        gateway = await start_gateway(**environ, STREAM_IDLE_TIMEOUT="0.5")
        reader, writer = await send_request(gateway.port, "Demo Chatbot", "[[n=500 delay=0.02]]")
        await reader.readuntil(b"w3")
        os.kill(pid, signal.SIGSTOP)
        rest = (await reader.readuntil(b"0\r\n\r\n")).decode()
        assert '"code":"upstream_idle_timeout"' in rest
        assert "[DONE]" not in rest
        assert gateway.services.dify.load() == {}
        writer.close()


def every(seconds: float, data: bytes) -> Script:
    """A proper beginning, then the same bytes again and again."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(message("one ")))
        while not exchange.writer.is_closing():
            await exchange.send(chunk(data))
            await asyncio.sleep(seconds)

    return script


# bytes that are no progress: they keep the connection, and yet it is given up
DRIPS = {
    "one byte of a long event at a time": b"x",
    "pings": b"event: ping\n\n",
    "pings with data": b'data: {"event": "ping"}\n\n',
    "comments": b": hello\n\n",
    "blank lines": b"\n",
}


@pytest.mark.parametrize(("drip", "stream"), [*((drip, True) for drip in DRIPS), ("pings", False)])
async def test_bytes_without_events_are_no_progress(start_gateway: StartGateway, drip: str, stream: bool) -> None:
    async with RawDify(every(0.1, DRIPS[drip])) as dify:
        gateway = await start_gateway(**dify.environ(STREAM_IDLE_TIMEOUT="0.4", STREAM_STALL_TIMEOUT="0.8"))
        if stream:
            _, events = await gateway.stream(MODEL)
            assert json.loads(events[-1])["error"]["code"] == "upstream_stalled"
        else:
            response = await gateway.chat(MODEL)
            assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_stalled")
        await gateway.services.background.finish(5)
        assert len(dify.stops) == 1
        assert gateway.services.dify.load() == {}


async def test_events_without_text_are_progress(start_gateway: StartGateway) -> None:
    """A flow whose nodes run for long says nothing to the client, and lives."""

    async def nodes(exchange: Exchange) -> None:
        await exchange.send(HEAD + chunk(message("one ")))
        for _ in range(15):
            await exchange.send(chunk(b'data: {"event": "node_started", "data": {}}\n\n'))
            await asyncio.sleep(0.1)
        await exchange.send(chunk(message("two") + b'data: {"event": "message_end"}\n\n') + b"0\r\n\r\n")

    async with RawDify(nodes) as dify:
        gateway = await start_gateway(**dify.environ(STREAM_IDLE_TIMEOUT="0.8", STREAM_STALL_TIMEOUT="0.8"))
        response = await gateway.chat(MODEL)
        assert response.json()["choices"][0]["message"]["content"] == "one two"


async def test_a_dripping_head_is_given_up(start_gateway: StartGateway) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not exchange.writer.is_closing():
            await exchange.send(b"x")
            await asyncio.sleep(0.05)

    async with RawDify(drip) as dify:
        gateway = await start_gateway(**dify.environ(CONNECT_TIMEOUT="0.2", FIRST_BYTE_TIMEOUT="0.5"))
        response = await gateway.chat(MODEL)
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_first_byte_timeout")


async def test_a_dripping_refusal_is_given_up(start_gateway: StartGateway) -> None:
    async def drip(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 500 Error\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n")
        while not exchange.writer.is_closing():
            await exchange.send(b"x")
            await asyncio.sleep(0.05)

    async with RawDify(drip) as dify:
        gateway = await start_gateway(**dify.environ(STREAM_IDLE_TIMEOUT="0.5", STREAM_STALL_TIMEOUT="0.8"))
        response = await gateway.chat(MODEL)
        assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_stalled")
        assert gateway.services.dify.load() == {}
