"""Whether the client of a whole answer is still there, while nothing is written to it."""

from __future__ import annotations

import select
from types import TracebackType

from tornado.iostream import IOStream
from tornado.web import RequestHandler

from gateway.web.event_stream import Heartbeat


class ClientWatch:
    """Looks while it is entered, and closes a connection that its client has left, as Tornado does.

    Tornado itself stops looking where a client has sent more than its request: the next one, or a stray byte. A stream
    notices by its keep-alives; before a whole answer there is nothing to write.
    """

    def __init__(self, handler: RequestHandler, heartbeat: Heartbeat, silence: float) -> None:
        self.silence = silence
        self._heartbeat = heartbeat
        self._stream: IOStream = handler.request.connection.stream  # type: ignore[union-attr]

    def __enter__(self) -> None:
        self._heartbeat.add(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._heartbeat.discard(self)

    def beat(self, now: float) -> None:
        """Ask the kernel, which knows whatever has been read."""
        stream = self._stream
        if not stream._read_buffer_size or stream.closed():
            return
        kernel = select.poll()
        kernel.register(stream.socket, select.POLLRDHUP)  # of TCP and of Unix sockets: closed by its client, or reset
        if kernel.poll(0):
            stream.close()
