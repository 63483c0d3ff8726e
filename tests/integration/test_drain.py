"""The end of a gateway: unready first, then fresh, idle and busy connections each get what they need."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from gateway.drain import drain
from gateway.load_settings import load_settings
from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.server import Simulator

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"


class Connection:
    """One TCP connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, text: bytes = HEALTH) -> bytes:
        """The head of the answer; its body stays unread unless it is two bytes and a line end (`ok`)."""
        self.writer.write(text)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if b"Content-Length: 3" in head:
            await self.reader.readexactly(3)
        return head

    async def seconds_until_closed(self) -> float:
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(10):
            assert await self.reader.read() == b""
        return asyncio.get_running_loop().time() - began


@asynccontextmanager
async def connection(gateway: Gateway) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


def draining(gateway: Gateway, unready_seconds: float = 0.0, stop_now: asyncio.Event | None = None) -> asyncio.Task:
    end = drain(gateway.server, gateway.services, unready_seconds=unready_seconds, stop_now=stop_now or asyncio.Event())
    return asyncio.create_task(end)


async def accepted(gateway: Gateway, count: int) -> None:
    async with asyncio.timeout(5):
        while gateway.server.open_connections < count:
            await asyncio.sleep(0.01)


async def test_while_unready_everything_is_served(gateway: Gateway) -> None:
    async with connection(gateway) as kept:
        await kept.ask()
        end = draining(gateway, unready_seconds=0.5)
        await asyncio.sleep(0.05)
        assert (await gateway.http.get("/readyz")).status_code == 503
        assert (await gateway.http.get("/healthz")).status_code == 200
        assert b"Connection: close" in await kept.ask()  # who asks now will not be there when the idle ones are closed
        response, events = await gateway.stream("Demo Chatbot", "[[n=3]]")
        assert (response.status_code, events[-1]) == (200, "[DONE]")
        assert not end.done()
        await end
    with pytest.raises(httpx.ConnectError):
        await gateway.http.get("/healthz")


async def test_an_idle_connection_is_closed_soon_and_a_fresh_one_is_heard(gateway: Gateway) -> None:
    async with connection(gateway) as idle, connection(gateway) as fresh, connection(gateway) as silent:
        await idle.ask()
        await accepted(gateway, 3)
        end = draining(gateway)
        waited = await idle.seconds_until_closed()
        head = await fresh.ask()
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in head
        await fresh.seconds_until_closed()
        assert not end.done()
        assert await silent.seconds_until_closed() + waited < 5
        await end


async def test_an_idle_connection_that_asks_just_then_is_answered(gateway: Gateway) -> None:
    async with connection(gateway) as idle:
        await idle.ask()
        end = draining(gateway)
        await asyncio.sleep(0.05)
        assert b"Connection: close" in await idle.ask()
        await idle.seconds_until_closed()
        await end


async def test_half_a_head_gets_the_time_of_a_fresh_connection(gateway: Gateway) -> None:
    async with connection(gateway) as slow:
        await slow.ask()
        slow.writer.write(HEALTH[:20])
        end = draining(gateway)
        await asyncio.sleep(0.4)  # an idle one would be closed by now
        assert b"Connection: close" in await slow.ask(HEALTH[20:])
        await end


async def test_a_body_that_is_still_coming_is_waited_for(gateway: Gateway) -> None:
    body = json.dumps({"model": "Demo Chatbot", "messages": [{"role": "user", "content": "[[n=3]]"}]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    async with connection(gateway) as busy:
        busy.writer.write(head + body[:10])
        await asyncio.sleep(0.1)
        end = draining(gateway)
        await asyncio.sleep(1.2)  # a fresh one would be closed by now
        answer = await busy.ask(body[10:])
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"Connection: close" in answer
        assert b"w3" in await busy.reader.read()
        await end


async def test_a_stream_finishes_and_its_client_may_ask_once_more(gateway: Gateway) -> None:
    """The stream's head has promised a connection that stays open, so the next request may already be on its way."""
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=20 delay=0.03]]"}]}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.aiter_lines()
        await anext(lines)
        end = draining(gateway)
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    await asyncio.sleep(0.1)
    assert (await gateway.http.get("/healthz")).headers[
        "connection"
    ] == "close"  # on the same connection: no other opens
    await end
    assert gateway.server.open_connections == 0


async def test_a_stream_finishes_and_its_connection_is_not_kept(gateway: Gateway) -> None:
    text = json.dumps({"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=9]]"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(text)}\r\n\r\n"
    async with connection(gateway) as kept:
        kept.writer.write((head + text).encode())
        await kept.reader.readuntil(b"\r\n\r\n")
        end = draining(gateway)
        await kept.reader.readuntil(b"[DONE]\n\n\r\n0\r\n\r\n")
        await kept.seconds_until_closed()
        await end


async def test_who_waits_for_a_slot_when_time_is_up_gets_a_true_status(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, MAX_STREAMS_PER_DIFY="1", QUEUE_SECONDS="60", SHUTDOWN_SECONDS="0.2")
    long = asyncio.create_task(gateway.stream("Demo Chatbot", "[[n=999 delay=0.05]]"))
    async with asyncio.timeout(5):
        while not gateway.services.dify.open_streams:
            await asyncio.sleep(0.01)
    waiting = asyncio.create_task(gateway.chat("Demo Chatbot"))
    await asyncio.sleep(0.1)
    await draining(gateway)
    _, events = await long
    assert json.loads(events[-1])["error"]["code"] == "shutting_down"
    refused = await waiting
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    asked = [record.path for record in simulator.requests if record.path.endswith(("/chat-messages", "/stop"))]
    assert len(asked) == 2  # one run, and its stop


async def test_a_second_request_to_stop_cuts_every_wait_short(gateway: Gateway) -> None:
    stop_now = asyncio.Event()
    long = asyncio.create_task(gateway.stream("Demo Chatbot", "[[n=999 delay=0.05]]"))
    async with asyncio.timeout(5):
        while not gateway.services.dify.open_streams:
            await asyncio.sleep(0.01)
    end = draining(gateway, unready_seconds=300, stop_now=stop_now)
    await asyncio.sleep(0.05)
    stop_now.set()
    async with asyncio.timeout(10):
        await end
    _, events = await long
    assert json.loads(events[-1])["error"]["code"] == "shutting_down"


async def test_keep_alives_come_as_often_as_a_reload_says(gateway: Gateway) -> None:
    async def comments(question: str) -> int:
        response = await gateway.chat("Demo Chatbot", question, stream=True)
        return response.text.count(": keep-alive")

    before = asyncio.create_task(comments("[[n=8 delay=0.3]]"))
    async with asyncio.timeout(5):
        while not gateway.services.dify.open_streams:
            await asyncio.sleep(0.01)
    gateway.services.settings = load_settings({"KEEP_ALIVE_SECONDS": "0.05"})
    assert await comments("[[n=4 delay=0.3]]") >= 3
    assert await before == 0
