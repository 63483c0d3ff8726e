"""Tornado's server, which accepts no more connections than the process can carry."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterable
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPMessageDelegate
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler

from gateway.frozen import frozen

_OWN_FILES = 256  # descriptors for everything that is no client: logs, the loop, small calls to Dify

# What the kernel holds of a client's answer beyond what is on its way. By itself it would take up to 4 MB from a Dify
# that runs ahead, for each client that does not read; the network's pace does not depend on it.
_UNSENT_BYTES = 64 * 1024

SERVER_OPTIONS: dict[str, Any] = {
    "idle_connection_timeout": 75.0,  # seconds; for slow headers and for idle kept-alive connections
    "body_timeout": 60.0,  # seconds
    "max_header_size": 32 * 1024,
    # The handler limits bodies itself: a larger one is read and thrown away, so that the client gets a 413 and not a
    # reset connection. This is where even that ends.
    "max_body_size": 4 << 30,
}


@frozen
class Exchange:
    """What a connection does now."""

    connection: HTTP1Connection
    is_first: bool
    since: float  # by the loop's clock: when it began to wait for a request

    @property
    def is_busy(self) -> bool:
        """A request's head has come, and its answer is not over."""
        return self.connection._request_start_line is not None

    @property
    def is_idle(self) -> bool:
        """Kept alive after an answer, and nothing of another request has come; else it is a fresh one."""
        return not (self.is_first or self.is_busy or self.connection.stream._read_buffer_size)


class CappedHTTPServer(HTTPServer):
    """While `max_connections` are open, further ones wait in the kernel's backlog.

    Without a cap a process that runs out of descriptors spins on the listening socket and fills its log.
    """

    def initialize(self, request_callback: Any, *, max_connections: int, **options: Any) -> None:  # type: ignore[override]
        super().initialize(request_callback, **SERVER_OPTIONS, **options)
        self.max_connections = max_connections
        self._paused = False
        self._exchanges: dict[object, Exchange] = {}

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Listen; what is accepted has these sockets' options."""
        sockets = list(sockets)
        for one in sockets:
            if one.family == socket.AF_UNIX:
                continue  # holds little by itself
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        super().add_sockets(sockets)

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """A connection waits for a request: its first one, or the next one."""
        now = asyncio.get_running_loop().time()
        self._exchanges[server_conn] = Exchange(request_conn, server_conn not in self._exchanges, now)
        return super().start_request(server_conn, request_conn)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        super().handle_stream(stream, address)
        if len(self._connections) >= self.max_connections and not self._paused:
            self._paused = True
            for stop_accepting in self._handlers.values():
                stop_accepting()

    def on_close(self, server_conn: Any) -> None:
        super().on_close(server_conn)
        self._exchanges.pop(server_conn, None)
        if (error := server_conn.stream.error) is not None:
            error.with_traceback(None)  # its frames know the stream, which would go round with it
        if self._paused and len(self._connections) < self.max_connections and not self._stopped:
            self._paused = False
            for number, listener in self._sockets.items():
                self._handlers[number] = add_accept_handler(listener, self._handle_connection)

    def close_after_requests(self) -> None:
        """Every connection ends with the next answer that can tell it so.

        One whose answer has begun was told that it stays open: its client may send once more, and loses that otherwise.
        """
        self.conn_params.no_keep_alive = True  # a `Connection: close` header alone would not close them
        for exchange in self._exchanges.values():
            if exchange.connection._response_start_line is None:
                exchange.connection._disconnect_on_finish = True

    def close_silent(self, are_closed: Callable[[Exchange], bool]) -> None:
        """Close those of the connections without a request that `are_closed` chooses."""
        for exchange in list(self._exchanges.values()):
            if not exchange.is_busy and are_closed(exchange):
                exchange.connection.stream.close()

    @property
    def open_connections(self) -> int:
        """Accepted and not closed."""
        return len(self._connections)


def connection_cap() -> int:
    """How many clients the process has descriptors for: each may need a second one, for its answer from Dify.

    Raises the soft limit to the hard one first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = max(soft, 1 << 20)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(1, (hard - _OWN_FILES) // 2)
