"""Marks of one request, from its arrival to its end; they become metrics and the access line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.exchange.answer import AnswerEvent, Finished, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from gateway.observability.metrics import OTHER_MODEL, REJECTIONS, Metrics
from gateway.observability.request_series import RequestSeries
from gateway.observability.request_trace import RequestTrace
from gateway.observability.trace_context import TraceParent

_SHOWN = (TextDelta, ReasoningDelta, ToolCallDelta)
_CURRENCY = re.compile("[A-Z]{3}")  # ISO 4217; Dify hands on whatever a model's plugin says

CLIENT_LEFT = 499  # nginx's code for a client that closed the connection


@dataclass(slots=True)
class RequestTimeline:
    """What happened to one request, and when (seconds of the loop's clock)."""

    clock: Callable[[], float]
    endpoint: str
    arrived_at: float
    request_id: str = ""
    traceparent: TraceParent | None = None
    trace: RequestTrace | None = None  # where an operator wants to see it all
    client: str | None = None  # a name for who asks; never the key
    model: str = OTHER_MODEL
    upstream: str = ""  # the model's Dify host
    queue_seconds: float | None = None  # the wait for a slot: the gateway's own
    upload_seconds: float | None = None  # Dify took to receive the message's files
    asked_at: float | None = None
    connect_seconds: float | None = None
    answered_at: float | None = None
    first_event_at: float | None = None  # when Dify told that the run has begun
    first_token_at: float | None = None
    first_write_at: float | None = None  # when the client's socket had taken the first text
    last_token_at: float | None = None
    finished_at: float | None = None  # when Dify told that the answer is whole
    paced_until: float | None = None  # when the last text left the pacer, where there is one
    usage: Usage | None = None
    memory: str | None = None  # what became of the client's history
    error: GatewayError | None = None  # as the client got it, by status or in the stream
    client_left: bool = False
    replayed: bool = False  # another request has had this answer, and counts its speed and its tokens
    _series: RequestSeries | None = None
    _count_gap: Callable[[float], None] = lambda seconds: None

    def chose(self, model: str, upstream: str, metrics: Metrics) -> None:
        """The request is for this app."""
        self.model, self.upstream = model, upstream
        self._series = metrics.request_series[self.endpoint, model, upstream]
        self._count_gap = self._series.gap

    def asked(
        self,
        waited_seconds: float,
        sent_at: float,
        answered_at: float | None,
        connect_seconds: float | None = None,
    ) -> None:
        """Dify has the question: after a wait for a slot it was sent, and a response head came (or not yet)."""
        self.queue_seconds, self.asked_at, self.answered_at = waited_seconds, sent_at, answered_at
        self.connect_seconds = connect_seconds

    def received(self, events: Sequence[AnswerEvent], *, streamed: bool = True) -> None:
        """A batch of the answer is here; gaps are those of an answer that is read as it comes."""
        for event in events:
            if type(event) in _SHOWN:
                now = self.clock()
                if self.last_token_at is None:
                    self.first_token_at = now
                elif streamed:
                    self._count_gap(now - self.last_token_at)
                self.last_token_at = now
                break
        if events and type(end := events[-1]) is Finished:
            self.usage = end.usage
            self.finished_at = self.clock()

    @property
    def error_code(self) -> str | None:
        """The error, as OpenAI's clients know it."""
        return self.error.code if self.error else None

    @property
    def seconds(self) -> float:
        """From arrival to now."""
        return self.clock() - self.arrived_at

    def to_metrics(self, metrics: Metrics, status: int) -> None:
        """Count the finished request."""
        # A stream has told 200 before it failed; its error's status is how it went.
        code = CLIENT_LEFT if self.client_left else self.error.status if self.error else status
        series = self._series or metrics.request_series[self.endpoint, self.model, self.upstream]
        exemplar, now = self._exemplar(), time.time()
        series.requests[code](1, exemplar, now)
        series.duration(self.seconds, exemplar, now)
        if self.error is not None or self.client_left:
            self._count_failure(metrics, code, exemplar)
        if self.memory is not None:
            series.memory[self.memory](1)
        if not self.replayed:
            if self.first_token_at is not None:
                series.first_token(self.first_token_at - self.arrived_at, exemplar, now)
            if self.usage is not None:
                self._count_tokens(series, self.usage)
        if self.asked_at is not None:
            self._count_stages(series, self.asked_at)

    def _exemplar(self) -> dict[str, str] | None:
        """By which the request can be found from a sample."""
        if not self.request_id:
            return None
        if self.traceparent is None:
            return {"request_id": self.request_id}
        return {"request_id": self.request_id, "trace_id": self.traceparent.trace_id}

    def _count_failure(self, metrics: Metrics, code: int, exemplar: dict[str, str] | None) -> None:
        if self.error_code:
            metrics.errors.labels(self.endpoint, self.error_code).inc(1, exemplar)
            if self.asked_at is None:
                reason = REJECTIONS.get(self.error_code, "request" if code < 500 else "fault")
                metrics.rejected.labels(reason).inc(1, exemplar)
        if self.client_left:
            metrics.client_disconnects.labels(self.endpoint).inc()

    def _count_stages(self, series: RequestSeries, asked_at: float) -> None:
        """What the gateway took, and what Dify."""
        queued, uploaded = self.queue_seconds or 0.0, self.upload_seconds or 0.0
        own, upstream = series.own_time, series.upstream_time
        own["prepare"](max(0.0, asked_at - self.arrived_at - queued - uploaded))
        own["queue"](queued)
        if self.paced_until is not None and self.finished_at is not None:
            own["pacing"](self.paced_until - self.finished_at)
        if self.upload_seconds is not None:
            upstream["upload"](self.upload_seconds)
        if self.connect_seconds is not None:
            upstream["connect"](self.connect_seconds)
        if self.answered_at is not None:
            upstream["first_byte"](self.answered_at - asked_at)
        if self.first_event_at is not None:
            upstream["first_event"](self.first_event_at - asked_at)
        if self.first_token_at is not None:
            upstream["first_text"](self.first_token_at - asked_at)
            if self.first_write_at is not None:
                own["first_write"](self.first_write_at - self.first_token_at)

    def _count_tokens(self, series: RequestSeries, usage: Usage) -> None:
        prompt, completion = usage.prompt_tokens, usage.completion_tokens
        series.tokens["prompt"](prompt)
        series.tokens["completion"](completion)
        if usage.total_tokens > prompt + completion:
            series.tokens["unsplit"](usage.total_tokens - prompt - completion)
        if usage.price is not None:
            currency = usage.currency if usage.currency and _CURRENCY.fullmatch(usage.currency) else "other"
            series.price[currency](float(usage.price))
        if completion > 0 and (took := _between(self.first_token_at, self.last_token_at)):
            series.tokens_per_second(completion / took)

    def fields(self, status: int) -> dict[str, object]:
        """The access line's fields; what did not happen is left out."""
        told: dict[str, object] = {}
        if self.traceparent is not None:
            told["trace_id"] = self.traceparent.trace_id
        told["endpoint"] = self.endpoint
        told["model"] = self.model
        if self.client is not None:
            told["client"] = self.client
        told["status"] = CLIENT_LEFT if self.client_left else status
        if (code := self.error_code) is not None:
            told["error"] = code
        told["seconds"] = _rounded(self.seconds)
        if self.first_token_at is not None:
            told["first_token_seconds"] = _rounded(self.first_token_at - self.arrived_at)
        if self.queue_seconds is not None:
            told["queue_seconds"] = _rounded(self.queue_seconds)
        if self.upload_seconds is not None:
            told["dify_upload_seconds"] = _rounded(self.upload_seconds)
        if self.connect_seconds is not None:
            told["dify_connect_seconds"] = _rounded(self.connect_seconds)
        if self.asked_at is not None:
            if self.answered_at is not None:
                told["dify_first_byte_seconds"] = _rounded(self.answered_at - self.asked_at)
            if self.finished_at is not None:
                told["dify_seconds"] = _rounded(self.finished_at - self.asked_at)
        if self.memory is not None:
            told["memory"] = self.memory
        if (usage := self.usage) is not None:
            told["prompt_tokens"] = usage.prompt_tokens
            told["completion_tokens"] = usage.completion_tokens
            told["total_tokens"] = usage.total_tokens
        return told


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _rounded(seconds: float) -> float:
    """To milliseconds; twice as quick as `round(seconds, 3)`."""
    return round(seconds * 1000) / 1000
