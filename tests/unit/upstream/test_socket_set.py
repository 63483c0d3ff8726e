"""Sockets that libcurl would watch, ready one by one and in crowds; `serve` is the test's."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
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
        self.set = SocketSet(self.loop, self.serve, self.end_lot)
        self.opened.callback(self.set.close)
        self.served: list[tuple[int, int]] = []
        self.lots: list[int] = []  # how many were served together
        self.use: Callable[[], None] = lambda: None  # what they brought
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

    def end_lot(self) -> None:
        self.lots.append(len(self.served) - sum(self.lots))
        self.use()

    def look(self) -> list[tuple[int, int]]:
        """What is served in one round of the loop."""
        self.served, self.lots = [], []
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


def test_what_is_ready_together_is_served_before_it_is_used(sockets: Sockets) -> None:
    for number, (_, far) in enumerate([sockets.flowing_pair() for _ in range(5)]):
        far.send(b"x" * (200 if number < 2 else 1))
    assert (len(sockets.look()), sockets.lots) == (5, [5])
    near, far = sockets.pair()
    sockets.set.watch(pycurl.POLL_IN, near.fileno())
    far.send(b"x")
    assert (len(sockets.look()), sorted(sockets.lots)) == (3, [1, 2])
    assert (sockets.look(), sockets.lots) == ([], [])


def test_whoever_uses_what_came_may_close_the_set(sockets: Sockets) -> None:
    faults: list[object] = []
    sockets.loop.set_exception_handler(lambda loop, context: faults.append(context))
    sockets.set = SocketSet(sockets.loop, sockets.serve, sockets.end_lot)
    far_ends = [sockets.flowing_pair()[1] for _ in range(3)]
    for _ in range(2):
        near, far = sockets.pair()
        sockets.set.watch(pycurl.POLL_IN, near.fileno())
        far_ends.append(far)
    sockets.use = sockets.set.close
    for far in far_ends:
        far.send(b"x")
    assert len(sockets.look()) in (2, 3)  # what is fresh or what flows, and not the others after it
    for far in far_ends:
        far.send(b"x")
    assert sockets.look() == faults == []
