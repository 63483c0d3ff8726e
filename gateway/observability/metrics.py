"""Every metric of the gateway: name, help, labels, buckets.

Units are base units and stand in the name. Labels are bounded: `model` is a configured app or `other`, never what a
client invents; no user, key, path or address is ever a label. Tokens and prices are Dify's own counts only.
"""

from __future__ import annotations

import pycurl
import tornado
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from gateway import __version__
from gateway.observability.children import Children
from gateway.observability.request_series import RequestSeries

OTHER_MODEL = "other"

_DURATION_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
_GAP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_OWN_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RATE_BUCKETS = (1, 2.5, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 400, 800, 1600)

# What the gateway itself adds to an answer, and what Dify takes for it.
OWN_STAGES = ("prepare", "queue", "first_write", "pacing")
UPSTREAM_STAGES = ("upload", "connect", "first_byte", "first_event", "first_text")

# Why a request was refused before Dify was asked. What has no row is `request` below 500 and `fault` above.
REJECTIONS = {
    "missing_api_key": "client_key",
    "invalid_api_key": "client_key",
    "rate_limit_exceeded": "client_limit",  # of a client key: Dify's own comes after Dify was asked
    "model_not_found": "model",
    "body_too_large": "body_size",
    "idempotency_conflict": "idempotency",
    "idempotency_key_reused": "idempotency",
    "upstream_busy": "queue",
    "gateway_overloaded": "overload",
    "upstream_circuit_open": "circuit",
    "not_ready": "not_ready",
    "shutting_down": "draining",
}
REJECTION_REASONS = (*dict.fromkeys(REJECTIONS.values()), "request", "fault")


