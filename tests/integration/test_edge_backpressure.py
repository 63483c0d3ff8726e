"""A client that reads slowly, or not at all, slows Dify down and costs the gateway next to nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.edge_tools import body_of, port_of, request_bytes, resident_bytes
from tests.integration.raw_dify import END, HEAD, LAST_CHUNK, MODEL, Exchange, RawDify, chunk, message
from tests.integration.test_process import Process, gateway_process

MIB = 1 << 20
EVENTS = 70_000
LETTERS = 440  # of each event: 31 MB of text in all
STUCK = int(os.environ.get("EDGE_STUCK_CLIENTS", "60"))


class Source:
    """A long answer, made while it is taken."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.sent = 0

    async def __call__(self, exchange: Exchange) -> None:
        events = 100 if exchange.body["query"].endswith("short") else EVENTS
        await exchange.send(HEAD)
        for number in range(events):
            text = f"{number:09d} äb€ ".ljust(LETTERS, "x")
            self.digest.update(text.encode())
            await exchange.send(chunk(message(text)))
            self.sent += LETTERS
        await exchange.send(chunk(END) + LAST_CHUNK)


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
async def dify(source: Source) -> AsyncIterator[RawDify]:
    async with RawDify(source) as dify:
        yield dify


@pytest.fixture
async def process(dify: RawDify, tmp_path: Path) -> AsyncIterator[Process]:
    async with gateway_process(tmp_path, **dify.environ(QUEUE_LENGTH="1000", STARTS_PER_SECOND="1000")) as process:
        yield process


async def connect(port: int) -> socket.socket:
    """A client whose own buffer is small."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


class TextDigest:
    """Reads an event stream piece by piece and keeps only the digest of its text; chunk heads are lines it skips."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.done = False
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line == b"data: [DONE]":
                self.done = True
            elif line.startswith(b"data: "):
                for choice in json.loads(line[6:])["choices"]:
                    self.digest.update(choice["delta"]["content"].encode())


async def test_a_slow_client_holds_dify_back_and_loses_nothing(source: Source, dify: RawDify, process: Process) -> None:
    pid, base_url = process.process.pid, await process.base_url()
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
        for _ in range(5):  # warm up
            await http.post("/v1/chat/completions", json=body_of(MODEL, "short"))
    source.digest, source.sent = hashlib.sha256(), 0
    loop = asyncio.get_running_loop()
    client = await connect(port_of(base_url))
    text = TextDigest()
    await loop.sock_sendall(client, request_bytes(MODEL, "long"))
    before = resident_bytes(pid)
    taken, held, grown = b"", [], []
    for _ in range(12):
        taken += await loop.sock_recv(client, 512)
        await asyncio.sleep(0.5)
        held.append(source.sent)
        grown.append(resident_bytes(pid) - before)
    assert max(grown) < 2 * MIB, [size / MIB for size in grown]
    assert held[-1] - held[5] < MIB / 2, held  # nothing moves but what the client takes
    assert held[-1] < EVENTS * LETTERS * 0.6  # the rest has not been made yet: all there is stands in kernel buffers
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MIB)
    text.feed(taken)
    while not text.done:
        data = await loop.sock_recv(client, MIB)
        assert data
        text.feed(data)
    client.close()
    assert source.sent == EVENTS * LETTERS
    assert text.digest.digest() == source.digest.digest()
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http, asyncio.timeout(10):
        while "gateway_backpressure_pauses_total 0.0" in (await http.get("/metrics")).text:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("letters", [4000, 100])
async def test_stuck_clients_cost_little(dify: RawDify, process: Process, letters: int) -> None:
    batch = chunk(message("w" * letters) * (16_000 // letters))

    async def firehose(exchange: Exchange) -> None:
        exchange.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        await exchange.send(HEAD)
        while not exchange.writer.is_closing():
            await exchange.send(batch)

    pid, base_url = process.process.pid, await process.base_url()
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
        for _ in range(5):  # warm up
            await http.post("/v1/chat/completions", json=body_of(MODEL, "short"))
    dify.script = firehose
    dify.exchanges.clear()
    before = resident_bytes(pid)
    loop = asyncio.get_running_loop()
    clients = [await connect(port_of(base_url)) for _ in range(STUCK)]
    for client in clients:
        await loop.sock_sendall(client, request_bytes(MODEL, "long"))
    began, history = time.monotonic(), [0]
    # A plateau: for two seconds less than a hundredth more has been taken from Dify.
    while len(dify.exchanges) < STUCK or len(history) < 5 or history[-1] > 1.01 * history[-5]:
        await asyncio.sleep(0.5)
        history.append(sum(exchange.sent for exchange in dify.exchanges))
    each, taken = (resident_bytes(pid) - before) / STUCK, history[-1] / STUCK
    print(f"{each / 1024:.0f} KiB each after {time.monotonic() - began:.0f} s; {taken / 1024:.0f} KiB taken from Dify")
    # A stream that flows costs 57 KB; the rest is one read, rendered, and what libcurl had read when it was paused.
    assert each < 120_000
    assert taken < MIB  # in the kernel it waits in both sockets of the gateway and in the ends of the two peers
    for client in clients:
        client.close()
