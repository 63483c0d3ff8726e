"""Connections beyond the cap wait in the kernel; nobody is turned away, nothing spins."""

from __future__ import annotations

import asyncio
import os
import resource

from gateway.web.http_server import connection_cap
from tests.integration.conftest import StartGateway
from tests.simulator.server import Simulator


async def test_connections_over_the_cap_wait_for_their_turn(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, MAX_CONNECTIONS="5")
    request = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
    idle = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(5)]
    for reader, writer in idle:
        writer.write(request)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request)
    answer = asyncio.create_task(reader.readline())
    before = os.times()
    await asyncio.sleep(0.3)
    after = os.times()
    assert not answer.done()
    assert gateway.server.open_connections == 5
    assert after.user + after.system - before.user - before.system < 0.25  # it waits, it does not spin
    idle[0][1].close()
    assert (await asyncio.wait_for(answer, 5)).startswith(b"HTTP/1.1 200")
    for _, one in [*idle, (reader, writer)]:
        one.close()
        await one.wait_closed()


def test_the_cap_leaves_a_descriptor_for_each_answer() -> None:
    cap = connection_cap()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft == hard
    assert 0 < cap <= soft // 2
