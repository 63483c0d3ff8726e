"""What a transfer takes of libcurl, when it has enough, and what its reader gets; libcurl is played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pycurl
import pytest

from gateway.errors import UpstreamProtocolError, UpstreamTruncated
from gateway.upstream.transfer import HIGH_WATER_BYTES, PATIENT_BYTES, READ_AHEAD_BYTES, Transfer

KIB = b"x" * 1024


class Curl:
    """A handle and its drive; what a paused transfer did not take comes again when it goes on."""

    def __init__(self) -> None:
        self.options: dict[int, Any] = {}
        self.arrivals: list[Transfer] = []
        self.held: list[bytes] = []
        self.resumed = 0
        self.aborted = False

    def setopt(self, option: int, value: Any) -> None:
        self.options[option] = value

    def getinfo(self, option: int) -> float:
        return 0.25 if option == pycurl.CONNECT_TIME else 0.0

    def pause(self, state: int) -> None:
        assert state == pycurl.PAUSE_CONT
        self.resumed += 1
        held, self.held = self.held, []
        self.bring(*held)

    def abort(self, curl: Any) -> None:
        self.aborted = True

    def head(self, *lines: bytes) -> None:
        for line in lines or (b"HTTP/1.1 200 OK", b"Content-Type: text/event-stream", b""):
            self.options[pycurl.HEADERFUNCTION](line + b"\r\n")

    def bring(self, *chunks: bytes) -> None:
        for number, chunk in enumerate(chunks):
            if self.options[pycurl.WRITEFUNCTION](chunk) == pycurl.WRITEFUNC_PAUSE:
                self.held += chunks[number:]
                return

    def turn(self) -> None:
        """The end of one look at the sockets."""
        arrivals, self.arrivals = self.arrivals, []
        for transfer in arrivals:
            transfer.arrived()


def transfer_of(
    curl: Curl, upload: bytes | None = None, clock: Callable[[], float] = lambda: 0.0, *, repeatable: bool = False
) -> Transfer:
    transfer = Transfer(clock)
    transfer.attach(curl, curl, upload, repeatable=repeatable)  # type: ignore[arg-type]
    return transfer


async def test_a_reader_that_waits_gets_what_one_turn_brought_at_once() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    reading = asyncio.create_task(transfer.read())
    await asyncio.sleep(0)
    curl.head()
    curl.bring(b"one ", b"two ", b"three")
    asyncio.get_running_loop().call_soon(curl.turn)
    assert await reading == b"one two three"
    assert not transfer.paused


async def test_a_patient_reader_is_woken_for_much_for_the_end_and_when_its_time_has_come() -> None:
    curl, loop = Curl(), asyncio.get_running_loop()
    transfer = transfer_of(curl)
    transfer.patient = True

    async def read(*steps: Callable[[], object]) -> list[int]:
        """After which of the steps the reader has something, and how much."""
        reading = asyncio.create_task(transfer.read())
        await asyncio.sleep(0)
        for number, step in enumerate(steps):
            loop.call_soon(step)
            await asyncio.sleep(0.001)
            if reading.done():
                return [number, len(await reading)]
        return []

    def bring() -> None:
        curl.bring(KIB)
        curl.turn()

    def end() -> None:
        transfer.end(None)
        transfer.arrived()

    assert await read(transfer.wake, bring, transfer.wake) == [2, len(KIB)]
    assert await read(*[bring] * 10) == [PATIENT_BYTES // len(KIB), PATIENT_BYTES + len(KIB)]
    with pytest.raises(KeyError, match="left"):
        await read(bring, lambda: transfer.interrupt(KeyError("left")))
    assert len(await transfer.read()) == len(KIB)
    assert await read(bring, end) == [1, len(KIB)]


async def test_a_patient_reader_waits_a_moment_at_most() -> None:
    curl, loop, now = Curl(), asyncio.get_running_loop(), [100.0]
    transfer = transfer_of(curl, clock=lambda: now[0])
    transfer.patient = True
    woken, reading = [], asyncio.create_task(transfer.read())
    for after in (0.0, 0.02, 0.02, 0.02, 0.02, 0.06):
        now[0] += after
        await asyncio.sleep(0)
        curl.bring(KIB)
        loop.call_soon(curl.turn)
        await asyncio.sleep(0.001)
        woken.append(reading.done())
        if reading.done():
            reading = asyncio.create_task(transfer.read())
    reading.cancel()
    assert woken == [True, False, False, True, False, True]


async def test_a_patient_reader_is_woken_where_the_next_chunk_does_not_fit() -> None:
    curl, loop = Curl(), asyncio.get_running_loop()
    transfer = transfer_of(curl)
    transfer.patient = True
    reading = asyncio.create_task(transfer.read())
    for chunk in (KIB, 16 * KIB):
        await asyncio.sleep(0)
        curl.bring(chunk)
        loop.call_soon(curl.turn)
    async with asyncio.timeout(1):
        assert (await reading, await transfer.read()) == (KIB, 16 * KIB)


async def test_a_read_has_its_limit_and_the_next_one_goes_on() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    curl.bring(*[KIB] * 40)
    assert transfer.paused
    sizes = [len(await transfer.read()) for _ in range(3)]
    assert sizes == [HIGH_WATER_BYTES, HIGH_WATER_BYTES, 40 * len(KIB) - 2 * HIGH_WATER_BYTES]
    assert (curl.resumed, transfer.pauses, transfer.paused) == (2, 2, False)


async def test_little_is_taken_while_nobody_waits() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    curl.bring(KIB)
    assert await transfer.read() == KIB
    curl.bring(*[KIB] * 10)  # its reader waits for its client
    assert sum(map(len, transfer._chunks)) == READ_AHEAD_BYTES
    assert curl.resumed == 0
    assert len(await transfer.read()) == READ_AHEAD_BYTES
    assert curl.resumed == 0  # what is here comes first
    assert len(await transfer.read()) == 10 * len(KIB) - READ_AHEAD_BYTES


async def test_a_chunk_is_taken_whole_however_large() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    curl.bring(KIB)
    await transfer.read()
    curl.bring(KIB * 64)
    assert (transfer.paused, transfer._chunks) == (True, [])
    assert await transfer.read() == KIB * 64


async def test_what_was_paused_was_not_silent() -> None:
    now = 100.0
    curl = Curl()
    transfer = transfer_of(curl, clock=lambda: now)
    curl.bring(*[KIB] * 20)
    now = 900.0
    await transfer.read()
    await transfer.read()
    assert transfer.last_byte_at == 900.0


@pytest.mark.parametrize("error", [None, UpstreamTruncated("broken")])
async def test_what_came_before_the_end_can_be_read_after_it(error: UpstreamTruncated | None) -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    ends = []
    transfer.on_end = lambda: ends.append(True)
    curl.bring(*[KIB] * 20)
    transfer.end(error)
    transfer.end(None)
    assert len(await transfer.read()) == HIGH_WATER_BYTES
    for _ in range(2):
        if error is None:
            assert await transfer.read() == b""
        else:
            with pytest.raises(UpstreamTruncated):
                await transfer.read()
    assert ends == [True]


async def test_cancelling_closes_the_connection_and_wakes_the_reader() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    reading = asyncio.create_task(transfer.head())
    await asyncio.sleep(0)
    transfer.cancel()
    assert curl.aborted
    with pytest.raises(UpstreamProtocolError, match="without an answer"):
        await reading


async def test_an_interruption_reaches_only_who_waits_and_loses_nothing() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    transfer.interrupt(KeyError("nobody waits"))
    reading = asyncio.create_task(transfer.read())
    await asyncio.sleep(0)
    transfer.interrupt(KeyError("left"))
    with pytest.raises(KeyError, match="left"):
        await reading
    curl.bring(KIB)
    assert await transfer.read() == KIB


async def test_the_head_is_the_last_one_and_trailers_are_none() -> None:
    curl = Curl()
    transfer = transfer_of(curl)
    curl.head(b"HTTP/1.1 102 Processing", b"")
    assert not transfer.answered
    curl.head(b"HTTP/1.1 200 OK", b"Content-Type: Text/Event-Stream; charset=utf-8", b"")
    curl.head(b"Content-Type: text/html", b"")
    head = await transfer.head()
    assert (head.status, head.content_type, head.is_event_stream) == (200, "text/event-stream", True)
    assert transfer.connect_seconds == 0.25


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_body_is_sent_in_pieces_and_again_only_if_it_may_be(repeatable: bool) -> None:
    curl = Curl()
    transfer_of(curl, b"question", repeatable=repeatable)
    send, rewind = curl.options[pycurl.READFUNCTION], curl.options[pycurl.SEEKFUNCTION]
    assert [send(5), send(5), send(5)] == [b"quest", b"ion", b""]
    assert rewind(0, 0) == (pycurl.SEEKFUNC_OK if repeatable else pycurl.SEEKFUNC_FAIL)
    assert send(9) == (b"question" if repeatable else b"")


def test_a_body_that_was_sent_is_let_go_with_the_head() -> None:
    early, late = Curl(), Curl()
    for curl in (early, late):
        transfer_of(curl, b"question")
    late.options[pycurl.READFUNCTION](100)
    for curl in (early, late):
        curl.head()
    assert early.options[pycurl.READFUNCTION](100) == b"question"  # answered before it was all sent
    assert late.options[pycurl.READFUNCTION](100) == pycurl.READFUNC_ABORT
