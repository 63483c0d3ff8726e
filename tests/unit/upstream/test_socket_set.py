"""Sockets that libcurl would watch, ready one by one and in crowds; `serve` is the test's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pycurl
import pytest

from gateway.upstream import socket_set
from gateway.upstream.socket_set import SocketSet


class Sockets:
    """Pairs of connected sockets, and what the set says of the near ends."""

    def __init__(self) -> None:
        self.opened = ExitStack()
        self.loop = asyncio.new_event_loop()
        self.opened.callback(self.loop.close)
        self.set = SocketSet(self.loop, self.serve)
        self.opened.callback(self.set.close)
        self.served: list[tuple[int, int]] = []
        self.reads = True

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near, far = socket.socketpair()
        near.setblocking(False)
        return self.opened.enter_context(near), self.opened.enter_context(far)

    def flowing_pair(self) -> tuple[socket.socket, socket.socket]:
        """One that has been served for so long that it is no longer fresh."""
        near, far = self.pair()
        self.set.watch(pycurl.POLL_IN, near.fileno())
        for _ in range(20):
            far.send(b"x")
            assert self.look() == [(near.fileno(), pycurl.CSELECT_IN)]
        return near, far

    def serve(self, fd: int, activity: int) -> None:
        self.served.append((fd, activity))
        if self.reads and activity & pycurl.CSELECT_IN:
            os.read(fd, 100)

    def look(self) -> list[tuple[int, int]]:
        """What is served in one round of the loop."""
        self.served = []
        self.loop.call_later(0, self.loop.stop)  # behind what is ready
        self.loop.run_forever()
        return self.served


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.opened.close()


def test_a_socket_is_served_for_what_is_wanted_of_it(sockets: Sockets) -> None:
    near, far = sockets.pair()
    fd = near.fileno()
    sockets.set.watch(pycurl.POLL_OUT, fd)
    assert sockets.look() == [(fd, pycurl.CSELECT_OUT)]
    sockets.set.watch(pycurl.POLL_IN, fd)
    assert sockets.look() == []
    far.send(b"x")
    assert sockets.look() == [(fd, pycurl.CSELECT_IN)]
    assert sockets.look() == []
    far.send(b"x")
    sockets.set.watch(pycurl.POLL_INOUT, fd)
    assert sockets.look() == [(fd, pycurl.CSELECT_IN | pycurl.CSELECT_OUT)]
    for nothing in (pycurl.POLL_REMOVE, pycurl.POLL_REMOVE, pycurl.POLL_NONE):
        sockets.set.watch(nothing, fd)
        assert sockets.look() == []


def test_a_hang_up_is_found_by_reading_and_an_error_is_told(sockets: Sockets) -> None:
    near, far = sockets.pair()
    sockets.set.watch(pycurl.POLL_OUT, near.fileno())
    far.close()
    assert sockets.look() == [(near.fileno(), pycurl.CSELECT_IN | pycurl.CSELECT_OUT)]
    near.close()

    deaf, refused = (sockets.opened.enter_context(socket.socket()) for _ in range(2))
    deaf.bind(("127.0.0.1", 0))
    refused.setblocking(False)
    refused.connect_ex(deaf.getsockname())
    sockets.set.watch(pycurl.POLL_OUT, refused.fileno())
    sockets.reads = False
    told = pycurl.CSELECT_IN | pycurl.CSELECT_OUT | pycurl.CSELECT_ERR
    assert sockets.look() == [(refused.fileno(), told)]


@pytest.mark.parametrize("flows", [False, True], ids=["fresh", "flowing"])
def test_a_socket_that_is_closed_unsaid_may_come_back_as_another_one(sockets: Sockets, flows: bool) -> None:
    near, _ = sockets.flowing_pair() if flows else sockets.pair()
    fd = near.fileno()
    sockets.set.watch(pycurl.POLL_IN, fd)
    near.close()
    other, _ = sockets.pair()
    assert other.fileno() == fd
    sockets.set.watch(pycurl.POLL_OUT, fd)
    assert sockets.look() == [(fd, pycurl.CSELECT_OUT)]
    other.close()
    sockets.set.watch(pycurl.POLL_REMOVE, fd)
    assert sockets.look() == []


def test_what_flows_takes_turns_and_what_is_fresh_goes_between(
    sockets: Sockets, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowing = [sockets.flowing_pair() for _ in range(9)]
    fresh, far = sockets.pair()
    sockets.set.watch(pycurl.POLL_IN, fresh.fileno())
    monkeypatch.setattr(socket_set, "_MOST_AT_ONCE", 3)
    for _, other in flowing:
        other.send(b"x" * 5000)
    seen = [sockets.look() for _ in range(3)]
    assert [len(served) for served in seen] == [3, 3, 3]
    assert len({fd for served in seen for fd, _ in served}) == 9
    far.send(b"x")
    served = [fd for fd, _ in sockets.look()]
    assert (len(served), fresh.fileno() in served) == (4, True)


def test_what_comes_while_others_are_served_needs_no_round_of_its_own(sockets: Sockets) -> None:
    for _, far in [sockets.flowing_pair() for _ in range(2)]:
        far.send(b"x" * 1500)
    assert len(sockets.look()) == 30


@pytest.mark.parametrize("earlier", [0, 20], ids=["fresh", "flowing"])
def test_whoever_is_served_may_close_the_set(sockets: Sockets, earlier: int) -> None:
    faults: list[object] = []
    sockets.loop.set_exception_handler(lambda loop, context: faults.append(context))
    rounds = iter(range(3 * earlier + 1))

    def serve(fd: int, activity: int) -> None:
        sockets.serve(fd, activity)
        if next(rounds) == 3 * earlier:
            closing.close()

    closing = SocketSet(sockets.loop, serve)
    pairs = [sockets.pair() for _ in range(3)]
    for near, _ in pairs:
        closing.watch(pycurl.POLL_IN, near.fileno())
    for number in range(earlier + 1):
        for _, far in pairs:
            far.send(b"x")
        assert len(sockets.look()) == (1 if number == earlier else 3)
    assert sockets.look() == faults == []
