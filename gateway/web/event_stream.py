"""Server-sent events to one client: headers, keep-alives, and a write that waits until the client takes it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from tornado.ioloop import PeriodicCallback
from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from gateway.sse import KEEP_ALIVE

_SLOWEST_BEAT_SECONDS = 1.0


async def until_taken(handler: RequestHandler, written: asyncio.Future[None], patience: float) -> None:
    """Wait until the kernel has taken all that was written.

    A client that takes no byte for `patience` seconds is dropped, and StreamClosedError raised. The connection is reset
    then: half an answer gets no proper end, and what the kernel holds for it is thrown away.
    """
    stream = handler.request.connection.stream  # type: ignore[union-attr]
    while not written.done():
        taken = stream._total_write_done_index
        await asyncio.wait([written], timeout=patience)
        if not written.done() and stream._total_write_done_index == taken:
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()
            raise StreamClosedError
    written.result()


class EventStreamWriter:
    """Writes one response of type text/event-stream."""

    def __init__(self, handler: RequestHandler, heartbeat: Heartbeat, *, write_timeout: float, silence: float) -> None:
        self._handler = handler
        self._heartbeat = heartbeat
        self._write_timeout = write_timeout
        self.silence = silence
        self._flushing = False
        self._written_at = 0.0
        self.started = False

    async def start(self, first: bytes) -> None:
        """Commit to a 200 and send the first bytes."""
        handler = self._handler
        handler.set_status(200)
        handler.set_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.set_header("Cache-Control", "no-cache")
        handler.set_header("X-Accel-Buffering", "no")  # nginx would collect the stream
        # Without it the second small write waits for the client's delayed ACK: 22 ms for the first token.
        handler.request.connection.stream.set_nodelay(True)  # type: ignore[union-attr]
        self.started = True
        self._heartbeat.add(self)
        await self.send(first)

    async def send(self, data: bytes) -> None:
        """Write and wait until the kernel has taken it all; this wait is the back-pressure towards Dify.

        Raises StreamClosedError when the client has left or has taken nothing for the write time-out.
        """
        self._handler.write(data)
        flushed = self._handler.flush()
        self._written_at = self._heartbeat.clock()
        if flushed.done():
            flushed.result()
            return
        self._flushing = True
        try:
            await until_taken(self._handler, flushed, self._write_timeout)
        finally:
            self._flushing = False
            self._written_at = self._heartbeat.clock()

    def close(self) -> None:
        """No further keep-alives."""
        self._heartbeat.discard(self)

    def keep_alive(self, now: float) -> None:
        """Send a comment after a silence: proxies stay awake, and clients that vanished without a word show."""
        if now - self._written_at >= self.silence and not self._flushing:
            self._written_at = now
            self._handler.write(KEEP_ALIVE)
            self._handler.flush().add_done_callback(lambda flushed: flushed.cancelled() or flushed.exception())


class Heartbeat:
    """One timer for the keep-alives of all open streams; it runs while there are any, as fast as one of them needs.

    A reload may have changed the silence that streams keep, so each brings its own.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._writers: set[EventStreamWriter] = set()
        self._periodic = PeriodicCallback(self._beat, _SLOWEST_BEAT_SECONDS * 1000)

    def add(self, writer: EventStreamWriter) -> None:
        self._writers.add(writer)
        period = min(_SLOWEST_BEAT_SECONDS, writer.silence / 4) * 1000
        if not self._periodic.is_running() or period < self._periodic.callback_time:
            self._periodic.stop()
            self._periodic.callback_time = period
            self._periodic.start()

    def discard(self, writer: EventStreamWriter) -> None:
        self._writers.discard(writer)
        if not self._writers:
            self._periodic.stop()

    def _beat(self) -> None:
        now = self.clock()
        for writer in list(self._writers):
            writer.keep_alive(now)
