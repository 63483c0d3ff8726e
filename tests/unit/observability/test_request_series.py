"""Each count goes where its name says, and nothing is told of what never happened."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gateway.observability.children import Count
from gateway.observability.metrics import Metrics
from gateway.observability.request_series import RequestSeries

SERIES: dict[str, Callable[[RequestSeries], Count]] = {
    "requests_total chat Demo 200": lambda series: series.requests[200],
    "memory_total Demo healed": lambda series: series.memory["healed"],
    "tokens_total Demo prompt": lambda series: series.tokens["prompt"],
    "price_total Demo USD": lambda series: series.price["USD"],
    "own_time_seconds_sum queue": lambda series: series.own_time["queue"],
    "upstream_time_seconds_sum http://dify connect": lambda series: series.upstream_time["connect"],
    "request_duration_seconds_sum chat Demo": lambda series: series.duration,
    "time_to_first_token_seconds_sum chat Demo": lambda series: series.first_token,
    "inter_chunk_seconds_sum Demo": lambda series: series.gap,
    "output_tokens_per_second_sum Demo": lambda series: series.tokens_per_second,
}


def told(metrics: Metrics) -> dict[str, float]:
    """The gateway's own totals; the name says labels too."""
    return {
        " ".join([sample.name.removeprefix("gateway_"), *sample.labels.values()]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("gateway_") and sample.name.endswith(("_total", "_sum"))
    }


@pytest.mark.parametrize("name", SERIES)
def test_a_series_is_what_its_name_says(name: str) -> None:
    metrics = Metrics()
    before = told(metrics)
    series = metrics.request_series["chat", "Demo", "http://dify"]
    assert told(metrics) == before
    SERIES[name](series)(0.5)
    SERIES[name](series)(1)
    assert told(metrics) == before | {name: 1.5}


def test_one_look_up_finds_all_of_a_models_series_again() -> None:
    metrics = Metrics()
    found = metrics.request_series["chat", "Demo", "http://dify"]
    assert metrics.request_series["chat", "Demo", "http://dify"] is found
    assert metrics.request_series["files", "Demo", "http://dify"] is not found
