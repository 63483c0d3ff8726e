"""An answer whose bursts are evened out on their way to one client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from gateway.errors import GatewayError
from gateway.exchange.answer import AnswerEvent, Failed
from gateway.policy.pacer import Pacer

Batch = list[AnswerEvent]


class AnswerSource(Protocol):
    """Where an answer's events come from, a batch at a time; the empty batch is the end."""

    async def next_batch(self) -> Batch:
        """Wait for more."""


class PacedAnswer:
    """Hands on what the pacer lets go; while nothing waits there, it costs no task and no timer."""

    def __init__(
        self, answer: AnswerSource, pacer: Pacer, clock: Callable[[], float], received: Callable[[Batch], None]
    ) -> None:
        self._answer = answer
        self._pacer = pacer
        self._clock = clock
        self._received = received  # is told of each batch as it arrives, so that pacing is no latency of Dify's
        self._reading: asyncio.Task[Batch] | None = None
        self._over = False

    def first(self, batch: Batch) -> Batch:
        """What to send at once of what was read before."""
        return self._pacer.push(batch, self._clock())

    async def next_batch(self) -> Batch:
        """Wait for what is to be sent next; the empty batch is the end."""
        while True:
            if self._pacer.next_at is not None and not await self._arrives_before(self._pacer.next_at):
                if due := self._pacer.due(self._clock()):
                    return due
                continue
            if self._over:
                return []
            if ready := await self._take():
                return ready

    def close(self) -> None:
        """Read no further."""
        if self._reading is not None:
            self._reading.cancel()

    async def _arrives_before(self, moment: float) -> bool:
        wait = max(0.0, moment - self._clock())
        if self._over:
            await asyncio.sleep(wait)
            return False
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._answer.next_batch())
        await asyncio.wait([self._reading], timeout=wait)
        return self._reading.done()

    async def _take(self) -> Batch:
        reading, self._reading = self._reading, None
        try:
            batch = await (reading or self._answer.next_batch())  # the read may outlast the text that waited
        except GatewayError as error:
            batch = [Failed(error)]  # behind the text that waits
            self._over = True
        if not batch:
            self._over = True
            return []
        self._received(batch)
        return self._pacer.push(batch, self._clock())
