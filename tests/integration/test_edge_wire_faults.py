"""Whatever comes over the wire instead of an answer: a right error, never a wrong answer, never a hanging client."""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import Gateway, StartGateway
from tests.integration.edge_tools import body_of, data_of, peak_bytes, text_of, until
from tests.integration.raw_dify import (
    END,
    EVENT_STREAM,
    HEAD,
    LAST_CHUNK,
    MODEL,
    Exchange,
    RawDify,
    Script,
    chunk,
    message,
    say,
    whole,
)
from tests.integration.test_process import gateway_process

ANSWER = message("one ") + message("two")
TEXT = HEAD + chunk(ANSWER)  # an answer's beginning


@pytest.fixture
async def dify(opened: AsyncExitStack) -> AsyncIterator[RawDify]:
    async with RawDify() as dify:
        yield dify


@pytest.fixture
async def gateway(dify: RawDify, start_gateway: StartGateway) -> Gateway:
    return await start_gateway(**dify.environ())


def reply(status: bytes, content_type: bytes, body: bytes, more: bytes = b"") -> Script:
    """One whole answer with its length."""
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n" % (status, content_type, len(body), more)
    return say(head + body)


def reset_after(data: bytes) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.send(data)
        await asyncio.sleep(0.05)  # a reset takes back what was not read
        exchange.reset()

    return script


