"""Puts replies on a connection: chunks, pings, and every way to do it wrong."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from tests.simulator.replies import SSE, BlockingWait, Misbehave, Recording, Reply, StreamReply, head_of
from tests.simulator.runs import PING, LogEntry, Paused, Quiet, Run
from tests.simulator.steps import Break
from tests.simulator.versions import VersionProfile, spaced_json
from tests.simulator.wire import Connection, HttpRequest

GARBAGE = b"\x00\xff\x16\x03garbage\nnot: http\r\n\r\n{]"
# A reset takes back what the client has not read yet; this lets it read.
_RESET_SECONDS = 0.02


class Sender:
    """Sends one reply to one client; `send` says whether the connection can be used again."""

    def __init__(
        self, connection: Connection, request: HttpRequest, profile: VersionProfile, ping_interval: float
    ) -> None:
        self._connection = connection
        self._profile = profile
        self._ping_interval = ping_interval
        self._chunked = request.version == "HTTP/1.1"
        self._keep_alive = request.keeps_alive
        self._bodiless = request.method == "HEAD"

    async def send(self, reply: Reply | StreamReply | BlockingWait | Recording | Misbehave) -> bool:
        if isinstance(reply, Reply):
            return self._send_whole(reply)
        if isinstance(reply, StreamReply):
            return await self._send_run(reply)
        if isinstance(reply, BlockingWait):
            return await self._send_blocking(reply.run)
        if isinstance(reply, Recording):
            return await self._send_recording(reply)
        return await self._misbehave(reply)

    def _send_whole(self, reply: Reply) -> bool:
        length = () if reply.status == 204 else (("Content-Length", str(len(reply.body))),)
        fields = (("Content-Type", reply.content_type), *length, *reply.headers)
        head = head_of(self._profile, reply.status, fields, keep_alive=self._keep_alive, cors=reply.cors)
        self._connection.write(head + (b"" if self._bodiless else reply.body))
        return self._keep_alive

    async def _send_blocking(self, run: Run) -> bool:
        await self._until_gone(_after(run.first_byte_seconds, run.wait()))
        if not run.ended:
            run.client_gone = True
            return False
        faults = [entry for entry in run.log if isinstance(entry, Break)]
        if faults:
            how = faults[0].how
            return self._send_whole(Reply(200, b"")) if how == "eof" else await self._break(faults[0])
        reply = run.producer.blocking_reply()
        body = spaced_json(reply.document).encode()
        if reply.status != 200:
            return self._send_whole(Reply(reply.status, body + b"\n"))
        charset = "; charset=utf-8" if self._profile.blocking_charset else ""
        return self._send_whole(Reply(200, body, f"application/json{charset}"))

    async def _send_run(self, reply: StreamReply) -> bool:
        run, script = reply.run, reply.run.turn.script
        started = False
        async for batch in _batches(self._entries(run, reply.skip), script.glue or 1):
            if not started:  # headers wait for the first event, as gunicorn's do
                await self._start_stream(script.split)
                started = True
            *_, last = batch
            data = b"".join(entry for entry in batch if isinstance(entry, bytes))
            if data:
                await self._write(self._frame(data), script.split)
            if isinstance(last, Break):
                return await self._break(last)
        if self._connection.gone.is_set():
            return False
        if not started:
            await self._start_stream(script.split)
        return self._end_stream()

    async def _entries(self, run: Run, position: int) -> AsyncIterator[LogEntry]:
        """The run's log as it grows, with pings in the rhythm of the run's life, until the client leaves."""
        await self._until_gone(asyncio.sleep(run.first_byte_seconds))
        gone = self._connection.gone
        pings = _PingClock(run.started, self._ping_interval)
        while not gone.is_set():
            if position < len(run.log):
                entry = run.log[position]
                position += 1
                if isinstance(entry, Quiet):
                    pings.silence()
                elif isinstance(entry, Paused):
                    return
                else:
                    yield entry
            elif run.ended:
                await self._until_gone(asyncio.sleep(run.title_seconds))
                return
            elif pings.due():
                yield PING
            else:
                await self._until_gone(run.change(), pings.seconds_left())
        run.client_gone = run.client_gone or not run.ended or position < len(run.log)

    async def _send_recording(self, recording: Recording) -> bool:
        framing = () if not recording.chunked else (("Transfer-Encoding", "chunked"),)
        fields = (*framing, *recording.headers)
        head = head_of(self._profile, recording.status, fields, keep_alive=self._keep_alive, cors=False)
        self._connection.write(head)
        for pause, chunk in zip(recording.pauses, recording.chunks, strict=True):
            if pause:
                await self._until_gone(asyncio.sleep(pause))
            await self._write(self._frame(chunk) if recording.chunked else chunk, None)
        if not recording.complete:
            return False
        return self._end_stream() if recording.chunked else self._keep_alive

    async def _misbehave(self, reply: Misbehave) -> bool:
        if reply.how == "hang":
            await self._connection.gone.wait()
        elif reply.how == "garbage":
            self._connection.write(GARBAGE)
        return False

    async def _start_stream(self, split: int | None) -> None:
        fields = (("Transfer-Encoding", "chunked"),) if self._chunked else ()
        self._keep_alive = self._keep_alive and self._chunked
        head = head_of(self._profile, 200, (*fields, ("Content-Type", SSE)), keep_alive=self._keep_alive)
        await self._write(head, split)

    def _end_stream(self) -> bool:
        if self._chunked:
            self._connection.write(b"0\r\n\r\n")
        return self._keep_alive

    async def _break(self, fault: Break) -> bool:
        if fault.how == "eof":
            return self._end_stream()
        if fault.how == "rst":
            await asyncio.sleep(_RESET_SECONDS)
            self._connection.reset()
        return False

    def _frame(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data

    async def _write(self, data: bytes, split: int | None) -> None:
        """`split` pieces leave one by one: each yields to the loop, so that the socket sends it alone."""
        size = split or len(data)
        for start in range(0, len(data), size):
            self._connection.write(data[start : start + size])
            await self._connection.drain()
            if split:
                await asyncio.sleep(0)

    async def _until_gone(self, waiting: Coroutine[Any, Any, Any], seconds: float | None = None) -> None:
        """Until it is done, the client has left or the time is up."""
        futures = {asyncio.ensure_future(waiting), asyncio.ensure_future(self._connection.gone.wait())}
        try:
            await asyncio.wait(futures, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in futures:
                future.cancel()
            await asyncio.gather(*futures, return_exceptions=True)


class _PingClock:
    """When the next ping is due; Dify counts from the start of the run, not from the last event."""

    def __init__(self, started: float, interval: float) -> None:
        self._interval = interval
        self._next = started + interval * (1 + (time.monotonic() - started) // interval)

    def due(self) -> bool:
        if time.monotonic() < self._next:
            return False
        self._next += self._interval
        return True

    def seconds_left(self) -> float | None:
        return None if self._next == math.inf else max(self._next - time.monotonic(), 0.0)

    def silence(self) -> None:
        self._next = math.inf


async def _after(seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
    await asyncio.gather(asyncio.sleep(seconds), waiting)


async def _batches(entries: AsyncIterator[LogEntry], size: int) -> AsyncIterator[list[LogEntry]]:
    """Lists of `size` entries; a ping and a fault do not wait for company."""
    batch: list[LogEntry] = []
    async for entry in entries:
        batch.append(entry)
        if len(batch) >= size or entry == PING or isinstance(entry, Break):
            yield batch
            batch = []
    if batch:
        yield batch
