"""Clients that leave in ways that are hard to see, and what Dify hears of it."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from tornado.netutil import bind_unix_socket

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import metric, open_files, request_bytes, reset, send_request, until
from tests.integration.raw_dify import HEAD, MODEL, Exchange, RawDify, Script, chunk, message
from tests.simulator.server import Simulator


def stops(simulator: Simulator) -> list[str]:
    return [record.path for record in simulator.requests if record.path.endswith("/stop")]


def endless(pause: float = 0.02) -> Script:
    """Text until the gateway closes the connection."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(HEAD)
        while not exchange.writer.is_closing():
            await exchange.send(chunk(message("w ")))
            await asyncio.sleep(pause)

    return script


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_that_sent_more_and_left_is_noticed_by_the_keep_alive(
    start_gateway: StartGateway, simulator: Simulator, how: str
) -> None:
    """Tornado stops watching a connection that has bytes in store, so only a write shows that its client is gone."""
    gateway = await start_gateway(simulator, KEEP_ALIVE_SECONDS="0.2")
    reader, writer = await send_request(gateway.port, "Demo Chatbot", "[[n=50 mute=3]]", more=b"G")
    await reader.readuntil(b"w3")
    reset(writer) if how == "rst" else writer.close()
    await until(lambda: simulator.runs[0].state == "stopped")
    await until(lambda: gateway.services.dify.open_streams == 0)
    assert len(stops(simulator)) == 1


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_a_client_of_a_whole_answer_that_sent_more_and_left_is_noticed(
    start_gateway: StartGateway, simulator: Simulator, how: str
) -> None:
    """As above, but there is nothing to write to it before the end."""
    gateway = await start_gateway(simulator, KEEP_ALIVE_SECONDS="0.2")
    _, writer = await send_request(gateway.port, "Demo Chatbot", "[[n=500 delay=0.02]]", stream=False, more=b"GET /")
    await until(lambda: simulator.runs and simulator.runs[0].tokens)
    await asyncio.sleep(0.5)  # it is looked after and found there
    assert simulator.runs[0].state == "running"
    reset(writer) if how == "rst" else writer.close()
    await until(lambda: simulator.runs[0].state == "stopped", 4)
    await until(lambda: gateway.services.dify.open_streams == 0)
    assert len(stops(simulator)) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_further_requests_of_a_client_that_has_left_are_not_asked(
    start_gateway: StartGateway, simulator: Simulator, stream: bool
) -> None:
    gateway = await start_gateway(simulator, KEEP_ALIVE_SECONDS="0.2")
    more = request_bytes("Demo Chatbot", stream=stream) * 3
    _, writer = await send_request(gateway.port, "Demo Chatbot", "[[n=500 delay=0.02]]", stream=stream, more=more)
    await until(lambda: simulator.runs and simulator.runs[0].tokens)
    writer.close()
    await until(lambda: simulator.runs[0].state == "stopped" and gateway.server.open_connections == 0)
    assert len(simulator.runs) == 1


@pytest.mark.parametrize("how", ["fin", "rst", "stays"])
async def test_a_unix_sockets_client_that_sent_more_and_left_is_noticed(
    start_gateway: StartGateway, simulator: Simulator, tmp_path: Path, how: str
) -> None:
    gateway = await start_gateway(simulator, KEEP_ALIVE_SECONDS="0.1")
    path = str(tmp_path / "gateway.sock")
    gateway.server.add_sockets([bind_unix_socket(path)])
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request_bytes("Demo Chatbot", "[[n=30 delay=0.02]]", stream=False) + b"G")
    await until(lambda: simulator.runs and simulator.runs[0].tokens)
    if how == "stays":
        assert b"200" in await reader.readline()
    elif how == "rst":
        writer.transport.abort()
    writer.close()
    await until(lambda: simulator.runs[0].state in ("stopped", "finished"))
    assert len(stops(simulator)) == (how != "stays")


async def test_a_half_closed_connection_counts_as_gone(gateway: Gateway, simulator: Simulator) -> None:
    reader, writer = await send_request(gateway.port, "Demo Chatbot", "[[n=500 delay=0.02]]")
    await reader.readuntil(b"w3")
    writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
    await until(lambda: simulator.runs[0].state == "stopped")
    assert len(stops(simulator)) == 1
    writer.close()


