"""Which timer ends a silent answer, by a clock that the test turns."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from gateway.load_settings import load_settings
from gateway.settings import Settings
from gateway.upstream.deadlines import overdue, sweep_seconds
from gateway.upstream.transfer import Transfer

LIMITS = {
    "CONNECT_TIMEOUT": "5",
    "FIRST_BYTE_TIMEOUT": "60",
    "STREAM_IDLE_TIMEOUT": "50",
    "STREAM_STALL_TIMEOUT": "600",
    "ANSWER_TIMEOUT": "3600",
}


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def limits() -> Settings:
    return load_settings(LIMITS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def code(transfer: Transfer, limits: Settings, clock: Clock) -> str | None:
    error = overdue(transfer, limits, clock())
    return error.code if error else None


def answered(clock: Clock) -> Transfer:
    transfer = Transfer(clock)
    for line in (b"HTTP/1.1 200 OK\r\n", b"\r\n"):
        transfer._receive_header(line)
    return transfer


def receive(transfer: Transfer, data: bytes) -> None:
    transfer._receive(data)
    transfer.arrived()


def test_a_dify_that_does_not_answer(limits: Settings, clock: Clock) -> None:
    transfer = Transfer(clock)
    clock.now += 60.0
    assert code(transfer, limits, clock) is None
    clock.now += 0.1
    assert code(transfer, limits, clock) == "upstream_first_byte_timeout"


def test_a_dify_that_falls_silent(limits: Settings, clock: Clock) -> None:
    transfer = answered(clock)
    for _ in range(5):  # any byte counts
        clock.now += 49.0
        assert code(transfer, limits, clock) is None
        receive(transfer, b"event: ping\n\n")
    clock.now += 50.1
    assert code(transfer, limits, clock) == "upstream_idle_timeout"


def test_a_dify_that_only_pings(limits: Settings, clock: Clock) -> None:
    transfer = answered(clock)
    for _ in range(60):
        clock.now += 10.0
        receive(transfer, b"event: ping\n\n")
        assert code(transfer, limits, clock) is None
    clock.now += 1.0
    assert code(transfer, limits, clock) == "upstream_stalled"
    transfer.note_progress()
    assert code(transfer, limits, clock) is None


def test_an_answer_that_never_ends(limits: Settings, clock: Clock) -> None:
    transfer = answered(clock)
    while clock.now <= 1000.0 + 3600.0:
        assert code(transfer, limits, clock) is None
        clock.now += 30.0
        receive(transfer, b"x")
        transfer.note_progress()
        transfer._chunks.clear()
    assert code(transfer, limits, clock) == "answer_timeout"


def test_a_client_that_does_not_read_is_not_difys_fault(limits: Settings, clock: Clock) -> None:
    transfer = answered(clock)
    while not transfer.paused:
        transfer._receive(b"x" * 1000)
    clock.now += 3_000
    assert code(transfer, limits, clock) is None
    transfer._resume()  # what comes now need not be a whole event
    assert code(transfer, limits, clock) is None


def test_a_client_that_hardly_reads_holds_its_place_for_so_long_only(limits: Settings, clock: Clock) -> None:
    transfer = answered(clock)
    while not transfer.paused:
        transfer._receive(b"x" * 1000)
    clock.now += 3_600.1
    assert code(transfer, limits, clock) == "answer_timeout"


@pytest.mark.parametrize(("idle", "period"), [("50", 1.0), ("0.4", 0.1)])
def test_short_timers_are_looked_at_more_often(idle: str, period: float) -> None:
    assert sweep_seconds(load_settings({**LIMITS, "STREAM_IDLE_TIMEOUT": idle})) == pytest.approx(period)