# before any text: what Dify's address does → status and code for the client
INSTEAD_OF_AN_ANSWER = {
    "nothing and a close": (say(), 502, "upstream_truncated"),
    "a reset": (reset_after(b""), 502, "upstream_truncated"),
    "a head cut short": (say(b"HTTP/1.1 200 OK\r\nContent-"), 502, "upstream_protocol_error"),
    "garbage": (say(b"\x00\xff\x16garbage\r\n\r\n{]"), 502, "upstream_protocol_error"),
    "HTTP/0.9": (say(b"hello\n" * 10), 502, "upstream_protocol_error"),
    "two lengths": (
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n" + EVENT_STREAM + b"\r\nabcd"),
        502,
        "upstream_protocol_error",
    ),
    "a bad chunk size": (say(HEAD + b"zz\r\nhi\r\n"), 502, "upstream_truncated"),
    "a header of 400 KB": (
        say(b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 400_000 + b"\r\n" + EVENT_STREAM + b"\r\n"),
        502,
        "upstream_protocol_error",
    ),
    "20,000 headers": (
        say(b"HTTP/1.1 200 OK\r\n" + b"X-A: aaaaaaaa\r\n" * 20_000 + EVENT_STREAM + b"\r\n"),
        502,
        "upstream_protocol_error",
    ),
    "gzip that nobody asked for": (
        say(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + EVENT_STREAM + b"\r\n" + gzip.compress(ANSWER + END)),
        502,
        "upstream_protocol_error",
    ),
    "101": (
        say(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + whole("x")),
        502,
        "upstream_protocol_error",
    ),
    "204": (say(b"HTTP/1.1 204 No Content\r\n\r\n"), 502, "upstream_protocol_error"),
    "999": (reply(b"999 Odd", b"text/event-stream", ANSWER + END), 502, "upstream_protocol_error"),
    "a status that is no number": (reply(b"2\xb20 Odd", b"text/event-stream", END), 502, "upstream_protocol_error"),
    "500 as HTML": (reply(b"500 Error", b"text/html", b"<html>"), 502, "run_failed"),
    "503 that says odd things": (
        reply(b"503 Busy", b"text/html", b"<html>", b"Retry-After: \xb2\r\n"),
        503,
        "upstream_overloaded",
    ),
    "200 as HTML": (reply(b"200 OK", b"text/html", b"<html>"), 502, "upstream_protocol_error"),
    "a blocking answer": (
        reply(b"200 OK", b"application/json", b'{"event": "message", "answer": "one two"}'),
        502,
        "upstream_protocol_error",
    ),
    "an empty stream": (say(HEAD + LAST_CHUNK), 502, "upstream_truncated"),
    "comments only": (say(HEAD + chunk(b": hello\n\n" * 9) + LAST_CHUNK), 502, "upstream_truncated"),
    "broken JSON": (say(HEAD + chunk(b'data: {"event": "mess\n\n')), 502, "upstream_protocol_error"),
    "a raw NUL": (
        say(HEAD + chunk(message("one").replace(b"n", b"\0") + END) + LAST_CHUNK),
        502,
        "upstream_protocol_error",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fault", INSTEAD_OF_AN_ANSWER)
async def test_what_is_no_answer_is_a_true_status(dify: RawDify, gateway: Gateway, fault: str, stream: bool) -> None:
    dify.script, status, code = INSTEAD_OF_AN_ANSWER[fault]
    response = await gateway.chat(MODEL, stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers.get("x-should-retry") == ("false" if status == 502 else None)
    assert len(dify.exchanges) == 1  # asked once, whatever came
    assert (gateway.services.dify.load(), gateway.services.dify.open_streams) == ({}, 0)


async def test_a_redirect_is_not_followed(dify: RawDify, gateway: Gateway) -> None:
    asked = len(dify.calls)
    dify.script = say(b"HTTP/1.1 302 Found\r\nLocation: /v1/elsewhere\r\nContent-Length: 0\r\n\r\n")
    response = await gateway.chat(MODEL)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_protocol_error")
    assert [path for _, path in dify.calls[asked:]] == ["POST /v1/chat-messages"]


# after text: what ends the answer early → code of the error in the stream
IN_THE_MIDDLE = {
    "a chunked body cut": (say(TEXT), "upstream_truncated"),
    "a reset": (reset_after(TEXT), "upstream_truncated"),
    "a body shorter than its length": (
        say(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n" + EVENT_STREAM + b"\r\n" + ANSWER),
        "upstream_truncated",
    ),
    "a close-delimited cut": (say(b"HTTP/1.0 200 OK\r\n" + EVENT_STREAM + b"\r\n" + ANSWER), "upstream_truncated"),
    "an end without a last event": (say(TEXT + LAST_CHUNK), "upstream_truncated"),
    "a bad chunk size": (say(TEXT, b"zz\r\nhi\r\n", pause=0.05), "upstream_truncated"),
    "broken JSON": (say(TEXT, chunk(b'data: {"event": "mess\n\n') + LAST_CHUNK), "upstream_protocol_error"),
    "half an event": (say(TEXT, chunk(END[:-20]) + LAST_CHUNK), "upstream_protocol_error"),
}


@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
async def test_an_answer_that_breaks_off_is_an_error_and_its_run_is_stopped(
    dify: RawDify, gateway: Gateway, fault: str
) -> None:
    dify.script, code = IN_THE_MIDDLE[fault]
    response, events = await gateway.stream(MODEL)
    assert response.status_code == 200
    assert text_of(events) == "one two"
    assert json.loads(events[-1])["error"]["code"] == code
    half = await gateway.chat(MODEL)
    assert (half.status_code, half.json()["error"]["code"]) == (502, code)
    assert half.headers["x-should-retry"] == "false"
    await gateway.services.background.finish(5)
    assert len(dify.stops) == len(dify.exchanges) == 2  # for all that is known, the model goes on
    assert gateway.services.dify.load() == {}


HEAVY = "w" * 20_000_000
ALL = ANSWER + END
# odd, but an answer: the text that comes of it
ODD_BUT_WHOLE = {
    "fifty interim answers": (say(b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + whole("one ", "two")), "one two"),
    "close-delimited": (say(b"HTTP/1.0 200 OK\r\n" + EVENT_STREAM + b"\r\n" + ALL), "one two"),
    "with its length": (reply(b"200 OK", b"text/event-stream; charset=utf-8", ALL), "one two"),
    "a length beside the chunks": (
        say(HEAD.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + chunk(ALL) + LAST_CHUNK),
        "one two",
    ),
    "a trailer": (say(TEXT + chunk(END) + b"0\r\nContent-Type: text/html\r\n\r\n"), "one two"),
    "CRLF": (say(HEAD + chunk(ALL.replace(b"\n", b"\r\n")) + LAST_CHUNK), "one two"),
    "CR": (say(HEAD + chunk(ALL.replace(b"\n", b"\r")) + LAST_CHUNK), "one two"),
    "a byte order mark": (say(HEAD + chunk(b"\xef\xbb\xbf" + ALL) + LAST_CHUNK), "one two"),
    "no blank line at the end": (say(TEXT + chunk(END[:-2]) + LAST_CHUNK), "one two"),
    "no last chunk": (say(TEXT + chunk(END)), "one two"),
    "JSON that is no object": (
        say(HEAD + chunk(b'data: [1]\n\ndata: 5\n\ndata: null\n\ndata: "x"\n\n' + ALL) + LAST_CHUNK),
        "one two",
    ),
    "an escaped NUL": (say(whole("o\0e")), "o\0e"),
    "characters cut between chunks": (
        say(HEAD, *(chunk(bytes([byte])) for byte in ALL.replace(b"two", "zwei €😀".encode())), LAST_CHUNK),
        "one zwei €😀",
    ),
    "invalid UTF-8": (
        say(HEAD, *(chunk(bytes([byte])) for byte in ALL.replace(b"two", b"t\xffw\xe2\x82o")), LAST_CHUNK),
        "one t\ufffdw\ufffdo",
    ),
    "a line of 20 MB": (say(whole(HEAVY)), HEAVY),
}


@pytest.mark.parametrize("oddity", ODD_BUT_WHOLE)
async def test_an_odd_answer_is_an_answer(dify: RawDify, gateway: Gateway, oddity: str) -> None:
    dify.script, text = ODD_BUT_WHOLE[oddity]
    response, events = await gateway.stream(MODEL)
    assert response.status_code == 200
    assert events[-1] == "[DONE]"
    assert text_of(events) == text
    document = (await gateway.chat(MODEL)).json()
    assert document["choices"][0]["message"]["content"] == text
    await gateway.services.background.finish(5)
    assert dify.stops == []


@pytest.mark.parametrize("stream", [True, False])
async def test_an_event_over_64_mib_is_refused_in_bounded_memory(tmp_path: Path, stream: bool) -> None:
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.send(HEAD + chunk(message("one")) + chunk(b'data: {"event": "message", "answer": "'))
        while not exchange.writer.is_closing() and sent < 1 << 30:
            await exchange.send(chunk(b"x" * 65_536))
            sent += 65_536

    async with (
        RawDify(endless) as dify,
        gateway_process(tmp_path, **dify.environ()) as process,
        httpx.AsyncClient(base_url=await process.base_url(), timeout=30, trust_env=False) as http,
    ):
        before = peak_bytes(process.process.pid)
        response = await http.post("/v1/chat/completions", json=body_of(MODEL, "x", stream))
        error = json.loads(data_of(response.text)[-1])["error"] if stream else response.json()["error"]
        assert error["code"] == "upstream_protocol_error"
        assert "64 MiB" in error["message"]
        await until(lambda: dify.stops)
        assert sent < 80 << 20  # the connection was closed, not read to its end
        assert peak_bytes(process.process.pid) - before < 80 << 20


async def test_small_calls_survive_connections_that_dify_has_closed(dify: RawDify, gateway: Gateway) -> None:
    """A stock Dify closes idle connections after two seconds; the look at the apps goes on regardless."""
    for _ in range(5):
        dify.close_connections()
        await gateway.services.refresher.refresh()
        assert [state.error for state in gateway.services.registry.states] == [None]
    dify.keep_alive = False
    for _ in range(5):
        await gateway.services.refresher.refresh()
        assert [state.error for state in gateway.services.registry.states] == [None]


async def test_small_calls_survive_the_race_with_dify_closing(
    opened: AsyncExitStack, start_gateway: StartGateway
) -> None:
    """The connection is closed in the moment in which the next call is under way on it."""

    class Closing(RawDify):
        async def _serve_one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            served = sum(1 for connection, _ in self.calls if connection == number)
            if served == 1:  # the second request of a connection is read and never answered
                await reader.readuntil(b"\r\n\r\n")
                return False
            return await super()._serve_one(number, reader, writer)

    dify = await opened.enter_async_context(Closing())
    gateway = await start_gateway(**dify.environ())
    for _ in range(5):
        await gateway.services.refresher.refresh()
        assert [state.error for state in gateway.services.registry.states] == [None]
    assert dify.connections > 5


def test_descriptors_suffice() -> None:
    """The tests of this folder open many sockets."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 1024
