"""Other gateways behind the same load balancer, met in Redis: whose answer it is, and what it says so far.

Of one answer Redis holds, under a digest of its name:

    opendify:<name>               the claim: who answers, and what was asked (a digest)
    opendify:<name>:<id>:events   a stream: the answer so far, the last entry marked as the end
    opendify:<name>:<id>:lease    there while the gateway that answers is alive and not done
    opendify:<name>:<id>:reader   there while another gateway follows

The claim outlives its lease: a gateway that dies may leave a run behind, so nobody starts a second one until the
claim's time is over. Redis is never waited for longer than a moment, and an answer's own clients do not wait for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.errors import GatewayError, UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, AnswerStamp, Failed
from gateway.exchange.event_codec import decode_events, encode_events

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_PATIENCE_SECONDS = 0.3  # for one call
_LEASE_SECONDS = 5.0
_GATHER_SECONDS = 0.1  # what comes in this time travels as one entry: a call costs the loop 0.2 ms
_BLOCK_SECONDS = 1.0  # a follower looks whether the lease is there as often
_COMPLAIN_SECONDS = 60.0


class Silence(Exception):
    """Redis does not answer, or not in time."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Whose answer it is: the one with this stamp."""

    name: str
    question: str  # a digest
    stamp: AnswerStamp

    @property
    def key(self) -> str:
        return f"opendify:{self.name}"

    def part(self, name: str) -> str:
        return f"{self.key}:{self.stamp.id}:{name}"

    def to_json(self) -> str:
        return json.dumps([self.question, self.stamp.id, self.stamp.created])


class Peers:
    """The connection to Redis, and what is agreed on there."""

    def __init__(self, url: str) -> None:
        # Imported here, because it takes 0.1 s and 7 MB that only those shall spend who have a Redis.
        from redis.asyncio import Redis, RedisError
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        self._failures = (RedisError, OSError, TimeoutError)  # OSError: some of a broken socket's come as they are
        # The time-outs stand around the calls. Protocol 2 is what every Redis since 5.0 speaks.
        self._redis: Redis = Redis.from_url(
            url,
            decode_responses=True,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_PATIENCE_SECONDS,
            socket_timeout=None,
        )
        self._complained_at = -_COMPLAIN_SECONDS

    async def close(self) -> None:
        """End every connection."""
        await self._redis.aclose()

    async def claim(self, claim: Claim, seconds: float) -> Publication | Follower:
        """Claim an answer until so many seconds after its end: to publish it, or to follow whoever was first.

        If Redis does not answer, there is a publication that tries on behind the answer; it is not `claimed`.
        """
        try:
            holder = await self.holder(claim, seconds)
        except Silence:
            return Publication(self, claim, seconds, claimed=False)
        return Publication(self, claim, seconds, claimed=True) if holder == claim else Follower(self, holder)

    async def holder(self, claim: Claim, seconds: float) -> Claim:
        """The claim that holds: this one, or an earlier one of its name. Raises Silence; then it may hold or not."""
        calls = self._redis.pipeline(transaction=True)
        calls.set(claim.part("lease"), 1, px=_ms(_LEASE_SECONDS))
        calls.set(claim.key, claim.to_json(), nx=True, px=_ms(seconds + _LEASE_SECONDS))
        calls.get(claim.key)
        found = (await self.call(calls.execute()))[-1]
        try:
            question, answer_id, created = json.loads(found)
        except (TypeError, ValueError) as error:
            raise self.silence(error) from error
        return Claim(claim.name, question, AnswerStamp(answer_id, created))

    async def call(self, work: Awaitable[Result], seconds: float = _PATIENCE_SECONDS) -> Result:
        """Wait for Redis, not for long. Raises Silence."""
        try:
            async with asyncio.timeout(seconds):
                return await work
        except self._failures as error:
            raise self.silence(error) from error

    def silence(self, error: Exception) -> Silence:
        """Note that Redis is of no help; the log says so once a minute."""
        now = asyncio.get_running_loop().time()
        if now - self._complained_at >= _COMPLAIN_SECONDS:
            self._complained_at = now
            log.warning("Redis does not help, answers are not shared between gateways: %r", error)
        return Silence(repr(error))

    def pipeline(self) -> Pipeline:
        """Several calls that travel together."""
        return self._redis.pipeline(transaction=False)

    async def read(self, stream: str, after: str, block: float) -> list[tuple[str, dict[str, str]]]:
        """Entries of a stream; waits at most `block` seconds for one. Raises Silence."""
        reading: Awaitable[Any] = self._redis.xread({stream: after}, count=1000, block=_ms(block) or None)
        found = await self.call(reading, _PATIENCE_SECONDS + block)
        return found[0][1] if found else []


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
        while loop.time() - heard_at < _LEASE_SECONDS:
            try:
                if not await self._hold_claim():
                    break
                if await self._send():
                    return True
                heard_at = loop.time()
            except Silence:
                await asyncio.sleep(_PATIENCE_SECONDS)
            # The end goes out at once: a client that is told to try again does so soon.
            await _happens(self._ended, _GATHER_SECONDS)
            if not self._ended.is_set():
                await _happens(self._news, _LEASE_SECONDS / 3)
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
            calls.set(claim.part("lease"), 1, px=_ms(_LEASE_SECONDS))
        if done and not self._kept:
            calls.delete(claim.key)
        keep = _ms(_LEASE_SECONDS + (self._seconds if self._kept else 0))
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
        """What the other gateway has told since. Raises UpstreamTruncated when it is gone, or Redis is."""
        loop = asyncio.get_running_loop()
        while not self._over:
            try:
                if loop.time() - self._looked_at >= _BLOCK_SECONDS:
                    await self._look()
                alive = self.alive
                entries = await self._peers.read(
                    self.claim.part("events"), f"{self._number}-1", _BLOCK_SECONDS if alive else 0
                )
                self._heard_at = loop.time()
            except Silence:
                if loop.time() - self._heard_at > _LEASE_SECONDS:
                    raise UpstreamTruncated("The gateways have lost sight of each other; the answer was cut.") from None
                await asyncio.sleep(_PATIENCE_SECONDS)
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
        calls.set(self.claim.part("reader"), 1, px=_ms(_LEASE_SECONDS))
        calls.exists(self.claim.part("lease"))
        self.alive = bool((await self._peers.call(calls.execute()))[-1])
        self._looked_at = asyncio.get_running_loop().time()


async def _happens(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _is_there(result: Exception) -> bool:
    """Whether an entry is refused because it was taken the first time, when Redis was too slow to say so."""
    return "equal or smaller" in str(result)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
