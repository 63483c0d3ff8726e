"""Counting quickly counts what counting does."""

from __future__ import annotations

from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

from gateway.observability.children import Children, counter, observer

NOW = 1_800_000_000.25
VALUES = st.lists(st.floats(0, 20) | st.sampled_from([0.1, 0.5, 1.0, 10.0]), max_size=20)
EXEMPLARS = st.none() | st.sampled_from([{"request_id": "req_1"}, {"request_id": 'x"y', "trace_id": "0" * 32}])


@given(VALUES, EXEMPLARS)
def test_a_quick_observation_is_an_observation(values: list[float], exemplar: dict[str, str] | None) -> None:
    quick, plain = (CollectorRegistry(), CollectorRegistry())
    one, two = (Histogram("seconds", "?", ["model"], buckets=(0.1, 0.5, 1, 10), registry=r) for r in (quick, plain))
    observe = observer(one.labels("a"))
    two.labels("a")
    with mock.patch("time.time", return_value=NOW):
        for value in values:
            observe(value)
            observe(value, exemplar, NOW)
            two.labels("a").observe(value)
            two.labels("a").observe(value, exemplar)
    assert _exposed(quick) == _exposed(plain)


@given(VALUES, EXEMPLARS)
def test_a_quick_count_is_a_count(values: list[float], exemplar: dict[str, str] | None) -> None:
    quick, plain = (CollectorRegistry(), CollectorRegistry())
    one, two = (Counter("things", "?", ["kind"], registry=registry) for registry in (quick, plain))
    inc = counter(one.labels("a"))
    two.labels("a")
    with mock.patch("time.time", return_value=NOW):
        for value in values:
            inc(value)
            inc(value, exemplar, NOW)
            two.labels("a").inc(value)
            two.labels("a").inc(value, exemplar)
    assert _exposed(quick) == _exposed(plain)


def test_a_child_is_made_once_and_when_it_is_used() -> None:
    things = Counter("things", "?", ["code"], registry=CollectorRegistry())
    children = Children(lambda code: counter(things.labels(code)))
    assert not things._metrics
    children[200](1)
    children[200](2)
    children[404](1)
    assert things.labels("200")._value.get() == 3
    assert things.labels("404")._value.get() == 1


def _exposed(registry: CollectorRegistry) -> list[str]:
    """What OpenMetrics shows, but when the series were made."""
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]
