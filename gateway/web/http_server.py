"""Tornado's server, which accepts no more connections than the process can carry."""

from __future__ import annotations

import resource
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.netutil import add_accept_handler

_OWN_FILES = 256  # descriptors for everything that is no client: logs, the loop, small calls to Dify

SERVER_OPTIONS: dict[str, Any] = {
    "idle_connection_timeout": 75.0,  # seconds; for slow headers and for idle kept-alive connections
    "body_timeout": 60.0,  # seconds
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
        self.max_connections = max_connections
        self._paused = False

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        super().handle_stream(stream, address)
        if len(self._connections) >= self.max_connections and not self._paused:
            self._paused = True
            for stop_accepting in self._handlers.values():
                stop_accepting()

    def on_close(self, server_conn: object) -> None:
        super().on_close(server_conn)
        if self._paused and len(self._connections) < self.max_connections and not self._stopped:
            self._paused = False
            for number, listener in self._sockets.items():
                self._handlers[number] = add_accept_handler(listener, self._handle_connection)

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
