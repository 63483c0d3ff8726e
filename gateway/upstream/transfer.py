"""One response in flight: its head first, then its bytes, at the reader's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pycurl

from gateway.errors import GatewayError, UpstreamProtocolError

HIGH_WATER_BYTES = 16 * 1024  # 400 stuck clients: 98 KB each with 16 KiB, 236 KB each with 64 KiB


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """Status and headers; of a header that comes twice the last counts. Names are in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def is_event_stream(self) -> bool:
        """Whether Dify answers the question, rather than refusing it."""
        return self.status == 200 and self.content_type == "text/event-stream"

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Transfer:
    """What libcurl receives, between its callbacks and one reader.

    The callbacks run inside libcurl and may only append; everything else happens in the loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._curl: pycurl.Curl | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._status = 0
        self._headers: dict[str, str] = {}
        self._head: ResponseHead | None = None
        self._interruption: Exception | None = None
        self._ended = False
        self._error: GatewayError | None = None
        self.on_end: Callable[[], None] = lambda: None
        self.on_cancel: Callable[[pycurl.Curl], None] = lambda curl: None
        self.on_resume: Callable[[], None] = lambda: None
        self.started_at = clock()
        self.last_byte_at = self.started_at  # any byte of the body
        self.progress_at = self.started_at  # what the reader called progress
        self.answered_at: float | None = None  # the response head was here
        self.connect_seconds: float | None = None  # name look-up, connection and TLS; None: the connection was there
        self.pauses = 0

    # --- the reader's side --------------------------------------------------------------------------------------------

    @property
    def answered(self) -> bool:
        """Whether a response head has arrived."""
        return self._head is not None

    async def head(self) -> ResponseHead:
        """Wait for status and headers. Raises the GatewayError that ended the transfer before them."""
        while self._head is None:
            if self._ended:
                raise self._error or UpstreamProtocolError("Dify closed the connection without an answer.")
            await self._wait()
        self._note_connect()
        return self._head

    async def read(self) -> bytes:
        """Wait for bytes and take all that are there; b"" at the end. Raises the error that cut the body."""
        while not self._chunks:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return b""
            await self._wait()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused:
            self._resume()
        return body

    async def read_all(self, limit: int) -> bytes:
        """The whole body, cut at `limit` bytes."""
        body = b""
        while len(body) < limit and (more := await self.read()):
            body += more
        return body[:limit]

    def interrupt(self, reason: Exception) -> None:
        """Make the reader raise `reason` if it waits; the transfer itself goes on, for another reader."""
        if self._waiter is not None:
            self._interruption = reason
            self._wake()

    def note_progress(self) -> None:
        """The reader has seen a real event, not only a ping."""
        self.progress_at = self._clock()

    def cancel(self, error: GatewayError | None = None) -> None:
        """Close the connection now; a waiting reader gets `error`, or a plain end. Safe to call at any time."""
        curl = self._curl
        self.end(error)
        if curl is not None:
            self.on_cancel(curl)

    @property
    def ended(self) -> bool:
        """Whether the connection's part is over (bytes may still wait to be read)."""
        return self._ended

    @property
    def paused(self) -> bool:
        """Whether libcurl stands still because nobody reads."""
        return self._paused

    def _resume(self) -> None:
        self._paused = False
        if self._curl is not None:
            try:
                self._curl.pause(pycurl.PAUSE_CONT)  # may call _write at once, so the buffer is empty by now
            except pycurl.error:
                return  # it failed while it was paused; its end is on the way
            self.on_resume()

    async def _wait(self) -> None:
        if self._interruption is None:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._interruption is not None:
            reason, self._interruption = self._interruption, None
            raise reason

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- libcurl's side -----------------------------------------------------------------------------------------------

    def attach(self, curl: pycurl.Curl) -> None:
        """Take over the handle's callbacks."""
        self._curl = curl
        curl.setopt(pycurl.WRITEFUNCTION, self._write)
        # Tornado's own header callback runs after the body's callbacks when both come in one go.
        curl.setopt(pycurl.HEADERFUNCTION, self._header)

    def detach(self) -> None:
        """Let go of the handle: from now on it may serve another transfer."""
        self._note_connect()
        self._curl = None

    def _note_connect(self) -> None:
        """Ask libcurl, which answers only outside of its callbacks."""
        if self._curl is not None and self.connect_seconds is None:
            getinfo = self._curl.getinfo
            self.connect_seconds = getinfo(pycurl.APPCONNECT_TIME) or getinfo(pycurl.CONNECT_TIME) or None

    def end(self, error: GatewayError | None) -> None:
        """The transfer is over; bytes that wait can still be read."""
        if not self._ended:
            self._ended = True
            self._error = error
            self._wake()
            self.on_end()

    def _write(self, chunk: bytes) -> Any:
        if self._buffered >= HIGH_WATER_BYTES:
            self._paused = True
            self.pauses += 1
            return pycurl.WRITEFUNC_PAUSE  # libcurl keeps this chunk and brings it again
        self._chunks.append(chunk)
        self._buffered += len(chunk)
        self.last_byte_at = self._clock()
        self._wake()
        return None

    def _header(self, line: bytes) -> None:
        if self._head is not None:  # a trailer behind the last chunk
            return
        text = line.decode("latin-1").strip()
        if text.startswith("HTTP/"):
            fields = text.split(None, 2)
            self._status = int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0
            self._headers = {}
        elif text:
            name, _, value = text.partition(":")
            self._headers[name.strip().lower()] = value.strip()
        elif self._status >= 200:  # a 1xx is only an interim answer
            self._head = ResponseHead(self._status, self._headers)
            self.answered_at = self._clock()
            self._wake()
