"""Server-sent events to one client: headers, keep-alives, and a write that waits until the client takes it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

from tornado.ioloop import PeriodicCallback
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

from gateway.lot import Lot
from gateway.sse import KEEP_ALIVE
from gateway.web.client_connection import Exchange

_FASTEST_BEAT_SECONDS, _SLOWEST_BEAT_SECONDS = 0.01, 1.0


async def until_taken(handler: RequestHandler, written: asyncio.Future[None], patience: float) -> None:
    """Wait until the kernel has taken all that was written.

    A client that takes no byte for `patience` seconds is dropped, and StreamClosedError raised.
    """
    stream = handler.request.connection.stream  # type: ignore[union-attr]
    while not written.done():
        taken = stream._total_write_done_index
        await asyncio.wait([written], timeout=patience)
        if not written.done() and stream._total_write_done_index == taken:
            _reset(stream)
            raise StreamClosedError
    if (error := written.exception()) is not None:
        # Another one: the stream keeps its own, which would know the frames that it went through, and they the stream.
        raise StreamClosedError(error)


def _reset(stream: IOStream) -> None:
    """Drop a client: half an answer gets no proper end, and what the kernel holds for it is thrown away."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


class EventStreamWriter:
    """Writes one response of type text/event-stream."""

    def __init__(
        self, handler: RequestHandler, lot: Lot, heartbeat: Heartbeat, *, write_timeout: float, silence: float
    ) -> None:
        self._handler = handler
        self._lot = lot
        self._heartbeat = heartbeat
        self._write_timeout = write_timeout
        self.silence = silence
        self._exchange = cast(Exchange, handler.request.connection)
        self._written: asyncio.Future[None] | None = None  # the last write that was waited for
        self._silent_since = 0.0
        self._taken, self._taken_at = -1, 0.0  # bytes, when the kernel was last seen not to have taken all
        self._wrote = False  # since the last beat
        self.started = False

    async def start(self, first: bytes, *, is_last: bool = False) -> None:
        """Commit to a 200 and send the first bytes."""
        handler = self._handler
        handler.set_status(200)
        handler.set_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.set_header("Cache-Control", "no-cache")
        handler.set_header("X-Accel-Buffering", "no")  # nginx would collect the stream
        self.started = True
        if not is_last:
            self._heartbeat.add(self)
        self._exchange.is_ending = is_last
        handler.write(first)
        await self._until_taken(handler.flush())

    def send(self, data: bytes, *, is_last: bool = False) -> Awaitable[None] | None:
        """Write; what is last takes the end of the response along.

        None: go on; else wait until the kernel has taken it all, which is the back-pressure towards Dify. The wait
        raises StreamClosedError when the client has left or has taken nothing for the write time-out.
        """
        if not data:
            return None
        self._wrote = True
        exchange = self._exchange
        if not is_last and exchange.is_drained and self._lot.puts_off(exchange.send_held):
            exchange.hold(data)
            return None
        exchange.is_ending = is_last
        written = exchange.send(data)
        return None if written is None else self._until_taken(written)

    async def _until_taken(self, written: asyncio.Future[None]) -> None:
        self._wrote, self._written = True, written
        await until_taken(self._handler, written, self._write_timeout)
        self._wrote = True

    def close(self) -> None:
        """No further keep-alives."""
        self._heartbeat.discard(self)

    def beat(self, now: float) -> None:
        """Send a comment after a silence: proxies stay awake, and clients that vanished without a word show.

        Nobody waits for what was sent at the end of a lot, so a client that does not take it is dropped here.
        """
        stream = self._exchange.stream
        if stream.writing():
            if self._taken != (taken := stream._total_write_done_index):
                self._taken, self._taken_at = taken, now
            elif now - self._taken_at >= self._write_timeout:
                _reset(stream)
        elif self._wrote:  # a look at the clock by every write would cost more than one per beat
            self._wrote = False
            self._silent_since = now
        elif now - self._silent_since >= self.silence and self._written is not None and self._written.done():
            self._silent_since = now
            self._written = self._exchange.write(KEEP_ALIVE)


class Beating(Protocol):
    """What wants to hear the heartbeat."""

    silence: float  # seconds; a reload may have changed it, so each brings its own

    def beat(self, now: float) -> None:
        """Called several times within `silence`."""


class Heartbeat:
    """One timer for all answers that look after their clients; it runs while there are any, as fast as one needs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._answers: set[Beating] = set()
        self._periodic = PeriodicCallback(self._beat, _SLOWEST_BEAT_SECONDS * 1000)

    def add(self, answer: Beating) -> None:
        self._answers.add(answer)
        period = max(_FASTEST_BEAT_SECONDS, min(_SLOWEST_BEAT_SECONDS, answer.silence / 4)) * 1000
        if not self._periodic.is_running() or period < self._periodic.callback_time:
            self._periodic.stop()
            self._periodic.callback_time = period
            self._periodic.start()

    def discard(self, answer: Beating) -> None:
        self._answers.discard(answer)

    def _beat(self) -> None:
        if not self._answers:  # not as soon as there are none: the next one is often there within the period
            self._periodic.stop()
        now = self.clock()
        for answer in list(self._answers):
            answer.beat(now)
