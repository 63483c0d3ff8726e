"""Another gateway's answer, read as it is told."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType

from gateway.errors import UpstreamTruncated
from gateway.exchange.answer import AnswerEvent
from gateway.exchange.event_codec import decode_events
from gateway.peers.redis_link import LEASE_SECONDS, PATIENCE_SECONDS, Claim, Peers, Silence, milliseconds

_BLOCK_SECONDS = 1.0  # whether the lease is there is looked at as often


class Follower:
    """Another gateway's answer, with LiveAnswer's face; leaving it ends nothing."""

    def __init__(self, peers: Peers, claim: Claim) -> None:
        self.alive = True  # whether the other one is at work; done or dead otherwise
        self.claim = claim
        self._peers = peers
        self._number = 0  # of the last entry that was read
        self._over = False
        self._looked_at = self._heard_at = asyncio.get_running_loop().time()

    async def __aenter__(self) -> Follower:
        with suppress(Silence):  # `next_batch` will see for how long
            await self._look()
        return self

    async def next_batch(self) -> list[AnswerEvent]:
        """What the other gateway has told since. Raises UpstreamTruncated when it is gone, or Redis is, and what ends
        this gateway."""
        loop = asyncio.get_running_loop()
        while not self._over:
            if self._peers.ended_by is not None:
                raise self._peers.ended_by
            try:
                if loop.time() - self._looked_at >= _BLOCK_SECONDS:
                    await self._look()
                alive = self.alive
                entries = await self._peers.read(
                    self.claim.part("events"), f"{self._number}-1", _BLOCK_SECONDS if alive else 0
                )
                self._heard_at = loop.time()
            except Silence:
                if loop.time() - self._heard_at > LEASE_SECONDS:
                    raise UpstreamTruncated("The gateways have lost sight of each other; the answer was cut.") from None
                await asyncio.sleep(PATIENCE_SECONDS)
                continue
            if batch := self._take(entries):
                return batch
            if not alive and not self._over:
                raise UpstreamTruncated("The gateway that was answering is gone; the answer was cut.")
        return []

    def abandon(self) -> None:
        """It is not ours to stop."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def _take(self, entries: list[tuple[str, dict[str, str]]]) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        for entry_id, entry in entries:
            try:
                number = int(entry_id.partition("-")[0])
                if number != self._number + 1 and entry["alone"] != "1":
                    raise ValueError("Redis has forgotten a part")
                self._number = number
                events += decode_events(entry["events"])
                self._over = self._over or entry["end"] == "1"
            except (KeyError, ValueError) as error:
                raise UpstreamTruncated("Another gateway's answer cannot be read; the answer was cut.") from error
        return events

    async def _look(self) -> None:
        """Show that somebody follows, and see whether there is still somebody to follow."""
        calls = self._peers.pipeline()
        calls.set(self.claim.part("reader"), 1, px=milliseconds(LEASE_SECONDS))
        calls.exists(self.claim.part("lease"))
        self.alive = bool((await self._peers.call(calls.execute()))[-1])
        self._looked_at = asyncio.get_running_loop().time()
