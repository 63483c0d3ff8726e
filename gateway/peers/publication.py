"""An answer of this gateway, told to the others."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from gateway.errors import GatewayError
from gateway.exchange.answer import AnswerEvent, Failed
from gateway.exchange.event_codec import encode_events
from gateway.peers.redis_link import LEASE_SECONDS, PATIENCE_SECONDS, Claim, Peers, Silence, milliseconds

_GATHER_SECONDS = 0.1  # what comes in this time travels as one entry: a call costs the loop 0.2 ms


class Publication:
    """An answer of this gateway, told to the others. `add` and `end` never wait; `run` is the work behind them."""

    def __init__(self, peers: Peers, claim: Claim, seconds: float, *, claimed: bool) -> None:
        self._peers = peers
        self.claimed = claimed
        self._claim = claim
        self._seconds = seconds
        self._outbox: list[AnswerEvent] = []
        self._entry: dict[Any, Any] | None = None  # on its way; the same until it is there
        self._number = 1  # of that entry
        self._cut: GatewayError | None = None
        self._told_end = False
        self._kept = True
        self._given_up = False
        self._news = asyncio.Event()
        self._ended = asyncio.Event()

    def add(self, batch: list[AnswerEvent]) -> None:
        """More of the answer."""
        if not self._given_up and self._cut is None:
            self._outbox += batch
            self._news.set()

    def cut(self, error: GatewayError) -> None:
        """Whoever follows, or comes to follow, gets this instead of the answer."""
        if not self._given_up and self._cut is None:
            self._cut = error
            self._outbox = [Failed(error)]
            self._news.set()

    def end(self, *, kept: bool) -> None:
        """The answer is over; one that is not kept may be asked for again."""
        self._kept = kept
        self._ended.set()
        self._news.set()

    async def is_followed(self) -> bool:
        """Whether another gateway reads this answer."""
        calls = self._peers.pipeline()
        calls.exists(self._claim.part("reader"))
        try:
            return bool((await self._peers.call(calls.execute()))[0])
        except Silence:
            return False

    async def run(self) -> bool:
        """Send what there is and hold the lease until the end.

        False: the others cannot read this answer, since Redis was silent for longer than a lease, or the claim is not
        ours.
        """
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        while loop.time() - heard_at < LEASE_SECONDS:
            try:
                if not await self._hold_claim():
                    break
                if await self._send():
                    return True
                heard_at = loop.time()
            except Silence:
                await asyncio.sleep(PATIENCE_SECONDS)
            # The end goes out at once: a client that is told to try again does so soon.
            await _happens(self._ended, _GATHER_SECONDS)
            if not self._ended.is_set():
                await _happens(self._news, LEASE_SECONDS / 3)
        self._given_up = True
        self._outbox.clear()
        return False

    async def _hold_claim(self) -> bool:
        """Whether the claim is ours; it is asked for once more where Redis was silent at the begin."""
        if not self.claimed:
            self.claimed = await self._peers.holder(self._claim, self._seconds) == self._claim
        return self.claimed

    async def _send(self) -> bool:
        """Tell what there is; whether that was the end."""
        self._news.clear()
        claim, ended = self._claim, self._ended.is_set()
        calls = self._peers.pipeline()
        entry = self._next_entry(ended)
        done = ended and (self._told_end or (entry is not None and bool(entry["end"])))
        if entry is not None:
            # What a cut says stands for all that was there before.
            most = 1 if entry["alone"] else None
            calls.xadd(claim.part("events"), entry, id=f"{self._number}-1", maxlen=most, approximate=False)
        if done:
            calls.delete(claim.part("lease"))
        else:
            calls.set(claim.part("lease"), 1, px=milliseconds(LEASE_SECONDS))
        if done and not self._kept:
            calls.delete(claim.key)
        keep = milliseconds(LEASE_SECONDS + (self._seconds if self._kept else 0))
        calls.pexpire(claim.key, keep)
        calls.pexpire(claim.part("events"), keep)
        for result in await self._peers.call(calls.execute(raise_on_error=False)):
            if isinstance(result, Exception) and not _is_there(result):
                raise self._peers.silence(result)
        if entry is not None:
            self._told_end = bool(entry["end"])
            self._entry = None
            self._number += 1
        return done

    def _next_entry(self, ended: bool) -> dict[Any, Any] | None:
        """What is to be sent. An entry that may be there or not stays as it was, and is refused if it is there."""
        if self._entry is None and not self._told_end and (self._outbox or ended):
            cut = self._cut is not None
            self._entry = {"events": encode_events(self._outbox), "end": int(ended or cut), "alone": int(cut)}
            self._outbox.clear()
        return self._entry


async def _happens(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _is_there(result: Exception) -> bool:
    """Whether an entry is refused because it was taken the first time, when Redis was too slow to say so."""
    return "equal or smaller" in str(result)
