"""Requests over bare sockets: how they come in, and what a connection is afterwards."""

from __future__ import annotations

import asyncio
import json
import os

import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.integration.edge_tools import peak_bytes, request_bytes
from tests.simulator.server import Simulator

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"
QUESTION = json.dumps({"model": "Demo Chatbot", "messages": [{"role": "user", "content": "[[n=2]]"}]}).encode()


async def said(gateway: Gateway, *sent: bytes, pause: float = 0.0) -> bytes:
    """All that the gateway says to this, up to the answer to one last request on the same connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        async with asyncio.timeout(10):
            for piece in (*sent, HEALTH.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause)
            return await reader.read()
    finally:
        writer.close()


def head(**headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n{lines}\r\n".encode("latin1")


@pytest.mark.parametrize("stream", [True, False])
async def test_requests_that_are_sent_all_at_once_are_answered_in_turn(gateway: Gateway, stream: bool) -> None:
    sent = [request_bytes("Demo Chatbot", f'[[text="answer-{number}"]]', stream) for number in range(5)]
    answer = await said(gateway, b"".join(sent))
    assert answer.count(b"HTTP/1.1 200 OK") == 6
    places = [answer.index(b"answer-%d" % number) for number in range(5)]
    assert places == sorted(places)


@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_a_body_comes_with_its_head_or_after_it(gateway: Gateway, pause: float) -> None:
    length = head(Content_Length=str(len(QUESTION)))
    half = len(QUESTION) // 2
    for pieces in ([length + QUESTION], [length, QUESTION], [length + QUESTION[:half], QUESTION[half:]]):
        answer = await said(gateway, *pieces, pause=pause)
        assert b"w2" in answer
        assert answer.endswith(b"ok\n")  # the connection was kept


@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_a_body_in_chunks(gateway: Gateway, pause: float) -> None:
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, QUESTION[at : at + 1]) for at in range(len(QUESTION))) + b"0\r\n\r\n"
    answer = await said(gateway, head(Transfer_Encoding="chunked"), chunks, pause=pause)
    assert b"w2" in answer
    assert answer.endswith(b"ok\n")


async def test_who_asks_whether_to_send_the_body_is_told(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, MAX_BODY_BYTES="2000")
    expects = {"Expect": "100-continue"}
    answer = await said(gateway, head(Content_Length=str(len(QUESTION)), **expects), QUESTION, pause=0.02)
    assert answer.startswith(b"HTTP/1.1 100")
    assert b"w2" in answer
    for length in ("2001", "9" * 100):
        answer = await said(gateway, head(Content_Length=length, **expects), pause=0.02)
        assert answer.startswith(b"HTTP/1.1 413")
    answer = await said(gateway, head(Content_Length="2001", **expects) + b"x" * 2001)  # who does not wait for it
    assert answer.startswith(b"HTTP/1.1 413")
    for length in ("9" * 5000, "\xb2"):
        answer = await said(gateway, head(Content_Length=length, **expects), pause=0.02)
        assert answer.endswith(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_who_is_refused_with_a_body_that_was_read_keeps_the_connection(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, VALID_API_KEYS="sk-one")
    answer = await said(gateway, head(Content_Length=str(len(QUESTION))) + QUESTION)
    assert answer.startswith(b"HTTP/1.1 401")
    assert answer.endswith(b"ok\n")
    answer = await said(gateway, head(Content_Length="90000000"))  # nobody wants to read this
    assert answer.startswith(b"HTTP/1.1 401")
    assert b"ok\n" not in answer
    assert simulator.runs == []


@pytest.mark.parametrize("path", [b"/healthz", b"/v1/nothing", b"/v1/models"])
async def test_a_body_that_nobody_takes_is_read_and_not_kept(gateway: Gateway, path: bytes) -> None:
    size, before = 60_000_000, peak_bytes(os.getpid())
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"PUT %b HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n" % (path, size))
    for _ in range(size // 100_000):
        writer.write(b"x" * 100_000)
        await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 40")
    assert b"Connection: close" not in answer
    assert peak_bytes(os.getpid()) - before < size / 3
    writer.close()


@pytest.mark.parametrize("more", [b"", b"Connection: keep-alive\r\n"])
async def test_a_client_of_http_1_0_gets_a_stream_that_ends_with_the_connection(gateway: Gateway, more: bytes) -> None:
    sent = request_bytes("Demo Chatbot", "[[n=3]]").replace(b"HTTP/1.1\r\n", b"HTTP/1.0\r\n" + more)
    answer = await said(gateway, sent)
    first, _, body = answer.partition(b"\r\n\r\n")
    assert b"chunked" not in first
    assert b"Keep-Alive" not in first
    assert body.startswith(b"data: ")
    assert body.endswith(b"data: [DONE]\n\n")


async def test_a_head_without_a_body(gateway: Gateway) -> None:
    for path in (b"/healthz", b"/v1/models"):
        answer = await said(gateway, b"HEAD %b HTTP/1.1\r\nHost: gateway\r\n\r\n" % path)
        first, _, rest = answer.partition(b"\r\n\r\n")
        assert b"Content-Length: " in first
        assert rest.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    "sent",
    [
        b"hello\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: gateway\r\nbad name: 1\r\n\r\n",
        head(Content_Length="5", Transfer_Encoding="chunked"),
        head(Content_Length="five"),
        head(Content_Length="99999999999999"),
        head(Content_Length="9" * 5000),
        head(Content_Length="\xb2"),
        head(Transfer_Encoding="gzip"),
        head(Transfer_Encoding="chunked") + b"hello\r\n",
    ],
)
async def test_what_is_no_http_is_refused_and_the_connection_closed(gateway: Gateway, sent: bytes) -> None:
    answer = await said(gateway, sent)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1
    assert gateway.services.answers_in_flight == 0


async def test_a_head_beyond_the_limit_closes_the_connection(gateway: Gateway) -> None:
    assert b"HTTP" not in await said(gateway, head(A="a" * 40_000))
    assert (await said(gateway, HEALTH.replace(b"\r\n\r\n", b"\r\nA: %b\r\n\r\n" % (b"a" * 20_000)))).count(
        b"ok\n"
    ) == 2
