"""The series of labelled metrics, found and counted quickly: `labels` and `observe` cost ten times a look-up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, TypeVar

from prometheus_client import Counter, Histogram

Metric = TypeVar("Metric", Counter, Histogram)
Observe = Callable[[float], None]


class Children:
    """The series that were used so far, as many as the labels have values: bounded, like those."""

    def __init__(self) -> None:
        self._children: dict[tuple[Any, ...], Any] = {}
        self._observers: dict[tuple[Any, ...], Observe] = {}

    def child(self, metric: Metric, *labels: object) -> Metric:
        """`metric.labels(*labels)`."""
        key = (metric, *labels)
        found: Metric | None = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return found

    def observer(self, histogram: Histogram, *labels: object) -> Observe:
        """The series' `observe`, without exemplars, checks and locks: only the loop's thread counts and scrapes."""
        key = (histogram, *labels)
        found = self._observers.get(key)
        if found is None:
            found = self._observers[key] = _observer(self.child(histogram, *labels))
        return found


def _observer(series: Histogram) -> Observe:
    bounds, buckets, total = series._upper_bounds, series._buckets, series._sum

    def observe(value: float) -> None:
        buckets[bisect_left(bounds, value)]._value += 1
        total._value += value

    return observe