@pytest.mark.parametrize("more", [b"", b"G"], ids=["seen to leave", "found gone by a write"])
@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
async def test_the_commit_to_a_client_that_has_left_does_not_lose_the_run(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, more: bytes
) -> None:
    """The stream's 200 is due before Dify has told the task id, and nobody is there to take it."""
    simulator = await start_simulator(version)
    gateway = await start_gateway(simulator, COMMIT_AFTER="0.3", KEEP_ALIVE_SECONDS="0.05")
    _, writer = await send_request(gateway.port, "Demo Chatbot", "[[first=1 n=500 delay=0.02]]", more=more)
    await until(lambda: simulator.runs)
    reset(writer)
    await until(lambda: simulator.runs[0].state == "stopped")
    await gateway.services.background.finish(5)
    assert len(stops(simulator)) == 1
    assert gateway.services.answers_in_flight == 0
    assert (gateway.services.dify.open_streams, gateway.services.dify.load()) == (0, {})


async def test_a_question_that_was_not_sent_when_its_client_left_never_is(start_gateway: StartGateway) -> None:
    """Dify was down, and is back before the next attempt."""
    async with RawDify() as dify:
        gateway = await start_gateway(**dify.environ())
        await dify.stop_listening()
        _, writer = await send_request(gateway.port, MODEL)
        await until(lambda: gateway.services.dify.load())
        await asyncio.sleep(0.02)  # refused by now
        writer.close()
        await until(lambda: gateway.server.open_connections == 0)
        await dify.listen_again()
        await until(lambda: gateway.services.answers_in_flight == 0)
        await gateway.services.background.finish(5)
        assert not dify.exchanges
        assert gateway.services.dify.load() == {}


async def test_a_client_that_leaves_within_its_request_leaves_no_task_behind(gateway: Gateway) -> None:
    before = len(asyncio.all_tasks())
    for number in range(20):
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request_bytes(MODEL)[:-9])
        await writer.drain()
        await until(lambda: gateway.server.open_connections >= 1)
        reset(writer) if number % 2 else writer.close()
    await until(lambda: gateway.server.open_connections == 0)
    await until(lambda: len(asyncio.all_tasks()) <= before)


async def leave_in_the_middle(gateway: Gateway, model: str, text: str = "Hello", seen: bytes = b"w ") -> None:
    reader, writer = await send_request(gateway.port, model, text)
    await reader.readuntil(seen)
    writer.close()


async def test_a_stop_call_that_fails_is_made_again(start_gateway: StartGateway) -> None:
    async with RawDify(endless()) as dify:
        gateway = await start_gateway(**dify.environ())
        dify.stop_answers = [b"garbage"]
        await leave_in_the_middle(gateway, MODEL)
        await until(lambda: len(dify.stops) >= 2)
        await gateway.services.background.finish(5)
        assert len(dify.stops) == 2
        assert await metric(gateway.http, 'gateway_stop_calls_total{outcome="ok"}') == 1
        assert await metric(gateway.http, 'gateway_stop_calls_total{outcome="failed"}') == 0


async def test_a_stop_call_that_fails_twice_is_counted(start_gateway: StartGateway) -> None:
    async with RawDify(endless()) as dify:
        gateway = await start_gateway(**dify.environ())
        dify.stop_answers = [b"garbage"] * 9
        await leave_in_the_middle(gateway, MODEL)
        await until(lambda: len(dify.stops) >= 2)
        await gateway.services.background.finish(5)
        assert len(dify.stops) == 2
        assert await metric(gateway.http, 'gateway_stop_calls_total{outcome="failed"}') == 1


