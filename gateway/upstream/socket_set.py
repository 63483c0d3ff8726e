"""libcurl's sockets in two sets of their own, of which the loop watches only the sets.

To watch one socket in the loop costs it 5 to 10 µs, and a request to Dify needs that four times. Here it is one system
call, and a set that is ready says of many sockets at once what they are ready for.

Two sets, because under load a turn comes late: of 2,000 streams that bring more than the gateway can carry each has to
wait for all others. What flows may wait, as its pieces are then carried together; who waits for a first word sees it.

Sockets that are ready together are served together, and only then does anybody use what they brought: libcurl's code
and the gateway's take turns in the processor's caches once for all of them, not once for each.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pycurl

_MOST_AT_ONCE = 32  # sockets of a set that are served before the loop looks at everything else again
_FRESH_TURNS = 6  # the connection, TLS, the head, the first events

_EVENTS = {  # any other wish is for nothing
    pycurl.POLL_IN: select.EPOLLIN,
    pycurl.POLL_OUT: select.EPOLLOUT,
    pycurl.POLL_INOUT: select.EPOLLIN | select.EPOLLOUT,
}


class SocketSet:
    """`serve` is called with each socket that is ready, and with what for, as libcurl's `socket_action` wants it.

    `served` is called when all that were ready have been served.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, serve: Callable[[int, int], None], served: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._serve = serve
        self._served = served
        self._fresh, self._flowing = select.epoll(), select.epoll()
        self._events: dict[int, int] = {}  # for which a socket is watched
        self._turns: dict[int, int] = {}  # that a socket still has among the fresh ones
        loop.add_reader(self._fresh, self._serve_fresh)
        loop.add_reader(self._flowing, self._serve_flowing)

    def watch(self, wanted: int, fd: int, multi: Any = None, data: Any = None) -> None:
        """libcurl's socket function: tells for what to watch a socket."""
        if wanted not in _EVENTS:
            self._forget(fd)
            return
        events = _EVENTS[wanted]
        if fd in self._events:
            try:
                self._set_of(fd).modify(fd, events)
            except FileNotFoundError:
                pass  # closed unsaid, and this is another one of the same number
            else:
                self._events[fd] = events
                return
        self._events[fd] = events
        self._turns[fd] = _FRESH_TURNS
        self._fresh.register(fd, events)

    def close(self) -> None:
        """Watch nothing any more."""
        for one in (self._fresh, self._flowing):
            self._loop.remove_reader(one)
            one.close()

    def _forget(self, fd: int) -> None:
        if self._events.pop(fd, None):
            with suppress(OSError):  # closed unsaid, and so out of its set
                self._set_of(fd).unregister(fd)
            self._turns.pop(fd, None)

    def _set_of(self, fd: int) -> select.epoll:
        return self._fresh if fd in self._turns else self._flowing

    def _serve_fresh(self) -> None:
        turns = self._turns
        try:
            for fd, events in self._fresh.poll(0, _MOST_AT_ONCE):
                left = turns.get(fd, 0)
                if left > 1:
                    turns[fd] = left - 1
                elif left == 1:
                    self._let_flow(fd)
                self._serve(fd, _ACTIVITY[events])
        finally:
            self._served()

    def _let_flow(self, fd: int) -> None:
        del self._turns[fd]
        with suppress(OSError):  # closed unsaid
            self._fresh.unregister(fd)
            self._flowing.register(fd, self._events[fd])

    def _serve_flowing(self) -> None:
        try:
            for fd, events in self._flowing.poll(0, _MOST_AT_ONCE):
                self._serve(fd, _ACTIVITY[events])
        finally:
            self._served()


def _activity(events: int) -> int:
    """What an error or a hang-up means is found by reading and writing."""
    failed = events & (select.EPOLLERR | select.EPOLLHUP)
    return (
        (pycurl.CSELECT_IN if failed or events & select.EPOLLIN else 0)
        | (pycurl.CSELECT_OUT if failed or events & select.EPOLLOUT else 0)
        | (pycurl.CSELECT_ERR if events & select.EPOLLERR else 0)
    )


_ACTIVITY = [_activity(events) for events in range(32)]  # by the bits of IN, OUT, ERR and HUP
