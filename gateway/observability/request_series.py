"""Where requests are counted: all series of one endpoint, model and Dify host, found by one look-up a request."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from gateway.observability.children import Children, Count, counter, observer

if TYPE_CHECKING:
    from gateway.observability.metrics import Metrics  # which has these


class RequestSeries:
    """Each series is made when it is first used, as what never happened has no place in a scrape."""

    def __init__(self, metrics: Metrics, endpoint: str, model: str, upstream: str) -> None:
        self._metrics, self._endpoint, self._model = metrics, endpoint, model

        def requests(code: int) -> Count:
            return counter(metrics.requests.labels(endpoint, model, code))

        def memory(outcome: str) -> Count:
            return counter(metrics.memory.labels(model, outcome))

        def tokens(kind: str) -> Count:
            return counter(metrics.tokens.labels(model, kind))

        def price(currency: str) -> Count:
            return counter(metrics.price.labels(model, currency))

        def own_time(stage: str) -> Count:
            return observer(metrics.own_time.labels(stage))

        def upstream_time(stage: str) -> Count:
            return observer(metrics.upstream_time.labels(upstream, stage))

        self.requests = Children(requests)  # by status
        self.memory = Children(memory)  # by outcome
        self.tokens = Children(tokens)  # by kind
        self.price = Children(price)  # by currency
        self.own_time = Children(own_time)  # by stage
        self.upstream_time = Children(upstream_time)  # by stage

    @cached_property
    def duration(self) -> Count:
        return observer(self._metrics.request_duration.labels(self._endpoint, self._model))

    @cached_property
    def first_token(self) -> Count:
        return observer(self._metrics.time_to_first_token.labels(self._endpoint, self._model))

    @cached_property
    def gap(self) -> Count:
        return observer(self._metrics.inter_chunk.labels(self._model))

    @cached_property
    def tokens_per_second(self) -> Count:
        return observer(self._metrics.output_tokens_per_second.labels(self._model))
