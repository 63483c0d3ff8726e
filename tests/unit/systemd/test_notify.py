"""Datagrams to systemd: their words, and that a systemd that is gone or slow harms nobody."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from functools import partial
from itertools import repeat, starmap
from pathlib import Path

import pytest

from gateway.systemd.notify import Notifier

PID = 4711


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket that stands in for systemd's, and its address as $NOTIFY_SOCKET writes it."""
    written = str(tmp_path / "notify") if request.param == "path" else f"@gateway-test-{tmp_path}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(written.replace("@", "\0", 1))
        channel.settimeout(5)
        yield channel, written


def test_each_word_of_the_protocol(systemd: tuple[socket.socket, str]) -> None:
    channel, address = systemd
    notifier = Notifier({"NOTIFY_SOCKET": address}, PID)

    def lines() -> list[str]:
        return channel.recv(4096).decode().split("\n")

    notifier.ready("serving, 2 apps")
    assert lines() == ["READY=1", "STATUS=serving, 2 apps"]
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.reloading()
    reloading, moment = lines()
    assert reloading == "RELOADING=1"
    found = re.fullmatch(r"MONOTONIC_USEC=(\d+)", moment)
    assert found is not None
    assert before <= int(found[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notifier.alive("serving")
    assert lines() == ["WATCHDOG=1", "STATUS=serving"]
    notifier.stopping("shutting down", 40.5)
    assert lines() == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=40500000", "STATUS=shutting down"]


def test_a_status_is_one_line_and_no_message_of_its_own(systemd: tuple[socket.socket, str]) -> None:
    channel, address = systemd
    Notifier({"NOTIFY_SOCKET": address}, PID).ready("reload failed: A=1 is wrong\nB=2\r\nis\0wrong")
    assert channel.recv(4096) == b"READY=1\nSTATUS=reload failed: A=1 is wrong B=2 is wrong"


@pytest.mark.parametrize("text", ["wrong, " * 100_000, "𝄞" * 5_000, "a name that is no text: \udcff"])
def test_no_status_costs_the_word_before_it(systemd: tuple[socket.socket, str], text: str) -> None:
    """systemd reads 4096 bytes, and believes nothing of a longer message."""
    channel, address = systemd
    Notifier({"NOTIFY_SOCKET": address}, PID).alive(text)
    message = channel.recv(1 << 20)
    assert message.startswith(b"WATCHDOG=1\nSTATUS=" + text.encode(errors="replace")[:20])
    assert len(message) <= 4096


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
def test_without_a_systemd_nothing_is_said(environ: dict[str, str]) -> None:
    Notifier(environ, PID).ready("serving")


def test_a_systemd_that_is_gone_or_does_not_read_harms_nobody(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    Notifier({"NOTIFY_SOCKET": address}, PID).ready("serving")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as full:
        full.bind(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            fill = partial(filler.sendto, b"x" * 1000, address)
            with pytest.raises(BlockingIOError):
                list(starmap(fill, repeat((), 100_000)))
        Notifier({"NOTIFY_SOCKET": address}, PID).alive("serving")


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": str(PID)}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"}, None),  # meant for a parent
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_how_often_the_watchdog_wants_to_hear(environ: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environ, PID).watchdog_seconds == seconds
