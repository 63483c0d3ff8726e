"""The scrape in pieces says what the library would say in one go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from gateway.observability.exposition import content_type, exposition
from gateway.observability.metrics import Metrics

OPENMETRICS = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1"


def busy(apps: int) -> Metrics:
    metrics = Metrics()
    for number in range(apps):
        model = f'Say "{number}"\\\n'
        metrics.requests.labels("chat", model, 200).inc(1, {"request_id": f"req_{number}"})
        metrics.inter_chunk.labels(model).observe(number, {"request_id": f"req_{number}"})
    return metrics


def lines(text: bytes) -> list[bytes]:
    """The document's lines; of what moves between two looks (memory, the garbage collector) only the names."""
    moving = (b"process_", b"python_gc_")
    return [line.partition(b" ")[0] if line.startswith(moving) else line for line in text.splitlines()]


@pytest.mark.parametrize("apps", [0, 1, 7, 40])
@pytest.mark.parametrize(("accept", "whole"), [("", generate_latest), (OPENMETRICS, generate_openmetrics)])
def test_the_pieces_are_the_whole(accept: str, whole: Callable[[CollectorRegistry], bytes], apps: int) -> None:
    metrics = busy(apps)
    assert lines(b"".join(exposition(metrics.registry, accept))) == lines(whole(metrics.registry))


def test_no_piece_is_large() -> None:
    sizes = [piece.count(b"\n") for piece in exposition(busy(200).registry, "")]
    assert max(sizes) <= 102
    assert sum(sizes) > 200 * 17


def test_one_histogram_is_never_torn() -> None:
    metrics = busy(20)
    text = b""
    for piece in exposition(metrics.registry, OPENMETRICS):
        text += piece
        for child in list(metrics.inter_chunk._metrics.values()):
            child.observe(0.5)
    # The parser refuses buckets that fall and counts that are not the last bucket's.
    families = {family.name: family for family in parse_openmetrics(text.decode())}
    assert len(families["gateway_inter_chunk_seconds"].samples) == 20 * 17


def test_exemplars_are_for_those_who_ask_for_openmetrics() -> None:
    metrics = busy(1)
    assert b"req_0" in b"".join(exposition(metrics.registry, OPENMETRICS))
    assert b"req_0" not in b"".join(exposition(metrics.registry, "text/plain"))
    assert content_type(OPENMETRICS).startswith("application/openmetrics-text; version=1.0.0")
    assert content_type("").startswith("text/plain")
    assert content_type("application/openmetrics-text;version=newest").startswith("text/plain")
