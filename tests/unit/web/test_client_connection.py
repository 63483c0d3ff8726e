"""A gateway's connection says to the byte what Tornado's own says, and it waits for nobody for ever."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket

import pytest
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, RequestStartLine, ResponseStartLine
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from gateway.web import client_connection, http_server
from gateway.web.client_connection import Exchange
from gateway.web.client_stream import ClientStream
from gateway.web.http_server import SERVER_OPTIONS, CappedHTTPServer


class Echo(RequestHandler):
    """Tells what has arrived, in the way that the query asks for."""

    async def answer(self) -> None:
        for name, value in sorted(self.request.headers.get_all()):
            self.write(f"{name}={value};")
        for size in self.get_query_arguments("flush"):
            self.write(b"x" * int(size))
            await self.flush()
        if status := self.get_query_argument("status", ""):
            self._write_buffer = []
            self.set_status(int(status))
        if length := self.get_query_argument("length", ""):
            self.set_header("Content-Length", length)
        self.write(self.request.body if not status else b"")

    get = post = head = delete = answer


APPLICATION = Application([(r".*", Echo)], log_function=lambda handler: None)
END = b"GET /end HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"

REQUESTS = {
    "plain": b"GET / HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    "with a body": POST + b"Content-Length: 5\r\n\r\nhello",
    "with a body in chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    "pipelined": POST + b"Content-Length: 5\r\n\r\nhello" + b"GET /?flush=5&flush=7 HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    "expects to be asked": POST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "in pieces": b"GET /?flush=10&flush=0&flush=70000 HTTP/1.1\r\nHost: x\r\n\r\n",
    "large": POST + b"Content-Length: 200000\r\n\r\n" + b"y" * 200_000,
    "HTTP/1.0": b"GET /?flush=5&flush=5 HTTP/1.0\r\n\r\n",
    "HTTP/1.0, kept alive": b"GET /?length=19 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/1.0 without a length": b"POST / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "closing": b"GET / HTTP/1.1\r\nHost: x\r\nconnection: Close\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
    "HEAD in pieces": b"HEAD /?flush=5&flush=5 HTTP/1.1\r\nHost: x\r\n\r\n",
    "no content": b"DELETE /?status=204 HTTP/1.1\r\nHost: x\r\n\r\n",
    "not modified": b"GET /?status=304 HTTP/1.1\r\nHost: x\r\n\r\n",
    "too little": b"GET /?length=1000 HTTP/1.1\r\nHost: x\r\n\r\n",
    "too much": b"GET /?length=3 HTTP/1.1\r\nHost: x\r\n\r\n",
    "without a host": b"GET / HTTP/1.1\r\n\r\n",
    "with two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "a header twice": b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\na: 2\r\n\r\n",
    "a bare LF": b"GET / HTTP/1.1\nHost: x\nA: 1\n\n",
    "blank lines before it": b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r\n 2\r\n\r\n",
    "a blank in a name": b"GET / HTTP/1.1\r\nHost: x\r\nA : 1\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nA\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n",
    "a lone CR": b"GET / HTTP/1.1\r\nHost: x\r\nA: 1\r2\r\n\r\n",
    "Latin-1": b"GET / HTTP/1.1\r\nHost: x\r\nA: \xe9\t\xff \r\n\r\n",
    "no request": b"hello\r\n\r\n",
    "no version": b"GET /\r\nHost: x\r\n\r\n",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "no length": POST + b"Content-Length: five\r\n\r\nhello",
    "a length below zero": POST + b"Content-Length: -5\r\n\r\nhello",
    "a length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown encoding": POST + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "no chunk": POST + b"Transfer-Encoding: chunked\r\n\r\nhello\r\n",
    "far too large": POST + b"Content-Length: 99999999999999\r\n\r\n",
    "a head that is too large": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 40_000 + b"\r\n\r\n",
}


async def answered(server: HTTPServer, sent: bytes, pieces: int = 1) -> bytes:
    """All that a server says until it closes, without the time of day."""
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        async with asyncio.timeout(10):
            reader, writer = await asyncio.open_connection(*sockets[0].getsockname()[:2])
            reading = asyncio.create_task(all_of(reader))
            size = -(-len(sent) // pieces) or 1
            for start in range(0, len(sent), size):
                writer.write(sent[start : start + size])
                await asyncio.sleep(0.001 if pieces > 1 else 0)
                if reading.done():  # what is sent to a closed connection would reset it
                    break
            said = await reading
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    finally:
        server.stop()
        await server.close_all_connections()
    return re.sub(rb"\r\nDate: [^\r]*", b"", said)


async def all_of(reader: asyncio.StreamReader) -> bytes:
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await reader.read(1 << 20):
            said += data
    return said


@pytest.mark.parametrize("pieces", [1, 40])
@pytest.mark.parametrize("name", REQUESTS)
async def test_a_request_is_answered_as_by_tornado(name: str, pieces: int) -> None:
    sent = REQUESTS[name] + END
    theirs = await answered(HTTPServer(APPLICATION, **SERVER_OPTIONS), sent, pieces)
    assert await answered(CappedHTTPServer(APPLICATION, max_connections=9), sent, pieces) == theirs


# --- answers ----------------------------------------------------------------------------------------------------------


async def written(connection: type[HTTP1Connection], *, version: str, ends: bool, header: str, status: int) -> bytes:
    """What a connection writes of one answer."""
    near, far = socket.socketpair()
    stream = ClientStream(near)
    if connection is Exchange:
        exchange: HTTP1Connection = Exchange(stream, HTTP1ConnectionParameters(), None, is_first=True)
    else:
        exchange = HTTP1Connection(stream, False)
    exchange._request_start_line = RequestStartLine("POST", "/", version)
    exchange._request_headers = HTTPHeaders({"Connection": "Keep-Alive"} if header else {})
    exchange._disconnect_on_finish = ends
    exchange._read_finished = True
    headers = HTTPHeaders({"A": "b"} | ({"Content-Length": "6"} if header == "length" else {}))
    try:
        exchange.write_headers(ResponseStartLine("", status, "Fine"), headers, b"abc" if status != 204 else None)
        if status != 204:
            exchange.write(b"")
            exchange.write(b"def")
        exchange.finish()
        await asyncio.sleep(0)
        assert stream.closed() is ends
        assert exchange._finish_future.done()
        far.settimeout(5)
        return far.recv(1 << 16)
    finally:
        stream.close()
        far.close()


@pytest.mark.parametrize("status", [200, 204, 404])
@pytest.mark.parametrize("header", ["", "kept", "length"])
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
async def test_an_answer_is_written_as_by_tornado(version: str, ends: bool, header: str, status: int) -> None:
    if status == 204 and header == "length":
        pytest.skip("an error in the handler")
    if version == "HTTP/1.0" and status != 204 and (header == "kept" or not (header or ends)):
        pytest.skip("Tornado does not end a body that only the connection's end can end")
    ours = await written(Exchange, version=version, ends=ends, header=header, status=status)
    assert ours == await written(HTTP1Connection, version=version, ends=ends, header=header, status=status)


async def test_a_header_cannot_end_the_head() -> None:
    for value in ("a\nb", "a\r", "\r\nSet-Cookie: x"):
        headers = HTTPHeaders()
        headers._as_list["A"] = [value]  # no other way past HTTPHeaders
        near, far = socket.socketpair()
        exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
        exchange._request_start_line = RequestStartLine("GET", "/", "HTTP/1.1")
        exchange._request_headers = HTTPHeaders()
        with pytest.raises(ValueError, match="Illegal characters"):
            exchange.write_headers(ResponseStartLine("", 200, "OK"), headers)
        exchange.stream.close()
        far.close()


async def test_what_the_kernel_does_not_take_follows_in_order() -> None:
    near, far = socket.socketpair()
    exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
    exchange._request_start_line = RequestStartLine("GET", "/", "HTTP/1.0")
    exchange._request_headers = HTTPHeaders()
    exchange._read_finished = True
    exchange.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
    sent = [b"%06d" % number * 30_000 for number in range(9)]
    waits = [exchange.send(one) for one in sent]
    assert waits[0] is None or not waits[0].done()
    assert waits[-1] is not None
    assert not waits[-1].done()
    exchange.finish()
    assert not exchange.stream.closed()
    exchange._disconnect_on_finish = True
    reader, writer = await asyncio.open_connection(sock=far)
    assert (await reader.read()).endswith(b"\r\n\r\n" + b"".join(sent))
    writer.close()
    await writer.wait_closed()
    assert waits[-1].exception() is None


async def test_the_end_goes_with_what_is_last_and_nothing_comes_behind_it() -> None:
    near, far = socket.socketpair()
    exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
    exchange._request_start_line = RequestStartLine("GET", "/", "HTTP/1.1")
    exchange._request_headers = HTTPHeaders()
    exchange._read_finished = True
    exchange.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
    far.recv(1 << 16)
    exchange.is_ending = True
    assert exchange.send(b"abc") is None
    assert far.recv(1 << 16) == b"3\r\nabc\r\n0\r\n\r\n"
    assert exchange.send(b"more") is None
    exchange.finish()
    assert exchange._finish_future.done()
    exchange.stream.close()
    assert far.recv(1 << 16) == b""
    far.close()


async def test_what_is_held_goes_in_front_of_whatever_is_written_next() -> None:
    near, far = socket.socketpair()
    far.setblocking(False)
    exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
    exchange._request_start_line = RequestStartLine("GET", "/", "HTTP/1.1")
    exchange._request_headers = HTTPHeaders()
    exchange._read_finished = True
    exchange.write_headers(ResponseStartLine("", 200, "OK"), HTTPHeaders())
    far.recv(1 << 16)
    exchange.hold(b"abc")
    exchange.hold(b"de")
    with pytest.raises(BlockingIOError):
        far.recv(1 << 16)
    for _ in range(2):  # the second time there is nothing
        exchange.send_held()
    assert far.recv(1 << 16) == b"3\r\nabc\r\n2\r\nde\r\n"
    exchange.hold(b"f")
    assert exchange.send(b"g") is None
    exchange.send_held()
    assert far.recv(1 << 16) == b"1\r\nf\r\n1\r\ng\r\n"
    exchange.hold(b"h")
    exchange.finish()
    exchange.send_held()
    assert far.recv(1 << 16) == b"1\r\nh\r\n0\r\n\r\n"
    exchange.stream.close()
    far.close()


async def test_it_is_drained_when_the_kernel_has_taken_all() -> None:
    near, far = socket.socketpair()
    exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
    assert exchange.is_drained
    exchange.hold(b"x" * 3_000_000)
    assert not exchange.is_drained
    exchange.send_held()
    assert not exchange.is_drained
    reader, writer = await asyncio.open_connection(sock=far)
    await reader.readexactly(3_000_000)
    assert exchange.is_drained
    exchange.stream.close()
    writer.close()
    await writer.wait_closed()


async def test_a_write_to_a_client_that_has_left_fails() -> None:
    near, far = socket.socketpair()
    exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
    far.close()
    for _ in range(2):  # when the kernel says so, and when the stream knows
        wait = exchange.send(b"text")
        assert wait is not None
        assert wait.exception() is not None
        assert exchange.stream.closed()


# --- time-outs --------------------------------------------------------------------------------------------------------


HALF_A_BODY = POST + b"Content-Length: 5\r\n\r\nhel"
HALF_OF_CHUNKS = POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"


@pytest.mark.parametrize(
    ("sent", "limit"),
    [
        (b"", "_HEAD_SECONDS"),
        (b"GET / HTT", "_HEAD_SECONDS"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "_HEAD_SECONDS"),
        (HALF_A_BODY, "_BODY_SECONDS"),
        (HALF_OF_CHUNKS, "_BODY_SECONDS"),
    ],
    ids=["nothing", "half a head", "idle", "half a body", "half a body in chunks"],
)
async def test_a_client_that_is_waited_for_too_long_is_dropped(
    monkeypatch: pytest.MonkeyPatch, sent: bytes, limit: str
) -> None:
    monkeypatch.setattr(http_server, "_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(client_connection, limit, 0.3)
    clock = asyncio.get_running_loop().time
    began = clock()
    said = await answered(CappedHTTPServer(APPLICATION, max_connections=9), sent)
    assert 0.25 < clock() - began < 5
    assert said.startswith(b"HTTP/1.1 200") if sent.endswith(b"\r\n\r\n") else not said


async def test_a_body_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_SWEEP_SECONDS", 0.05)
    monkeypatch.setattr(client_connection, "_HEAD_SECONDS", 0.2)
    sent = POST + b"Connection: close\r\nContent-Length: 60\r\n\r\n"
    said = await answered(CappedHTTPServer(APPLICATION, max_connections=9), sent + b"y" * 60, pieces=len(sent) + 60)
    assert said.endswith(b"y" * 60)


async def test_an_answer_may_take_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(RequestHandler):
        async def get(self) -> None:
            await asyncio.sleep(0.5)
            self.write("slow")

    for name in ("_HEAD_SECONDS", "_BODY_SECONDS"):
        monkeypatch.setattr(client_connection, name, 0.2)
    monkeypatch.setattr(http_server, "_SWEEP_SECONDS", 0.05)
    application = Application([(r".*", Slow)], log_function=lambda handler: None)
    said = await answered(CappedHTTPServer(application, max_connections=9), END)
    assert said.endswith(b"slow")
