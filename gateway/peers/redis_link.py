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
from typing import TYPE_CHECKING, Any, TypeVar

from gateway.errors import GatewayError
from gateway.exchange.answer import AnswerStamp
from gateway.frozen import frozen

if TYPE_CHECKING:
    from redis.asyncio.client import Pipeline

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PATIENCE_SECONDS = 0.3  # for one call
LEASE_SECONDS = 5.0
_COMPLAIN_SECONDS = 60.0


class Silence(Exception):
    """Redis does not answer, or not in time."""


@frozen
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
            socket_connect_timeout=PATIENCE_SECONDS,
            socket_timeout=None,
        )
        self._complained_at = -_COMPLAIN_SECONDS
        self.ended_by: GatewayError | None = None  # who follows another gateway's answer is told so

    async def close(self) -> None:
        """End every connection."""
        await self._redis.aclose()

    async def holder(self, claim: Claim, seconds: float) -> Claim:
        """The claim that holds: this one, or an earlier one of its name. Raises Silence; then it may hold or not."""
        calls = self._redis.pipeline(transaction=True)
        calls.set(claim.part("lease"), 1, px=milliseconds(LEASE_SECONDS))
        calls.set(claim.key, claim.to_json(), nx=True, px=milliseconds(seconds + LEASE_SECONDS))
        calls.get(claim.key)
        found = (await self.call(calls.execute()))[-1]
        try:
            question, answer_id, created = json.loads(found)
        except (TypeError, ValueError) as error:
            raise self.silence(error) from error
        return Claim(claim.name, question, AnswerStamp(answer_id, created))

    async def call(self, work: Awaitable[Result], seconds: float = PATIENCE_SECONDS) -> Result:
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
        reading: Awaitable[Any] = self._redis.xread({stream: after}, count=1000, block=milliseconds(block) or None)
        found = await self.call(reading, PATIENCE_SECONDS + block)
        return found[0][1] if found else []


def milliseconds(seconds: float) -> int:
    """As Redis counts them."""
    return round(seconds * 1000)
