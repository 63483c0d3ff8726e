"""What one task waits at, and what wakes it within the same round of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Doorbell:
    """One task at a time waits for it with `await`, as often as it likes.

    A future wakes its task in the loop's next round, after another look at all sockets: a system call and a handle more
    for each piece of an answer. `ring` lets the task run on at once. To a Task this is a future, by the protocol for
    futures that are not asyncio's own (`_asyncio_future_blocking`).
    """

    _asyncio_future_blocking = False

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None  # from the first wait on
        self._wake: Callable[[Doorbell], None] | None = None  # the waiting task's own
        self._context: Context | None = None
        self._cancelled = False

    def __await__(self) -> Generator[Doorbell]:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self._asyncio_future_blocking = True
        yield self

    @property
    def awaited(self) -> bool:
        """Whether a task waits."""
        return self._wake is not None

    def ring(self) -> None:
        """Let the task run on now, if one waits. Only from a callback of the loop: tasks do not nest."""
        if self._wake is not None:
            wake, self._wake = self._wake, None
            assert self._context is not None
            self._context.run(wake, self)

    def ring_soon(self) -> None:
        """Let the task run on in the loop's next round; from anywhere."""
        if self._wake is not None:
            wake, self._wake = self._wake, None
            self.get_loop().call_soon(wake, self, context=self._context)

    # --- what a Task asks of a future ---------------------------------------------------------------------------------

    def get_loop(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None
        return self._loop

    def add_done_callback(self, wake: Callable[[Doorbell], None], *, context: Context) -> None:
        self._wake, self._context = wake, context

    def cancel(self, msg: Any = None) -> bool:
        """The waiting task is cancelled; False: it is on its way already, and learns of it there."""
        if self._wake is None:
            return False
        self._cancelled = True
        self.ring_soon()
        return True

    def result(self) -> None:
        if self._cancelled:
            self._cancelled = False
            raise asyncio.CancelledError
