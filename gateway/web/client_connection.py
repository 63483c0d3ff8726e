"""One client's connection and what it does now: Tornado's, with fewer steps between a request and the kernel.

Each override does what Tornado's method does on a server; the tests hold the two side by side.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable

from tornado.concurrent import Future, future_add_done_callback
from tornado.http1connection import HTTP1Connection, HTTP1ConnectionParameters, HTTP1ServerConnection, parse_int
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPOutputError,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError, UnsatisfiableReadError
from tornado.log import gen_log

from gateway.web.client_request import read_start_line
from gateway.web.client_stream import ClientStream
from gateway.web.header_fields import body_length, read_head

_HEAD_SECONDS = 75.0  # for slow heads and for idle kept-alive connections
_BODY_SECONDS = 60.0
_LAST_CHUNK = b"0\r\n\r\n"

log = logging.getLogger(__name__)


class Exchange(HTTP1Connection):
    """What a connection does now: it waits for a request, reads it, answers it."""

    stream: ClientStream

    def __init__(
        self, stream: ClientStream, params: HTTP1ConnectionParameters, context: object, *, is_first: bool
    ) -> None:
        super().__init__(stream, False, params, context)
        self.is_first = is_first
        self.since = time.monotonic()  # by the loop's clock: when it began to wait for a request, or for its body
        self.is_ending = False  # what is written next is the last of the answer, so the end goes with it
        self._has_ended = False
        self._held = b""  # goes in front of whatever is written next

    @property
    def is_busy(self) -> bool:
        """A request's head has come, and its answer is not over."""
        return self._request_start_line is not None

    @property
    def is_idle(self) -> bool:
        """Kept alive after an answer, and nothing of another request has come; else it is a fresh one."""
        return not (self.is_first or self.is_busy or self.stream._read_buffer_size)

    def is_late(self, now: float) -> bool:
        """What it waits for should have come by now."""
        if self._read_finished:
            return False
        return now - self.since >= (_BODY_SECONDS if self.is_busy else _HEAD_SECONDS)

    async def _read_message(self, delegate: HTTPMessageDelegate) -> bool:
        """A server's part of Tornado's two methods; the connection's task logs what the delegate raises."""
        stream, is_heard = self.stream, False
        try:
            head = stream.head(self.params.max_header_size)
            line, headers = self._parse_headers(head if isinstance(head, bytes) else await head)
            self._request_start_line = start_line = read_start_line(line)
            self._request_headers = headers
            self._disconnect_on_finish = not self._can_keep_alive(start_line, headers)
            is_heard = True
            if (handled := delegate.headers_received(start_line, headers)) is not None:
                await handled
            if not self._read_finished:
                if headers.get("Expect") == "100-continue" and not self._write_finished:
                    stream.write(b"HTTP/1.1 100 (Continue)\r\n\r\n")
                if (body := self._read_body(0, headers, delegate)) is not None:
                    await body
                self._read_finished = True
            if not self._write_finished:
                delegate.finish()
            is_heard = False
            if not self._finish_future.done() and not stream.closed():
                stream.set_close_callback(self._on_connection_close)
                await self._finish_future
        except HTTPInputError as error:
            gen_log.info("Malformed HTTP message from %s: %s", self.context, error)
            await stream.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            self.close()
            return False
        finally:
            if is_heard:
                delegate.on_connection_close()
            self._clear_callbacks()
        return True

    def _parse_headers(self, data: bytes) -> tuple[str, HTTPHeaders]:
        return read_head(data.decode("latin1")) or super()._parse_headers(data)

    def take_body(self, headers: HTTPHeaders) -> bytes | None:
        """The body, where all of it has come with its head, and nobody waits to be asked for it.

        From here on the client is watched, as no read sees it leave.
        """
        if "Transfer-Encoding" in headers or "Expect" in headers:
            return None
        length = body_length(headers)
        if length is None or length > self.stream._read_buffer_size:
            return None
        body = self.stream.take(length)
        self._read_finished = True
        self.stream.set_close_callback(self._on_connection_close)
        return body

    def _read_body(self, code: int, headers: HTTPHeaders, delegate: HTTPMessageDelegate) -> Awaitable[None] | None:
        self.since = time.monotonic()
        return super()._read_body(code, headers, delegate)

    # --- the answer ---------------------------------------------------------------------------------------------------

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> Future[None]:
        assert isinstance(start_line, ResponseStartLine)
        assert self._request_start_line is not None
        assert self._request_headers is not None
        self._response_start_line = start_line
        method, _, version = self._request_start_line
        code, has_length = start_line.code, "Content-Length" in headers
        self._chunking_output = not has_length and version == "HTTP/1.1" and method != "HEAD" and code not in (204, 304)
        if version == "HTTP/1.1":
            if self._disconnect_on_finish:
                headers["Connection"] = "close"
        elif not has_length and method != "HEAD" and code not in (204, 304):
            self._disconnect_on_finish = True  # an old client knows by nothing else where the body ends
        elif self._request_headers.get("Connection", "").lower() == "keep-alive":
            headers["Connection"] = "Keep-Alive"
        if self._chunking_output:
            headers["Transfer-Encoding"] = "chunked"
        if method == "HEAD" or code == 304:
            self._expected_content_remaining = 0
        elif has_length:
            self._expected_content_remaining = parse_int(headers["Content-Length"])
        lines = [f"HTTP/1.1 {code} {start_line.reason}", *map(": ".join, headers.get_all()), "", ""]
        text = "".join(lines)
        if "\n" in text or "\r" in text:
            raise ValueError(f"Illegal characters (CR or LF) in header: {lines!r}")
        data = "\r\n".join(lines).encode("latin1")
        return self._put(data + self._format_chunk(chunk) if chunk else data) or self.stream.done

    def write(self, chunk: bytes) -> Future[None]:
        return self.send(chunk) or self.stream.done

    def send(self, chunk: bytes) -> Future[None] | None:
        """Write more of the body; None: the kernel has taken it all."""
        return self._put(self._format_chunk(chunk))

    @property
    def is_drained(self) -> bool:
        """The kernel has taken all that was written."""
        return not self._held and (self._pending_write is None or self._pending_write.done())

    def hold(self, chunk: bytes) -> None:
        """Write more of the body, but not yet."""
        self._held += self._format_chunk(chunk)

    def send_held(self) -> None:
        """Write it now, if nothing has been written since."""
        data, self._held = self._held, b""
        self._put(data)

    def finish(self) -> None:
        stream = self.stream
        if self._expected_content_remaining and not stream.closed():
            stream.close()
            raise HTTPOutputError(f"Tried to write {self._expected_content_remaining} bytes less than Content-Length")
        self.is_ending = True
        self._put(b"")
        self._write_finished = True
        if not self._read_finished:
            self._disconnect_on_finish = True  # the rest of the request's body is nobody's
        if self._pending_write is None:
            self._finish_request(None)
        else:
            future_add_done_callback(self._pending_write, self._finish_request)

    def _finish_request(self, future: Future[None] | None) -> None:
        """Tornado's also switches Nagle's algorithm on, which these connections never have (see CappedHTTPServer)."""
        self._clear_callbacks()
        if self._disconnect_on_finish:
            self.close()
        elif not self._finish_future.done():
            self._finish_future.set_result(None)

    def _put(self, data: bytes) -> Future[None] | None:
        """Hand it to the kernel, which nearly always takes it all.

        Tornado's ways of waiting (three layers, two futures and a callback per write) would cost more than the write.
        Its stream gets what is left, and finds every failure.
        """
        if self._held:
            data, self._held = self._held + data, b""
        if self.is_ending and self._chunking_output and not self._has_ended:
            data += _LAST_CHUNK
        if not data or self._has_ended:
            return None
        self._has_ended = self.is_ending
        stream = self.stream
        if not stream.closed() and not stream.writing():
            try:
                sent = stream.socket.send(data)
            except OSError:  # full, or the client has gone
                sent = 0
            if sent == len(data):
                return None
            data = data[sent:]
        if stream.closed():
            lost: Future[None] = Future()
            lost.set_exception(StreamClosedError())
            lost.exception()  # else it is logged where nobody waits for it
            return lost
        self._pending_write = stream.write(data)
        return self._pending_write


class ClientConnection(HTTP1ServerConnection):
    """A connection that clients have opened: one exchange after another."""

    stream: ClientStream

    async def _server_request_loop(self, delegate: HTTPServerConnectionDelegate) -> None:
        exchange: Exchange | None = None
        try:
            while not self.stream.closed():  # who has left may have sent more requests, and waits for no answer
                exchange = Exchange(self.stream, self.params, self.context, is_first=exchange is None)
                try:
                    if not await exchange.read_response(delegate.start_request(self, exchange)):
                        return
                except (StreamClosedError, UnsatisfiableReadError, asyncio.CancelledError):
                    return
                except Exception:
                    log.exception("a connection failed")
                    exchange.close()
                    return
                if self.stream._read_buffer_size:  # requests that were sent all at once let others have their turn
                    await asyncio.sleep(0)
        finally:
            delegate.on_close(self)