class Metrics:
    """One process's metrics, in a registry of their own so that tests may build several gateways."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody asks for
        self.registry = CollectorRegistry()
        # By endpoint, model and Dify host.
        self.request_series: Children[tuple[str, str, str], RequestSeries] = Children(
            lambda labels: RequestSeries(self, *labels)
        )
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self.build_info = self._gauge("gateway_build_info", "Always 1; the labels tell the versions.", *_BUILD)
        self.build_info.labels(*_BUILD.values()).set(1)

        # --- requests ---
        self.requests = self._counter(
            "gateway_requests_total",
            "Finished requests by endpoint, model and HTTP status; the error's status where a stream ended in one, 499 "
            "where the client left before the end.",
            *("endpoint", "model", "code"),
        )
        self.errors = self._counter(
            "gateway_errors_total",
            "Errors that clients got, by OpenAI error code, as a status or inside a stream.",
            *("endpoint", "code"),
        )
        self.rejected = self._counter(
            "gateway_rejected_total",
            f"Requests that were refused before Dify was asked, by reason: {', '.join(REJECTION_REASONS)}.",
            "reason",
            known=REJECTION_REASONS,
        )
        self.request_duration = self._histogram(
            "gateway_request_duration_seconds",
            "From the request's arrival to the end of its answer.",
            *("endpoint", "model"),
            buckets=_DURATION_BUCKETS,
        )
        self.time_to_first_token = self._histogram(
            "gateway_time_to_first_token_seconds",
            "From the request's arrival to the first text or reasoning that Dify sent.",
            *("endpoint", "model"),
            buckets=_FIRST_TOKEN_BUCKETS,
        )
        self.inter_chunk = self._histogram(
            "gateway_inter_chunk_seconds",
            "Between two pieces of a streamed answer's text as Dify's bytes arrive; what comes together is one piece.",
            "model",
            buckets=_GAP_BUCKETS,
        )
        self.own_time = self._histogram(
            "gateway_own_time_seconds",
            "What the gateway itself adds, by stage: prepare (arrival to question, without the queue), queue (for a "
            "slot), first_write (first text from Dify's socket to the client's), pacing (from Dify's end to the last "
            "paced text).",
            "stage",
            buckets=_OWN_BUCKETS,
            known=OWN_STAGES,
        )
        self.upstream_time = self._histogram(
            "gateway_upstream_time_seconds",
            "What Dify takes, by stage: upload (of the message's files, before the question), and counted from the "
            "question: connect (name look-up and TLS included), first_byte (its response head), first_event (its first "
            "event of a run), first_text.",
            *("upstream", "stage"),
            buckets=_FIRST_TOKEN_BUCKETS,
        )
        self.answers_in_flight = self._gauge("gateway_answers_in_flight", "Answers that are asked for and not ended.")
        self.client_disconnects = self._counter(
            "gateway_client_disconnects_total", "Answers whose client left before the end.", "endpoint"
        )
        self.memory = self._counter(
            "gateway_memory_total",
            "Turns by what became of the client's history: none, folded, started, continued, branched, healed.",
            *("model", "outcome"),
        )
        self.tool_calls = self._counter(
            "gateway_tool_calls_total",
            "Answers to requests that offer tools, by outcome: called, text (none was wanted), malformed.",
            *("model", "outcome"),
        )
        self.second_answers = self._counter(
            "gateway_second_answers_total",
            "Answers for which the app was asked once more, by what was wrong (invalid_tool_call, invalid_json) and by "
            "outcome of the second one: ok, failed.",
            *("model", "problem", "outcome"),
        )
        self.side_calls = self._counter(
            "gateway_side_calls_total",
            "Requests that a chat front end makes for itself (a title, tags, follow-up questions), by kind.",
            "kind",
        )

        # --- tokens ---
        self.tokens = self._counter(
            "gateway_tokens_total",
            "Tokens as Dify counted them, by kind: prompt, completion, or unsplit where Dify tells only a total.",
            *("model", "kind"),
        )
        self.price = self._counter(
            "gateway_price_total",
            "What answers cost as Dify tells it, by currency (ISO 4217, or other).",
            *("model", "currency"),
        )
        self.output_tokens_per_second = self._histogram(
            "gateway_output_tokens_per_second",
            "Completion tokens of one answer (Dify's count) by the seconds from its first to its last text.",
            "model",
            buckets=_RATE_BUCKETS,
        )

        # --- Dify ---
        self.stop_calls = self._counter(
            "gateway_stop_calls_total",
            "Runs that Dify was told to stop, by what became of the call: ok, refused, failed.",
            "outcome",
            known=("ok", "refused", "failed"),
        )
        self.followed_runs = self._counter(
            "gateway_followed_runs_total",
            "Workflow runs whose stream broke, by whether they could be taken up again: ok, failed.",
            "outcome",
            known=("ok", "failed"),
        )
        self.upstream_streams = self._gauge("gateway_upstream_streams", "Answers in flight per Dify host.", "upstream")
        self.upstream_waiting = self._gauge(
            "gateway_upstream_waiting", "Requests that wait for a slot, per Dify host.", "upstream"
        )
        self.circuit_open = self._gauge(
            "gateway_upstream_circuit_open", "0 closed, 1 open, 0.5 while one probe is out, per Dify host.", "upstream"
        )
        self.backpressure_pauses = self._counter(
            "gateway_backpressure_pauses_total",
            "Times that Dify had to wait because a client took its answer slowly; counted at the answer's end.",
        )
        self.uploads = self._counter(
            "gateway_uploads_total",
            "Files for Dify, by what became of them: ok, failed, known (the same file had been uploaded before).",
            "outcome",
            known=("ok", "failed", "known"),
        )
        self.idempotent_requests = self._counter(
            "gateway_idempotent_requests_total",
            "Requests with an Idempotency-Key and retries of SDKs, by outcome; redis_failed: not shared with others.",
            "outcome",
            known=("started", "joined_running", "joined_finished", "refused", "redis_failed"),
        )
        self.unknown_events = self._counter(
            "gateway_dify_unknown_events_total", "Events of Dify that this version does not know and skipped."
        )

        # --- apps ---
        self.app_up = self._gauge(
            "gateway_app_up",
            "1 if Dify described the app at the last refresh, else 0; a key that never worked is `key` and its place.",
            "model",
        )
        self.app_described = self._gauge(
            "gateway_app_described_timestamp_seconds", "Unix time at which Dify last described the app.", "model"
        )
        self.app_info = self._gauge(
            "gateway_app_info",
            "Always 1; the labels tell the app's mode and Dify host.",
            *("model", "mode", "upstream"),
        )
        self.apps = self._gauge("gateway_apps", "Apps that answer under a model id.")
        self.refreshes = self._counter(
            "gateway_app_refreshes_total",
            "Looks at all apps, by result: ok, partial (some key failed), failed (every key failed).",
            "result",
            known=("ok", "partial", "failed"),
        )
        self.last_refresh = self._gauge(
            "gateway_app_refresh_timestamp_seconds", "Unix time of the last look at all apps that had an answer."
        )

        # --- the process ---
        self.loop_lag = self._histogram(
            "gateway_event_loop_lag_seconds",
            "Worst lateness of the event loop in each second.",
            buckets=_OWN_BUCKETS,
        )
        self.pacing_interval = self._gauge(
            "gateway_pacing_interval_seconds",
            "Time between two paced pieces of text; longer under load, 0 while it is off.",
        )
        self.ready = self._gauge("gateway_ready", "1 while `/readyz` says 200: the gateway can answer requests.")
        self.draining = self._gauge("gateway_draining", "1 once the gateway is told to stop.")
        self.reloads = self._counter(
            "gateway_reloads_total",
            "Reloads of the configuration by result: ok, failed.",
            "result",
            known=("ok", "failed"),
        )
        self.configured = self._gauge(
            "gateway_configuration_timestamp_seconds", "Unix time at which the configuration in force was read."
        )

    def _counter(self, name: str, meaning: str, *labels: str, known: tuple[str, ...] = ()) -> Counter:
        """`known` values of the only label have a series from the start, so that the first failure is a rise."""
        counter = Counter(name, meaning, labels, registry=self.registry)
        for value in known:
            counter.labels(value)
        return counter

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, *labels: str, buckets: tuple[float, ...], known: tuple[str, ...] = ()
    ) -> Histogram:
        histogram = Histogram(name, meaning, labels, buckets=buckets, registry=self.registry)
        for value in known:
            histogram.labels(value)
        return histogram


_BUILD = {"version": __version__, "tornado": tornado.version, "libcurl": pycurl.version_info()[1]}


def metrics_table() -> str:
    """The README's table of metrics, in Markdown."""
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for collector in vars(Metrics()).values():
        if isinstance(collector, Counter | Gauge | Histogram):
            family = next(iter(collector.describe()))
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in collector._labelnames)
            rows.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(rows) + "\n"
