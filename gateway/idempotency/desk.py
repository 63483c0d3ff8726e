"""Where a request gets its place at an answer: a new one, one that runs, or one that is kept."""

from __future__ import annotations

from gateway.errors import IdempotencyConflict, IdempotencyKeyReused
from gateway.exchange.answer import AnswerEvent, AnswerStamp
from gateway.idempotency.identity import KEY_HEADER, Identity
from gateway.idempotency.recording import Shelf
from gateway.idempotency.shared_answer import AnswerSource, Listener, SharedAnswer, Start
from gateway.observability.request_timeline import RequestTimeline
from gateway.peers.claiming import claim_answer
from gateway.peers.follower import Follower
from gateway.peers.publication import Publication
from gateway.peers.redis_link import Claim
from gateway.services import Services


class AnswerDesk:
    """Knows every answer that can be joined; one per process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._shelf: Shelf[SharedAnswer] = Shelf()
        self._publications: dict[SharedAnswer, Publication] = {}  # of the answers that other gateways may follow

    def listener(self, identity: Identity, stamp: AnswerStamp, start: Start, timeline: RequestTimeline) -> Listener:
        """This request's place at its answer; `start` and `stamp` are for a new one.

        Raises IdempotencyKeyReused, IdempotencyConflict.
        """
        answer = self._shelf.find(identity.name, self._services.clock()) if identity.repeats else None
        if answer is None:
            answer = SharedAnswer(identity, stamp, start, keeper=self)
            self._shelf.put(answer, self._services.settings.idempotency_bytes)
        elif answer.identity.question != identity.question:
            raise self._key_reused()
        elif not answer.joinable:
            self._count("refused")
            raise _too_long()
        else:
            self._count("joined_finished" if answer.over else "joined_running")
        return Listener(answer, timeline)

    # --- what a shared answer asks of its keeper ----------------------------------------------------------------------

    async def begin(self, answer: SharedAnswer) -> AnswerSource:
        """Ask Dify, or follow the gateway that has asked it."""
        outcome = "started"
        if answer.identity.keyed and self._services.peers is not None and answer not in self._publications:
            claim = Claim(answer.name, answer.identity.question, answer.stamp)
            found = await claim_answer(self._services.peers, claim, self._services.settings.idempotency_seconds)
            if isinstance(found, Follower):
                return await self._follow(found, answer)
            self._publications[answer] = found
            self._services.background.start(self._publish(found))
            if not found.claimed:
                outcome = "redis_failed"
        assert answer.start is not None
        source = await answer.start().__aenter__()
        if answer.identity.repeats:  # not an SDK's first attempts: that would be every request
            self._count(outcome)
        return source

    def recorded(self, answer: SharedAnswer, batch: list[AnswerEvent]) -> None:
        """See that there is room, and tell the other gateways."""
        self._shelf.weigh(answer, self._services.settings.idempotency_bytes)
        if not answer.joinable and not answer.identity.keyed:
            self._shelf.remove(answer)  # an SDK has not asked for one run only
        if publication := self._publications.get(answer):
            if answer.joinable:
                publication.add(batch)
            else:
                publication.cut(_too_long())

    def ended(self, answer: SharedAnswer) -> None:
        """Keep the answer for a while; a failure only if Dify may have run."""
        settings, failure = self._services.settings, answer.failure
        kept = failure is None or (failure.should_retry is False and answer.identity.keyed and not answer.followed)
        if kept:
            seconds = settings.idempotency_seconds if answer.identity.keyed else settings.idempotency_grace_seconds
            self._shelf.keep(answer, self._services.clock(), seconds, settings.idempotency_bytes)
        else:
            self._shelf.remove(answer)
        self._end_publication(answer, kept=kept)

    def withdraw(self, answer: SharedAnswer) -> None:
        """From now on nobody can join: here it is not found any more, elsewhere neither."""
        self._shelf.remove(answer)
        self._end_publication(answer, kept=False)

    def deserted(self, answer: SharedAnswer) -> None:
        """Wait for a retry, if it is one that can be waited for."""
        waits = answer.identity.keyed and not answer.followed and not self._services.draining
        grace = self._services.settings.idempotency_grace_seconds if waits else 0
        self._services.background.start(answer.linger(grace))

    async def is_followed(self, answer: SharedAnswer) -> bool:
        """Whether another gateway reads this answer."""
        publication = self._publications.get(answer)
        return publication is not None and await publication.is_followed()

    # --- other gateways -----------------------------------------------------------------------------------------------

    async def _follow(self, follower: Follower, answer: SharedAnswer) -> AnswerSource:
        if follower.claim.question != answer.identity.question:
            raise self._key_reused()
        answer.stamp = follower.claim.stamp
        answer.followed = True
        self._services.answers_in_flight += 1
        source = await follower.__aenter__()
        self._count("joined_running" if follower.alive else "joined_finished")
        return source

    async def _publish(self, publication: Publication) -> None:
        if not await publication.run():
            self._count("redis_failed")

    def _end_publication(self, answer: SharedAnswer, *, kept: bool) -> None:
        if answer.followed:
            self._services.answers_in_flight -= 1
        if publication := self._publications.pop(answer, None):
            publication.end(kept=kept)

    # --- refusals -----------------------------------------------------------------------------------------------------

    def _count(self, outcome: str) -> None:
        self._services.metrics.idempotent_requests.labels(outcome).inc()

    def _key_reused(self) -> IdempotencyKeyReused:
        self._count("refused")
        return IdempotencyKeyReused(
            f"This {KEY_HEADER} was used for another request before; a new request needs a new key.", param=KEY_HEADER
        )


def _too_long() -> IdempotencyConflict:
    return IdempotencyConflict(
        "This request was made before, and its answer is too long to be kept for a second time.", param=KEY_HEADER
    )
