"""Metrics keep to Prometheus' conventions, and no label is anything that a client can invent."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway import __version__
from gateway.exchange.memory.thread import Outcome
from gateway.observability.metrics import Metrics, metrics_table

METRICS = {
    name: collector for name, collector in vars(Metrics()).items() if isinstance(collector, Counter | Gauge | Histogram)
}
SAMPLE_LABELS = {"endpoint": "chat", "model": "Demo", "code": "200", "kind": "prompt", "outcome": "ok", "result": "ok"}
LABELS = {*SAMPLE_LABELS, "version", "tornado", "libcurl", "mode", "upstream", "stage", "reason", "currency", "problem"}

# What a name may end with when it counts nothing: a base unit, or a state that has none.
UNITS = (
    "_seconds",
    "_bytes",
    "_per_second",
    "_info",
    "_in_flight",
    "_streams",
    "_waiting",
    "_circuit_open",
    "_up",
    "_apps",
    "_ready",
    "_draining",
)


@pytest.mark.parametrize("collector", METRICS.values(), ids=METRICS)
def test_a_name_tells_the_unit_and_a_help_the_meaning(collector: Counter | Gauge | Histogram) -> None:
    family = next(iter(collector.describe()))
    assert re.fullmatch(r"gateway(_[a-z]+)+", family.name)
    assert re.fullmatch(r"[A-Z0-9].{10,}\.", family.documentation)
    if family.type == "counter":
        names = {sample.name for metric in collector.collect() for sample in metric.samples}
        assert names <= {f"{family.name}_total"}
    else:
        assert family.name.endswith(UNITS)
        assert not family.name.endswith("_total")


@pytest.mark.parametrize("collector", METRICS.values(), ids=METRICS)
def test_labels_are_few_and_bounded(collector: Counter | Gauge | Histogram) -> None:
    labels = collector._labelnames
    assert set(labels) <= LABELS
    assert len(labels) <= 3


def test_buckets_rise() -> None:
    for collector in METRICS.values():
        if isinstance(collector, Histogram):
            buckets = collector._kwargs["buckets"]
            assert list(buckets) == sorted(set(buckets))
            assert 8 <= len(buckets) <= 16


def _filled() -> Metrics:
    """Every series has a sample."""
    metrics = Metrics()
    for collector in vars(metrics).values():
        if isinstance(collector, Counter | Gauge | Histogram):
            labels = {name: SAMPLE_LABELS.get(name, "x") for name in collector._labelnames}
            child = collector.labels(**labels) if labels else collector
            child.observe(1) if isinstance(child, Histogram) else child.inc()
    return metrics


@pytest.fixture(params=["text", "openmetrics"])
def families(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """Name and type of everything exposed."""
    registry = _filled().registry
    if request.param == "text":
        found = parse_text(generate_latest(registry).decode())
    else:
        found = parse_openmetrics(generate_openmetrics(registry).decode())
    return {family.name: family.type for family in found}


def test_both_expositions_can_be_parsed(families: dict[str, str]) -> None:
    own = {next(iter(collector.describe())).name for collector in METRICS.values()}
    assert own <= {name.removesuffix("_total") for name in families}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_info"} <= set(families)
    assert not [name for name in families if name.startswith("gateway_") and name.endswith("_created")]


def test_a_failure_counter_is_there_before_the_first_failure() -> None:
    text = generate_latest(Metrics().registry).decode()
    for line in (
        'gateway_rejected_total{reason="draining"} 0.0',
        'gateway_rejected_total{reason="fault"} 0.0',
        'gateway_own_time_seconds_count{stage="queue"} 0.0',
        "gateway_backpressure_pauses_total 0.0",
        "gateway_draining 0.0",
        'gateway_stop_calls_total{outcome="ok"} 0.0',
        'gateway_stop_calls_total{outcome="refused"} 0.0',
        'gateway_stop_calls_total{outcome="failed"} 0.0',
        'gateway_followed_runs_total{outcome="ok"} 0.0',
        'gateway_followed_runs_total{outcome="failed"} 0.0',
        'gateway_idempotent_requests_total{outcome="joined_running"} 0.0',
        'gateway_idempotent_requests_total{outcome="redis_failed"} 0.0',
        'gateway_app_refreshes_total{result="partial"} 0.0',
        'gateway_app_refreshes_total{result="failed"} 0.0',
        'gateway_reloads_total{result="failed"} 0.0',
        "gateway_dify_unknown_events_total 0.0",
        "gateway_ready 0.0",
    ):
        assert line in text.splitlines()
    assert re.search(
        rf'^gateway_build_info\{{libcurl="[\d.]+",tornado="[\d.]+",version="{__version__}"\}} 1.0$', text, re.M
    )


def test_what_can_become_of_a_history_is_told() -> None:
    told = METRICS["memory"]._documentation
    assert told.removesuffix(".").partition(": ")[2].split(", ") == list(Outcome)


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.unknown_events.inc()
    assert one.registry.get_sample_value("gateway_dify_unknown_events_total") == 1
    assert other.registry.get_sample_value("gateway_dify_unknown_events_total") == 0


def test_the_table_has_a_row_for_every_metric() -> None:
    head, line, *rows = metrics_table().splitlines()
    assert (head, line) == ("| metric | type | labels | meaning |", "|---|---|---|---|")
    for row, collector in zip(rows, METRICS.values(), strict=True):
        name, kind, labels, meaning = (cell.strip() for cell in row.strip("|").split("|"))
        family = next(iter(collector.describe()))
        assert name == f"`{family.name}_total`" if kind == "counter" else f"`{family.name}`"
        assert kind == family.type
        assert labels == ", ".join(f"`{label}`" for label in collector._labelnames)
        assert meaning == family.documentation
