"""How long something may take, by a clock that ticks anyway."""

from __future__ import annotations

import asyncio
from types import TracebackType

from gateway.web.event_stream import Heartbeat


class Patience:
    """asyncio.timeout without a timer of its own: it ends with the heartbeat, up to a beat late.

    Nearly every wait of this kind is over long before, so the price is what it takes to begin and to end one.
    """

    def __init__(self, heartbeat: Heartbeat, seconds: float) -> None:
        self.silence = seconds
        self._heartbeat = heartbeat
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._cancelling = task, task.cancelling()
        self._ends_at = self._heartbeat.clock() + self.silence
        self._heartbeat.add(self)

    def beat(self, now: float) -> None:
        if now >= self._ends_at and not self._is_over:
            self._is_over = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._heartbeat.discard(self)
        if self._is_over and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error
