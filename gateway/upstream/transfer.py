"""One response in flight: its head first, then its bytes, at the reader's pace."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from io import BytesIO
from typing import Any, Protocol

import pycurl

from gateway.errors import GatewayError, UpstreamProtocolError
from gateway.frozen import frozen
from gateway.upstream.doorbell import Doorbell

HIGH_WATER_BYTES = 16 * 1024  # what one read brings at most
PATIENT_BYTES = 8 * 1024  # what wakes a patient reader,
PATIENT_SECONDS = 0.05  # and after how long anything does: a stop sequence must be seen soon
READ_AHEAD_BYTES = 4 * 1024  # what is taken while nobody waits for it; libcurl holds what it had read


@frozen
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


class Drive(Protocol):
    """What lets libcurl make progress."""

    arrivals: list[Transfer]  # for which it brought something

    def abort(self, curl: pycurl.Curl) -> None:
        """Close the handle's connection before this returns."""


class Transfer:
    """What libcurl receives, between its callbacks and one reader.

    The callbacks run inside libcurl and may only append; everything else happens in the loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._drive: Drive | None = None
        self._curl: pycurl.Curl | None = None  # while libcurl works on it
        self._upload: BytesIO | None = None
        self._unsent = 0  # bytes of it
        self._chunks: list[bytes] = []
        self._wanted = True  # a reader waits, or will soon
        self._room = HIGH_WATER_BYTES  # how much more is taken; one chunk that is wanted is taken whole
        self._paused = False
        self._doorbell = Doorbell()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._head: ResponseHead | None = None
        self._interruption: Exception | None = None
        self._ended = False
        self._error: GatewayError | None = None
        self.patient = False  # the reader collects: it is woken for much, for the end, after a while, and by `wake`
        self._woken_at = 0.0
        self.on_end: Callable[[], None] = _nothing
        self.started_at = clock()
        self.last_byte_at = self.started_at  # any byte of the answer
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
        if not self._chunks:
            self._wanted = True
            self._room = HIGH_WATER_BYTES
        while not self._chunks:
            if self._paused:
                self._resume()
            elif self._ended:
                if self._error is not None:
                    raise self._error
                return b""
            else:  # as in _wait, without a layer for each piece
                if self._interruption is None:
                    await self._doorbell
                if self._interruption is not None:
                    await self._wait()
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._wanted = False
        self._room = READ_AHEAD_BYTES
        return body

    async def read_all(self, limit: int) -> bytes:
        """The whole body, cut at `limit` bytes."""
        pieces, size = [], 0  # joined once, or a long body costs its square
        while size < limit and (piece := await self.read()):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)[:limit]

    def interrupt(self, reason: Exception) -> None:
        """Make the reader raise `reason` if it waits; the transfer itself goes on, for another reader."""
        if self._doorbell.awaited:
            self._interruption = reason
            self._doorbell.ring_soon()

    def note_progress(self) -> None:
        """The reader has seen a real event, not only a ping."""
        self.progress_at = self.last_byte_at

    def cancel(self, error: GatewayError | None = None) -> None:
        """Close the connection now; a waiting reader gets `error`, or a plain end. Safe to call at any time."""
        curl = self._curl
        self.end(error)
        if curl is not None and self._drive is not None:
            self._drive.abort(curl)
        self._doorbell.ring_soon()

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
        self.last_byte_at = self.progress_at = self._clock()  # Dify was not silent
        if self._curl is not None:
            # It may call _receive at once, and asks the drive for another turn. If it raises, the transfer has failed
            # while it was paused, and its end is on the way.
            with suppress(pycurl.error):
                self._curl.pause(pycurl.PAUSE_CONT)

    async def _wait(self) -> None:
        if self._interruption is None:
            await self._doorbell
        if self._interruption is not None:
            try:
                raise self._interruption
            finally:
                self._interruption = None  # it knows this frame, and would go round with it

    # --- the drive's side ---------------------------------------------------------------------------------------------

    def attach(self, curl: pycurl.Curl, drive: Drive, upload: bytes | None, *, repeatable: bool) -> None:
        """Take over the handle's callbacks. `upload` is the request's body; if `repeatable`, it may be sent again."""
        self._curl, self._drive = curl, drive
        if upload is not None:
            self._upload = BytesIO(upload)
            self._unsent = len(upload)
            curl.setopt(pycurl.READFUNCTION, self._send)
            curl.setopt(pycurl.SEEKFUNCTION, self._send_again if repeatable else _never_again)
        curl.setopt(pycurl.WRITEFUNCTION, self._receive)
        curl.setopt(pycurl.HEADERFUNCTION, self._receive_header)

    def arrived(self) -> None:
        """What this turn of libcurl brought is complete: the reader may have it."""
        self.last_byte_at = now = self._clock()
        if self.patient and now - self._woken_at < PATIENT_SECONDS:
            is_much = self._room < HIGH_WATER_BYTES - PATIENT_BYTES
            if not (is_much or self._ended or self._paused):
                return
        self._woken_at = now
        self._doorbell.ring()

    def wake(self) -> None:
        """Let a patient reader have what is there by now."""
        if self.patient and self._chunks:
            self._doorbell.ring_soon()

    def _note_connect(self) -> None:
        """Ask libcurl, which answers only outside of its callbacks."""
        if self._curl is not None and self.connect_seconds is None:
            getinfo = self._curl.getinfo
            self.connect_seconds = getinfo(pycurl.APPCONNECT_TIME) or getinfo(pycurl.CONNECT_TIME) or None

    def end(self, error: GatewayError | None) -> None:
        """The transfer is over, and its handle is no longer ours; bytes that wait can still be read."""
        self._note_connect()
        self._curl = self._upload = None
        if not self._ended:
            self._ended = True
            self._error = error
            self.on_end()

    # --- inside libcurl -----------------------------------------------------------------------------------------------

    def _receive(self, chunk: bytes) -> Any:
        chunks = self._chunks
        room = self._room - len(chunk)
        if room < 0 and (chunks or not self._wanted):
            self._paused = True
            self.pauses += 1
            if self.patient:
                self._arrives()  # a chunk of HTTP/2 may be too large to follow what was too little to wake the reader
            return pycurl.WRITEFUNC_PAUSE  # libcurl keeps this chunk and brings it again
        if not chunks or self.patient:
            self._arrives()
        chunks.append(chunk)
        self._room = room
        return None

    def _receive_header(self, line: bytes) -> None:
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
            if not self._unsent:
                self._upload = None  # a long history need not stay for as long as its answer takes
            self._arrives()

    def _arrives(self) -> None:
        if self._drive is not None:
            self._drive.arrivals.append(self)

    def _send(self, size: int) -> Any:
        if self._upload is None:
            return pycurl.READFUNC_ABORT
        piece = self._upload.read(size)
        self._unsent -= len(piece)
        return piece

    def _send_again(self, offset: int, origin: int) -> Any:
        if self._upload is None:
            return pycurl.SEEKFUNC_FAIL
        self._unsent = len(self._upload.getbuffer()) - self._upload.seek(offset, origin)
        return pycurl.SEEKFUNC_OK


def _never_again(offset: int, origin: int) -> Any:
    """libcurl sends a body again, and Dify would run twice; to do so it has to rewind it."""
    return pycurl.SEEKFUNC_FAIL


def _nothing() -> None:
    pass
