"""Counting quickly counts what counting does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gateway.observability.children import Children


@given(st.lists(st.floats(0, 20) | st.sampled_from([0.1, 0.5, 1.0, 10.0]), max_size=20))
def test_a_quick_observation_is_an_observation(values: list[float]) -> None:
    quick, plain = (CollectorRegistry(), CollectorRegistry())
    one, two = (Histogram("seconds", "?", ["model"], buckets=(0.1, 0.5, 1, 10), registry=r) for r in (quick, plain))
    observe = Children().observer(one, "a")
    two.labels("a")
    for value in values:
        observe(value)
        two.labels("a").observe(value)
    assert generate_latest(quick) == generate_latest(plain)


def test_a_series_is_found_by_its_labels() -> None:
    counter = Counter("things", "?", ["kind", "code"], registry=CollectorRegistry())
    children = Children()
    children.child(counter, "a", 200).inc()
    children.child(counter, "a", 200).inc(2)
    children.child(counter, "b", 200).inc()
    assert children.child(counter, "a", 200) is counter.labels("a", "200")
    assert counter.labels("a", "200")._value.get() == 3
    assert counter.labels("b", "200")._value.get() == 1
