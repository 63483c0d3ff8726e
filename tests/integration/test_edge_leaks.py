"""Thousands of clients that come and leave in every way leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from pathlib import Path

import httpx

from tests.integration.conftest import Gateway
from tests.integration.edge_tools import (
    metric,
    open_files,
    port_of,
    request_bytes,
    reset,
    resident_bytes,
    send_request,
    until,
)
from tests.integration.raw_dify import END, HEAD, LAST_CHUNK, MODEL, Exchange, RawDify, chunk, message
from tests.integration.test_process import gateway_process
from tests.simulator.server import Simulator

CYCLES = int(os.environ.get("EDGE_LEAK_CYCLES", "2000"))  # 5,000 take 8 to 20 s
AT_ONCE = 50
BATCHES = 5
MARGIN_BYTES = 4 << 20


async def answer(exchange: Exchange) -> None:
    """As the question says: short, endless, or late."""
    query = exchange.body["query"]
    if "late" in query:
        await asyncio.sleep(0.05)
    await exchange.send(HEAD + chunk(message("one ")))
    if "short" in query:
        await exchange.send(chunk(END) + LAST_CHUNK)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            while not exchange.writer.is_closing():
                await exchange.send(chunk(message("w ")))
                await asyncio.sleep(0.01)


async def come_and_leave(port: int, number: int) -> None:
    """One of ten ways: five points in time, FIN or RST."""
    way = number % 5
    if way == 0:  # in the middle of the request
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes(MODEL, "never asked")[:-9])
        await writer.drain()
    elif way == 1:  # before Dify's head
        reader, writer = await send_request(port, MODEL, "late")
        await asyncio.sleep(0.01)
    elif way == 2:  # in the middle of the answer
        reader, writer = await send_request(port, MODEL, "endless")
        await reader.readuntil(b"w ")
    elif way == 3:  # a whole answer, before it is whole
        reader, writer = await send_request(port, MODEL, "endless", stream=False)
        await asyncio.sleep(0.03)
    else:  # after the end
        reader, writer = await send_request(port, MODEL, "short", stream=number % 2 == 0)
        await reader.readuntil(b"[DONE]" if number % 2 == 0 else b"usage")
    reset(writer) if number // 5 % 2 else writer.close()


async def test_nothing_is_left_of_clients_that_left(tmp_path: Path) -> None:
    async with (
        RawDify(answer) as dify,
        gateway_process(tmp_path, **dify.environ(QUEUE_LENGTH="1000")) as process,
    ):
        pid = process.process.pid
        base_url = await process.base_url()
        port = port_of(base_url)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with slots:
                await come_and_leave(port, number)

        async def batch(count: int) -> None:
            await asyncio.gather(*(one(number) for number in range(count)))
            async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
                for _ in range(200):
                    if await metric(http, "gateway_answers_in_flight") == 0 and is_quiet(dify):
                        break
                    await asyncio.sleep(0.05)

        await batch(2 * AT_ONCE)  # warm up
        files = open_files(pid)
        sizes = []
        for _ in range(BATCHES):
            await batch(CYCLES // BATCHES)
            sizes.append(resident_bytes(pid))
        await until(lambda: open_files(pid) <= files)
        assert sizes[-1] - sizes[1] < MARGIN_BYTES, sizes
        async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
            text = (await http.get("/metrics")).text
            assert await metric(http, "gateway_answers_in_flight") == 0
            assert await metric(http, 'gateway_stop_calls_total{outcome="failed"}') == 0
        assert not [
            line for line in text.splitlines() if line.startswith("gateway_upstream_streams{") and "0.0" not in line
        ]
        assert not [line for line in process.lines if "Traceback" in line or " ERROR " in line]
        asked = len(dify.exchanges)
        unheard = sum("late" in e.body["query"] or "endless" in e.body["query"] for e in dify.exchanges)
        assert asked > CYCLES * 0.7
        assert len(dify.stops) == unheard  # each run that nobody hears was told to stop, once
        print(f"{CYCLES} cycles: RSS {[size >> 20 for size in sizes]} MiB, {files} files, {len(dify.stops)} stops")


def is_quiet(dify: RawDify) -> bool:
    return all(exchange.writer.is_closing() for exchange in dify.exchanges)


async def test_an_answer_leaves_nothing_for_the_garbage_collector(gateway: Gateway, simulator: Simulator) -> None:
    """The collector comes rarely, and what it has to find meanwhile takes memory: 60 objects an answer."""

    async def ask_in_every_way() -> None:
        for model in ("Demo Chatbot", "Demo Chatflow"):
            await gateway.chat(model)
            await gateway.stream(model)
            await gateway.chat(model, "[[fail=500]]")
            await gateway.stream(model, "[[n=5 fail=429]]")
            await gateway.chat("unknown")
            await gateway.http.post("/v1/chat/completions", content=b"{")
            form = {"Content-Type": "multipart/form-data; boundary=y"}
            await gateway.http.post("/v1/files", content=b"x", headers=form)
            for end in (lambda writer: writer.close(), reset):
                reader, writer = await send_request(gateway.port, model, "[[n=500 delay=0.02]]")
                await reader.readuntil(b"w3")
                end(writer)
                _, writer = await send_request(gateway.port, model, "[[first=0.1 n=500 delay=0.02]]")
                await asyncio.sleep(0.03)
                end(writer)  # before Dify's head
                _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
                writer.write(request_bytes(model)[:-9])
                await asyncio.sleep(0.01)
                end(writer)  # within the body
        await until(lambda: gateway.services.dify.open_streams == 0 and gateway.server.open_connections <= 1)
        await gateway.services.background.finish(5)

    await ask_in_every_way()
    gc.collect()
    gc.disable()
    try:
        await ask_in_every_way()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = {type(one).__qualname__ for one in gc.garbage if type(one).__module__.startswith("gateway.")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == set()
