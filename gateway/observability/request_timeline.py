"""Marks of one request, from its arrival to its end; they become metrics and the access line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.exchange.answer import AnswerEvent, Finished, ReasoningDelta, TextDelta, Usage
from gateway.observability.metrics import OTHER_MODEL, Metrics

CLIENT_LEFT = 499  # nginx's code for a client that closed the connection


@dataclass(slots=True)
class RequestTimeline:
    """What happened to one request, and when (seconds of the loop's clock)."""

    clock: Callable[[], float]
    endpoint: str
    arrived_at: float
    model: str = OTHER_MODEL
    queue_seconds: float | None = None  # the wait for a slot: the gateway's own
    asked_at: float | None = None
    answered_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    usage: Usage | None = None
    memory: str | None = None  # what became of the client's history
    error_code: str | None = None  # as the client got it, by status or in the stream
    client_left: bool = False
    replayed: bool = False  # another request has had this answer, and counts its speed and its tokens

    def asked(self, waited_seconds: float, sent_at: float, answered_at: float | None) -> None:
        """Dify has the question: after a wait for a slot it was sent, and a response head came (or not yet)."""
        self.queue_seconds, self.asked_at, self.answered_at = waited_seconds, sent_at, answered_at

    def received(self, events: Sequence[AnswerEvent]) -> None:
        """A batch of the answer is here."""
        if any(isinstance(event, TextDelta | ReasoningDelta) for event in events):
            self.last_token_at = self.clock()
            if self.first_token_at is None:
                self.first_token_at = self.last_token_at
        if events and isinstance(events[-1], Finished):
            self.usage = events[-1].usage

    @property
    def seconds(self) -> float:
        """From arrival to now."""
        return self.clock() - self.arrived_at

    def to_metrics(self, metrics: Metrics, status: int) -> None:
        """Count the finished request."""
        code = CLIENT_LEFT if self.client_left else status
        metrics.requests.labels(self.endpoint, self.model, code).inc()
        metrics.request_duration.labels(self.endpoint, self.model).observe(self.seconds)
        if self.error_code:
            metrics.errors.labels(self.endpoint, self.error_code).inc()
        if self.client_left:
            metrics.client_disconnects.labels(self.endpoint).inc()
        if self.queue_seconds is not None:
            metrics.queue_wait.labels(self.model).observe(self.queue_seconds)
        if self.asked_at is not None and self.answered_at is not None:
            metrics.upstream_first_byte.labels(self.model).observe(self.answered_at - self.asked_at)
        if self.first_token_at is not None and not self.replayed:
            metrics.time_to_first_token.labels(self.endpoint, self.model).observe(self.first_token_at - self.arrived_at)
        if self.memory is not None:
            metrics.memory.labels(self.model, self.memory).inc()
        if self.usage is not None and not self.replayed:
            self._count_tokens(metrics, self.usage)

    def _count_tokens(self, metrics: Metrics, usage: Usage) -> None:
        metrics.tokens.labels(self.model, "prompt").inc(usage.prompt_tokens)
        metrics.tokens.labels(self.model, "completion").inc(usage.completion_tokens)
        if unsplit := max(0, usage.total_tokens - usage.prompt_tokens - usage.completion_tokens):
            metrics.tokens.labels(self.model, "unsplit").inc(unsplit)
        if self.first_token_at is not None and self.last_token_at is not None and usage.completion_tokens > 0:
            took = self.last_token_at - self.first_token_at
            if took > 0:
                metrics.output_tokens_per_second.labels(self.model).observe(usage.completion_tokens / took)

    def fields(self, status: int) -> dict[str, object]:
        """The access line's fields; what did not happen is left out."""
        usage = self.usage
        marks: dict[str, object | None] = {
            "endpoint": self.endpoint,
            "model": self.model,
            "status": CLIENT_LEFT if self.client_left else status,
            "error": self.error_code,
            "seconds": round(self.seconds, 3),
            "first_token_seconds": self._since_arrival(self.first_token_at),
            "queue_seconds": None if self.queue_seconds is None else round(self.queue_seconds, 3),
            "dify_first_byte_seconds": self._between(self.asked_at, self.answered_at),
            "memory": self.memory,
            "prompt_tokens": usage.prompt_tokens if usage else None,
            "completion_tokens": usage.completion_tokens if usage else None,
        }
        return {name: value for name, value in marks.items() if value is not None}

    def _since_arrival(self, mark: float | None) -> float | None:
        return self._between(self.arrived_at, mark)

    @staticmethod
    def _between(start: float | None, end: float | None) -> float | None:
        return None if start is None or end is None else round(end - start, 3)
