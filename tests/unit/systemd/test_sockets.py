"""Sockets from systemd: for this process only, listening only, and where they are bound."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from gateway.systemd import sockets
from gateway.systemd.sockets import bound_settings, inherited_sockets

PID = 4711


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def hand_over(monkeypatch: pytest.MonkeyPatch, *handed: socket.socket) -> None:
    """Lay copies of the sockets where systemd would begin, at a free place."""
    first = 900
    for number, one in enumerate(handed, start=first):
        os.dup2(one.fileno(), number)
    monkeypatch.setattr(sockets, "_FIRST", first)


def test_listening_sockets_are_taken_over_ready_to_accept(monkeypatch: pytest.MonkeyPatch, opened: ExitStack) -> None:
    handed = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
    hand_over(monkeypatch, *handed)
    taken = inherited_sockets({"LISTEN_PID": str(PID), "LISTEN_FDS": "2"}, PID)
    for one in taken:
        opened.enter_context(one)
    assert [one.getsockname() for one in taken] == [one.getsockname() for one in handed]
    assert [(one.getblocking(), one.get_inheritable()) for one in taken] == [(False, False)] * 2


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_PID": "1", "LISTEN_FDS": "1"},  # meant for a parent, e.g. scripts/serve's demo
        {"LISTEN_FDS": "1"},
        {"LISTEN_PID": str(PID)},
        {"LISTEN_PID": "me", "LISTEN_FDS": "1"},
    ],
)
def test_what_is_not_meant_for_this_process_stays_untouched(environ: dict[str, str]) -> None:
    assert inherited_sockets(environ, PID) == []


def test_a_connection_is_no_listening_socket(monkeypatch: pytest.MonkeyPatch, opened: ExitStack) -> None:
    one, other = socket.socketpair()
    opened.enter_context(one)
    opened.enter_context(other)
    hand_over(monkeypatch, one)
    with pytest.raises(OSError, match="no listening stream socket"):
        inherited_sockets({"LISTEN_PID": str(PID), "LISTEN_FDS": "1"}, PID)


class Bound:
    """As much of a socket as its address takes."""

    def __init__(self, family: socket.AddressFamily, name: object) -> None:
        self.family = family
        self._name = name

    def getsockname(self) -> object:
        return self._name


LOOPBACK = Bound(socket.AF_INET, ("127.0.0.1", 8001))
PUBLIC = Bound(socket.AF_INET, ("0.0.0.0", 8002))
PUBLIC_6 = Bound(socket.AF_INET6, ("::", 8003, 0, 0))
LINK_LOCAL = Bound(socket.AF_INET6, ("fe80::1%eth0", 8004, 0, 2))
UNIX = Bound(socket.AF_UNIX, "/run/gateway.sock")


@pytest.mark.parametrize(
    ("handed", "settings"),
    [
        ([], {}),
        ([LOOPBACK], {"SERVER_HOST": "127.0.0.1", "SERVER_PORT": "8001"}),
        ([LOOPBACK, PUBLIC], {"SERVER_HOST": "0.0.0.0", "SERVER_PORT": "8002"}),
        ([PUBLIC_6, LOOPBACK], {"SERVER_HOST": "::", "SERVER_PORT": "8003"}),
        ([LOOPBACK, LINK_LOCAL], {"SERVER_HOST": "fe80::1%eth0", "SERVER_PORT": "8004"}),
        ([UNIX], {"SERVER_HOST": "localhost"}),
        ([UNIX, PUBLIC], {"SERVER_HOST": "0.0.0.0", "SERVER_PORT": "8002"}),
    ],
)
def test_the_most_public_address_counts(handed: list[socket.socket], settings: dict[str, str]) -> None:
    assert bound_settings(handed) == settings