async def test_a_stop_call_that_dify_refuses_is_counted(start_gateway: StartGateway) -> None:
    async with RawDify(endless()) as dify:
        gateway = await start_gateway(**dify.environ())
        dify.stop_answers = [b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"]
        await leave_in_the_middle(gateway, MODEL)
        await until(lambda: dify.stops)
        await gateway.services.background.finish(5)
        assert len(dify.stops) == 1
        assert await metric(gateway.http, 'gateway_stop_calls_total{outcome="refused"}') == 1


@pytest.mark.parametrize("model", ["Demo Chatbot", "Demo Agent", "Demo Chatflow", "Demo Workflow"])
async def test_a_partial_answer_is_heard_out(start_gateway: StartGateway, simulator: Simulator, model: str) -> None:
    gateway = await start_gateway(simulator, KEEP_PARTIAL_ANSWERS="true")
    await leave_in_the_middle(gateway, model, "[[n=500 delay=0.02]]", b"w3")
    await until(lambda: simulator.runs[0].state == "stopped")
    await gateway.services.background.finish(5)
    assert len(stops(simulator)) == 1
    assert not simulator.runs[0].client_gone
    assert gateway.services.dify.load() == {}


async def test_a_partial_answer_is_heard_out_when_its_client_was_slow(
    start_gateway: StartGateway, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It leaves while the gateway waits for it, not for Dify."""
    gateway = await start_gateway(simulator, KEEP_PARTIAL_ANSWERS="true")
    client = socket.create_connection(("127.0.0.1", gateway.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.sendall(request_bytes("Demo Chatbot", "[[big=8000000 stall=1]]"))
    await until(lambda: simulator.runs and simulator.runs[0].tokens)
    await asyncio.sleep(0.5)
    client.close()
    await until(lambda: simulator.runs[0].state == "stopped")
    await gateway.services.background.finish(5)
    assert not simulator.runs[0].client_gone
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_without_that_setting_dify_loses_its_listener_at_once(gateway: Gateway, simulator: Simulator) -> None:
    await leave_in_the_middle(gateway, "Demo Chatbot", "[[n=500 delay=0.02]]", b"w3")
    await until(lambda: simulator.runs[0].state == "stopped")
    assert simulator.runs[0].client_gone


async def test_hearing_out_is_bounded_when_the_run_ignores_the_stop(
    start_gateway: StartGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.dify_run._LAST_EVENTS_SECONDS", 0.5)
    async with RawDify(endless()) as dify:
        gateway = await start_gateway(**dify.environ(KEEP_PARTIAL_ANSWERS="true"))
        await leave_in_the_middle(gateway, MODEL)
        await until(lambda: dify.stops)
        assert gateway.services.dify.open_streams == 1  # still listening
        await until(lambda: gateway.services.dify.open_streams == 0)
        await until(lambda: dify.exchanges[0].writer.is_closing())
        assert gateway.services.dify.load() == {}


async def test_a_client_that_takes_nothing_loses_its_connection(start_gateway: StartGateway) -> None:
    """Its answer is cut without the last chunk, so that it cannot take the half for the whole."""

    async def firehose(exchange: Exchange) -> None:
        await exchange.send(HEAD)
        while not exchange.writer.is_closing():
            await exchange.send(chunk(message("w" * 1000) * 16))

    async with RawDify(firehose) as dify:
        gateway = await start_gateway(**dify.environ(CLIENT_WRITE_TIMEOUT="0.3"))
        before = open_files(os.getpid())
        client = socket.create_connection(("127.0.0.1", gateway.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(request_bytes(MODEL))
        await until(lambda: dify.stops, 15)
        await until(lambda: gateway.server.open_connections == 0)
        await until(lambda: dify.exchanges[0].writer.is_closing())
        taken = await asyncio.to_thread(drain, client)
        client.close()
        assert not taken.endswith(b"0\r\n\r\n")
        await until(lambda: open_files(os.getpid()) <= before)
        assert gateway.services.dify.load() == {}


async def test_a_client_that_takes_nothing_is_dropped_though_nothing_more_comes(start_gateway: StartGateway) -> None:
    """Nobody waits for the rest of what was sent to it along with others' tokens."""

    async def until_it_is_full(exchange: Exchange) -> None:
        await exchange.send(HEAD)
        served = next(iter(gateway.server._exchanges.values()))
        for _ in range(1000):
            await exchange.send(chunk(message("w" * 1000) * 8))
            await asyncio.sleep(0.01)
            if not served.is_drained:
                break
        await exchange.gone()

    async with RawDify(until_it_is_full) as dify:
        gateway = await start_gateway(**dify.environ(CLIENT_WRITE_TIMEOUT="0.3"))
        client = socket.create_connection(("127.0.0.1", gateway.port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(request_bytes(MODEL))
        await until(lambda: dify.stops, 15)
        await until(lambda: gateway.server.open_connections == 0)
        client.close()


def drain(client: socket.socket) -> bytes:
    client.settimeout(10)
    tail = b""
    try:
        while data := client.recv(1 << 20):
            tail = (tail + data)[-64:]
    except ConnectionResetError:
        pass
    return tail
