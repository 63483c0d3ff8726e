"""Every metric of the gateway: name, help, labels, buckets.

Units are base units and stand in the name. Labels are bounded: `model` is a configured app or `other`, never what a
client invents; no user, key, path or address is ever a label. Tokens are Dify's own counts only.
"""

from __future__ import annotations

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

OTHER_MODEL = "other"

_DURATION_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640)
_FIRST_TOKEN_BUCKETS = (0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
_RATE_BUCKETS = (1, 2.5, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 400, 800, 1600)


class Metrics:
    """One process's metrics, in a registry of their own so that tests may build several gateways."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody asks for
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self.build_info = self._gauge("gateway_build_info", "1, with the version as label.", "version")
        self.build_info.labels(__version__).set(1)

        # --- requests ---
        self.requests = Counter(
            "gateway_requests_total",
            "Finished requests by endpoint, model and HTTP status; 499 where the client left before the end.",
            ["endpoint", "model", "code"],
            registry=self.registry,
        )
        self.errors = Counter(
            "gateway_errors_total",
            "Errors that clients got, by OpenAI error code, as a status or inside a stream.",
            ["endpoint", "code"],
            registry=self.registry,
        )
        self.request_duration = Histogram(
            "gateway_request_duration_seconds",
            "From the request's arrival to the end of its answer.",
            ["endpoint", "model"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self.time_to_first_token = Histogram(
            "gateway_time_to_first_token_seconds",
            "From the request's arrival to the first text or reasoning that Dify sent.",
            ["endpoint", "model"],
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=self.registry,
        )
        self.queue_wait = Histogram(
            "gateway_queue_wait_seconds",
            "The wait for a slot before Dify was asked; Dify's own queue is in gateway_upstream_first_byte_seconds.",
            ["model"],
            buckets=(0.001, 0.01, 0.1, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.upstream_first_byte = Histogram(
            "gateway_upstream_first_byte_seconds",
            "From the question to Dify until its response head: name look-up, connect and Dify's own queue.",
            ["model"],
            buckets=_FIRST_TOKEN_BUCKETS,
            registry=self.registry,
        )
        self.answers_in_flight = self._gauge("gateway_answers_in_flight", "Answers that are asked for and not ended.")
        self.client_disconnects = Counter(
            "gateway_client_disconnects_total",
            "Answers whose client left before the end.",
            ["endpoint"],
            registry=self.registry,
        )

        self.memory = Counter(
            "gateway_memory_total",
            "Turns by what became of the client's history: none, folded, started, continued, branched, healed.",
            ["model", "outcome"],
            registry=self.registry,
        )

        # --- tokens ---
        self.tokens = Counter(
            "gateway_tokens_total",
            "Tokens as Dify counted them, by kind: prompt, completion, or unsplit where Dify tells only a total.",
            ["model", "kind"],
            registry=self.registry,
        )
        self.output_tokens_per_second = Histogram(
            "gateway_output_tokens_per_second",
            "Completion tokens of one answer (Dify's count) by the seconds from its first to its last text.",
            ["model"],
            buckets=_RATE_BUCKETS,
            registry=self.registry,
        )

        # --- Dify ---
        self.stop_calls = Counter(
            "gateway_stop_calls_total",
            "Runs that Dify was told to stop, by what became of the call: ok, refused, failed.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("ok", "refused", "failed"):
            self.stop_calls.labels(outcome)
        self.followed_runs = Counter(
            "gateway_followed_runs_total",
            "Workflow runs whose stream broke, by whether they could be taken up again: ok, failed.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("ok", "failed"):
            self.followed_runs.labels(outcome)
        self.upstream_streams = self._gauge("gateway_upstream_streams", "Answers in flight per Dify host.", "upstream")
        self.upstream_waiting = self._gauge(
            "gateway_upstream_waiting", "Requests that wait for a slot, per Dify host.", "upstream"
        )
        self.circuit_open = self._gauge(
            "gateway_upstream_circuit_open", "0 closed, 1 open, 0.5 while one probe is out, per Dify host.", "upstream"
        )
        self.idempotent_requests = Counter(
            "gateway_idempotent_requests_total",
            "Requests with an Idempotency-Key and retries of SDKs, by outcome; redis_failed: not shared with others.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in ("started", "joined_running", "joined_finished", "refused", "redis_failed"):
            self.idempotent_requests.labels(outcome)
        self.unknown_events = Counter(
            "gateway_dify_unknown_events_total",
            "Events of Dify that this version does not know and skipped.",
            registry=self.registry,
        )
        self.app_up = self._gauge(
            "gateway_app_up", "1 if Dify described the app at the last refresh, else 0, by model or key number.", "app"
        )
        self.apps = self._gauge("gateway_apps", "Apps that answer under a model id.")
        self.refreshes = Counter(
            "gateway_app_refreshes_total",
            "Looks at all apps, by result: ok, partial (some key failed), failed (every key failed).",
            ["result"],
            registry=self.registry,
        )
        for result in ("ok", "partial", "failed"):
            self.refreshes.labels(result)
        self.last_refresh = self._gauge(
            "gateway_app_refresh_timestamp_seconds", "Unix time of the last look at all apps that had an answer."
        )
        self.loop_lag = self._gauge("gateway_event_loop_lag_seconds", "Worst lateness of the loop in the last second.")
        self.pacing_interval = self._gauge(
            "gateway_pacing_interval_seconds",
            "Time between two paced pieces of text; longer under load, 0 while it is off.",
        )
        self.ready = self._gauge("gateway_ready", "1 while the gateway can answer requests.")
        self.reloads = Counter(
            "gateway_reloads_total",
            "Reloads of the configuration by result: ok, failed.",
            ["result"],
            registry=self.registry,
        )
        for result in ("ok", "failed"):
            self.reloads.labels(result)

    def _gauge(self, name: str, meaning: str, *labels: str) -> Gauge:
        return Gauge(name, meaning, labels, registry=self.registry)


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
