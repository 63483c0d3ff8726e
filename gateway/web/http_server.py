"""Tornado's server, which accepts no more connections than the process can carry."""

from __future__ import annotations

import asyncio
import resource
import socket
from collections.abc import Callable, Iterable
from typing import Any, cast

from tornado.httpserver import HTTPServer, _HTTPRequestContext
from tornado.httputil import HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler

from gateway.web.client_connection import ClientConnection, Exchange
from gateway.web.client_stream import ClientStream

_OWN_FILES = 256  # descriptors for everything that is no client: logs, the loop, small calls to Dify

# What the kernel holds of a client's answer beyond what is on its way. By itself it would take up to 4 MB from a Dify
# that runs ahead, for each client that does not read; the network's pace does not depend on it.
_UNSENT_BYTES = 64 * 1024

_SWEEP_SECONDS = 5.0

SERVER_OPTIONS: dict[str, Any] = {
    "max_header_size": 32 * 1024,
    # The handler limits bodies itself: a larger one is read and thrown away, so that the client gets a 413 and not a
    # reset connection. This is where even that ends.
    "max_body_size": 4 << 30,
}


class CappedHTTPServer(HTTPServer):
    """While `max_connections` are open, further ones wait in the kernel's backlog.

    Without a cap a process that runs out of descriptors spins on the listening socket and fills its log.
    """

    def initialize(self, request_callback: Any, *, max_connections: int, **options: Any) -> None:  # type: ignore[override]
        super().initialize(request_callback, **SERVER_OPTIONS, **options)
        self.conn_params.header_timeout = None  # Tornado's timer would be one per request
        self.max_connections = max_connections
        self._paused = False
        self._exchanges: dict[object, Exchange] = {}
        self._sweeping = PeriodicCallback(self._sweep, _SWEEP_SECONDS * 1000)

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Listen; what is accepted has these sockets' options."""
        sockets = list(sockets)
        for one in sockets:
            if one.family == socket.AF_UNIX:
                continue  # holds little by itself
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
            # Else the second small write waits for the client's delayed ACK: 22 ms for the first token.
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().add_sockets(sockets)

    def start_request(self, server_conn: object, request_conn: Any) -> HTTPMessageDelegate:
        """A connection waits for a request: its first one, or the next one."""
        self._exchanges[server_conn] = request_conn
        return cast(HTTPServerConnectionDelegate, self.request_callback).start_request(server_conn, request_conn)

    def _handle_connection(self, connection: socket.socket, address: Any) -> None:
        """Serve a connection; Tornado's methods have no way to say of which classes it and its stream are."""
        self.handle_stream(ClientStream(connection, self.max_buffer_size, self.read_chunk_size), address)

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        assert isinstance(stream, ClientStream)
        context = _HTTPRequestContext(stream, address, self.protocol)
        connection = ClientConnection(stream, self.conn_params, context)
        self._connections.add(connection)
        connection.start_serving(self)
        if not self._sweeping.is_running():
            self._sweeping.start()
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
            if exchange._response_start_line is None:
                exchange._disconnect_on_finish = True

    def close_silent(self, are_closed: Callable[[Exchange], bool]) -> None:
        """Close those of the connections without a request that `are_closed` chooses."""
        for exchange in list(self._exchanges.values()):
            if not exchange.is_busy and are_closed(exchange):
                exchange.stream.close()

    def close_all(self) -> None:
        """Close every connection, whatever it does; Tornado's method waits without end for what is done there."""
        for exchange in list(self._exchanges.values()):
            exchange.stream.close()

    def _sweep(self) -> None:
        """Close the connections that have waited too long for their client: one timer for all of them."""
        if not self._connections:
            self._sweeping.stop()
        now = asyncio.get_running_loop().time()
        for exchange in list(self._exchanges.values()):
            if exchange.is_late(now):
                exchange.stream.close()

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
