"""Spans for an OpenTelemetry collector: one per request, with children for the queue and for Dify.

Imported only where OTLP_ENDPOINT is set: the packages that it needs are optional. A span begins when its request
arrives, so that Dify can be told its id; everything else is written from the request's marks when it is over.
"""

from __future__ import annotations

import time

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from gateway import __version__
from gateway.observability.request_timeline import RequestTimeline
from gateway.observability.trace_context import TraceParent

_EXPORT_SECONDS = 2  # a collector that is down must not hold the end of the process


class Tracing:
    """Collects spans and sends them in batches, in a thread of its own; OTEL_* variables configure the rest."""

    def __init__(self, endpoint: str) -> None:
        resource = Resource.create({"service.name": "opendify-gateway", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", timeout=_EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("opendify-gateway", __version__)

    def begin(self, given: TraceParent | None) -> RequestSpan:
        """A request has arrived, within a trace or as the first of one."""
        return RequestSpan(self._tracer, given)

    def close(self) -> None:
        """Send what is left. Blocks for as long as a collector that does not answer is waited for."""
        self._provider.shutdown()


class RequestSpan:
    """One request's span."""

    def __init__(self, tracer: trace.Tracer, given: TraceParent | None) -> None:
        self._tracer = tracer
        self._began = time.time_ns()
        self._span = tracer.start_span("request", _within(given), kind=SpanKind.SERVER, start_time=self._began)
        context = self._span.get_span_context()
        self.traceparent = TraceParent(
            trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id), f"{context.trace_flags:02x}"
        )

    def end(self, timeline: RequestTimeline, status: int) -> None:
        """The request is over."""
        span = self._span
        if not span.is_recording():
            return
        fields = timeline.fields(status)
        span.update_name(f"{timeline.endpoint} {timeline.model}")
        span.set_attribute("gateway.request_id", timeline.request_id)
        for name, attribute in _ATTRIBUTES.items():
            if name in fields:
                span.set_attribute(attribute, str(fields[name]) if name in _WORDS else fields[name])  # type: ignore[arg-type]
        if timeline.error_code is not None:
            span.set_status(Status(StatusCode.ERROR, timeline.error_code))
        if timeline.asked_at is not None:
            self._add_children(timeline, timeline.asked_at)
        span.end()

    def _add_children(self, timeline: RequestTimeline, asked_at: float) -> None:
        within = trace.set_span_in_context(self._span)

        def wall(mark: float) -> int:
            return self._began + int((mark - timeline.arrived_at) * 1e9)

        queued_at = asked_at - (timeline.queue_seconds or 0.0)
        self._tracer.start_span("queue", within, start_time=wall(queued_at)).end(wall(asked_at))
        dify = self._tracer.start_span("dify", within, kind=SpanKind.CLIENT, start_time=wall(asked_at))
        dify.set_attribute("server.address", timeline.upstream)
        for name, mark in (
            ("first byte", timeline.answered_at),
            ("run started", timeline.first_event_at),
            ("first text", timeline.first_token_at),
        ):
            if mark is not None:
                dify.add_event(name, timestamp=wall(mark))
        if timeline.finished_at is None and timeline.error_code is not None:
            dify.set_status(Status(StatusCode.ERROR, timeline.error_code))
        dify.end(wall(timeline.finished_at or timeline.clock()))


# The access line's fields, by OpenTelemetry's names where it has them (semantic conventions for HTTP and GenAI).
_ATTRIBUTES = {
    "endpoint": "http.route",
    "status": "http.response.status_code",
    "error": "error.type",
    "model": "gen_ai.request.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
    "first_token_seconds": "gateway.first_token_seconds",
    "memory": "gateway.memory",
    "client": "gateway.client",
}
_WORDS = {"endpoint", "error", "model", "memory", "client"}


def _within(given: TraceParent | None) -> Context | None:
    if given is None:
        return None
    ids = (int(given.trace_id, 16), int(given.span_id, 16))
    parent: Span = NonRecordingSpan(SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(int(given.flags, 16))))
    return trace.set_span_in_context(parent)
