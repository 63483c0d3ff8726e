"""What a request's marks become, under a clock that the test holds."""

from __future__ import annotations

import pytest
from prometheus_client.metrics import _validate_exemplar

from gateway.errors import (
    GatewayError,
    InternalError,
    InvalidClientKey,
    InvalidRequest,
    ModelNotFound,
    RunFailed,
    ShuttingDown,
    UpstreamBusy,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from gateway.exchange.answer import AnswerEvent, Failed, Finished, ReasoningDelta, Started, TextDelta, Usage
from gateway.exchange.memory.thread import Outcome
from gateway.observability.metrics import REJECTION_REASONS, UPSTREAM_STAGES, Metrics
from gateway.observability.request_timeline import CLIENT_LEFT, RequestTimeline
from gateway.observability.trace_context import TraceParent


class Request:
    """A timeline whose clock starts at 1,000 s, and the metrics that it is counted in."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timeline = RequestTimeline(lambda: self.now, "chat", self.now)
        self.metrics = Metrics()
        self.timeline.chose("Demo", "http://dify", self.metrics)

    def at(self, seconds: float) -> RequestTimeline:
        """The timeline, so many seconds after the arrival."""
        self.now = 1000.0 + seconds
        return self.timeline

    def counted(self, status: int) -> dict[str, float]:
        """All of the request's samples that are not zero, without buckets; the name says labels too."""
        self.timeline.to_metrics(self.metrics, status)
        return {
            " ".join([sample.name.removeprefix("gateway_"), *sample.labels.values()]): sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name.startswith("gateway_")
            and not sample.name.endswith(("_bucket", "_info", "_created"))
            and sample.value
        }


def answer(request: Request, *events: tuple[float, AnswerEvent]) -> None:
    request.at(0.4).asked(0.025, 1000.1, 1000.4, 0.004)
    for seconds, event in events:
        request.at(seconds).received([event])


def test_a_whole_answer() -> None:
    request = Request()
    answer(
        request,
        (0.5, Started("task")),
        (1.0, ReasoningDelta("hm")),
        (1.5, TextDelta("a")),
        (3.0, TextDelta("b")),
        (3.25, Finished(usage=Usage(10, 40, 50))),
    )
    request.at(3.5).memory = Outcome.CONTINUED
    assert request.timeline.fields(200) == {
        "endpoint": "chat",
        "model": "Demo",
        "status": 200,
        "seconds": 3.5,
        "first_token_seconds": 1.0,
        "queue_seconds": 0.025,
        "dify_connect_seconds": 0.004,
        "dify_first_byte_seconds": 0.3,
        "dify_seconds": 3.15,
        "memory": "continued",
        "prompt_tokens": 10,
        "completion_tokens": 40,
        "total_tokens": 50,
    }
    assert request.counted(200) == pytest.approx(
        {
            "requests_total chat Demo 200": 1,
            "request_duration_seconds_count chat Demo": 1,
            "request_duration_seconds_sum chat Demo": 3.5,
            "time_to_first_token_seconds_count chat Demo": 1,
            "time_to_first_token_seconds_sum chat Demo": 1.0,
            "inter_chunk_seconds_count Demo": 2,
            "inter_chunk_seconds_sum Demo": 2.0,
            "memory_total Demo continued": 1,
            "own_time_seconds_count prepare": 1,
            "own_time_seconds_sum prepare": 0.075,
            "own_time_seconds_count queue": 1,
            "own_time_seconds_sum queue": 0.025,
            "upstream_time_seconds_count http://dify connect": 1,
            "upstream_time_seconds_sum http://dify connect": 0.004,
            "upstream_time_seconds_count http://dify first_byte": 1,
            "upstream_time_seconds_sum http://dify first_byte": 0.3,
            "upstream_time_seconds_count http://dify first_text": 1,
            "upstream_time_seconds_sum http://dify first_text": 0.9,
            "tokens_total Demo prompt": 10,
            "tokens_total Demo completion": 40,
            "output_tokens_per_second_count Demo": 1,
            "output_tokens_per_second_sum Demo": 20.0,  # 40 tokens from 1 s to 3 s
        }
    )


def test_a_request_that_never_reached_dify() -> None:
    request = Request()
    request.timeline = RequestTimeline(lambda: request.now, "chat", request.now)
    request.at(0.002).error = InvalidRequest("…", code="invalid_json")
    assert request.timeline.fields(400) == {
        "endpoint": "chat",
        "model": "other",
        "status": 400,
        "error": "invalid_json",
        "seconds": 0.002,
    }
    assert request.counted(400) == pytest.approx(
        {
            "requests_total chat other 400": 1,
            "request_duration_seconds_count chat other": 1,
            "request_duration_seconds_sum chat other": 0.002,
            "errors_total chat invalid_json": 1,
            "rejected_total request": 1,
        }
    )


def test_a_dify_that_did_not_answer() -> None:
    request = Request()
    request.at(60.1).asked(0.0, 1000.1, None)
    request.at(60.1).error = UpstreamTimeout("…", code="upstream_first_byte_timeout")
    assert "dify_first_byte_seconds" not in request.timeline.fields(504)
    assert request.timeline.fields(504)["queue_seconds"] == 0
    counted = request.counted(504)
    assert counted["own_time_seconds_count queue"] == 1
    assert "upstream_time_seconds_count http://dify first_byte" not in counted
    assert not [name for name in counted if name.startswith("rejected")]  # Dify was asked
    assert counted["errors_total chat upstream_first_byte_timeout"] == 1


def test_the_last_question_counts_where_a_conversation_had_to_be_healed() -> None:
    request = Request()
    request.at(0.3).asked(0.1, 1000.1, None)
    request.at(0.8).asked(0.0, 1000.3, 1000.8)
    request.timeline.memory = Outcome.HEALED
    counted = request.counted(200)
    assert counted["upstream_time_seconds_sum http://dify first_byte"] == pytest.approx(0.5)
    assert counted["own_time_seconds_count queue"] == 1
    assert counted["memory_total Demo healed"] == 1


def test_what_the_gateway_adds_is_told_apart_from_dify() -> None:
    request = Request()
    request.timeline.upload_seconds = 0.04
    request.at(0.3).asked(0.1, 1000.25, 1000.3, 0.01)
    request.timeline.first_event_at = 1000.35
    request.at(0.5).received([TextDelta("a")])
    request.timeline.first_write_at = 1000.502
    request.at(2.0).received([Finished()])
    request.timeline.paced_until = 1002.2
    counted = {name.partition("_seconds_sum ")[2]: value for name, value in request.counted(200).items()}
    assert {stage: counted[stage] for stage in ("prepare", "queue", "first_write", "pacing")} == pytest.approx(
        {"prepare": 0.11, "queue": 0.1, "first_write": 0.002, "pacing": 0.2}
    )
    upstream = {stage: counted[f"http://dify {stage}"] for stage in UPSTREAM_STAGES}
    told = {"upload": 0.04, "connect": 0.01, "first_byte": 0.05, "first_event": 0.1, "first_text": 0.25}
    assert upstream == pytest.approx(told)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidClientKey("…", code="missing_api_key"), "client_key"),
        (ModelNotFound("…"), "model"),
        (UpstreamBusy("…"), "queue"),
        (UpstreamUnreachable("…", code="upstream_circuit_open"), "circuit"),
        (ShuttingDown("…"), "draining"),
        (InvalidRequest("…", code="invalid_type"), "request"),
        (InternalError("…"), "fault"),
    ],
)
def test_a_refusal_has_a_reason(error: GatewayError, reason: str) -> None:
    request = Request()
    request.timeline.error = error
    assert reason in REJECTION_REASONS
    assert request.counted(error.status)[f"rejected_total {reason}"] == 1


def test_the_request_can_be_found_from_its_samples() -> None:
    request = Request()
    request.timeline.request_id = "req_abc"
    request.timeline.error = RunFailed("…")
    answer(request, (1.0, TextDelta("a")))
    request.counted(200)
    found = {
        sample.name
        for family in request.metrics.registry.collect()
        for sample in family.samples
        if sample.exemplar and sample.exemplar.labels == {"request_id": "req_abc"}
    }
    assert found == {
        "gateway_requests_total",
        "gateway_errors_total",
        "gateway_request_duration_seconds_bucket",
        "gateway_time_to_first_token_seconds_bucket",
    }


def test_the_longest_names_fit_an_exemplar() -> None:
    request = Request()
    request.timeline.request_id = "x" * 64
    request.timeline.traceparent = TraceParent("0" * 31 + "1", "1" * 16)
    request.timeline.to_metrics(request.metrics, 200)
    (exemplar,) = {
        tuple(sample.exemplar.labels.items())
        for family in request.metrics.registry.collect()
        for sample in family.samples
        if sample.exemplar
    }
    assert [name for name, _ in exemplar] == ["request_id", "trace_id"]
    _validate_exemplar(dict(exemplar))  # nothing checks it where it is counted


def test_a_client_that_left() -> None:
    request = Request()
    answer(request, (0.5, Started("task")), (1.0, TextDelta("a")))
    request.at(2.0).client_left = True
    assert request.timeline.fields(200)["status"] == CLIENT_LEFT == 499
    counted = request.counted(200)
    assert counted["requests_total chat Demo 499"] == 1
    assert counted["client_disconnects_total chat"] == 1
    assert "requests_total chat Demo 200" not in counted


def test_a_failure_in_the_stream_is_counted_by_its_status() -> None:
    request = Request()
    answer(request, (0.5, TextDelta("a")), (1.0, Failed(RunFailed("…"))))
    request.timeline.error = RunFailed("…")
    assert request.timeline.usage is None
    counted = request.counted(200)
    assert counted["requests_total chat Demo 502"] == 1  # or nobody would see which app fails
    assert request.timeline.fields(200)["status"] == 200
    assert counted["errors_total chat run_failed"] == 1


@pytest.mark.parametrize("events", [[], [Started("task")], [Finished(text="all at once")]])
def test_what_is_no_token_starts_no_token_clock(events: list[AnswerEvent]) -> None:
    request = Request()
    request.at(1.0).received(events)
    assert request.timeline.first_token_at is None
    assert "time_to_first_token_seconds_count chat Demo" not in request.counted(200)


def test_one_batch_may_hold_the_whole_answer() -> None:
    request = Request()
    request.at(2.0).received([Started("task"), TextDelta("a"), Finished(usage=Usage(1, 5, 6))])
    counted = request.counted(200)
    assert counted["time_to_first_token_seconds_sum chat Demo"] == 2.0
    assert counted["tokens_total Demo completion"] == 5
    assert "output_tokens_per_second_count Demo" not in counted  # no time passed, so there is no rate


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (Usage(10, 40, 50), {"prompt": 10, "completion": 40}),
        (Usage(0, 0, 50), {"unsplit": 50}),
        (Usage(10, 40, 60), {"prompt": 10, "completion": 40, "unsplit": 10}),
        (Usage(10, 40, 0), {"prompt": 10, "completion": 40}),
        (Usage(0, 0, 0), {}),
        (None, {}),
    ],
)
def test_tokens_are_counted_as_dify_told_them(usage: Usage | None, tokens: dict[str, int]) -> None:
    request = Request()
    answer(request, (1.0, TextDelta("a")), (2.0, Finished(usage=usage)))
    counted = {name.split()[-1]: value for name, value in request.counted(200).items() if name.startswith("tokens_")}
    assert counted == tokens


def test_an_answer_that_another_request_has_had_counts_no_tokens_twice() -> None:
    request = Request()
    request.at(0.001).received([TextDelta("all of it"), Finished(usage=Usage(10, 40, 50))])
    request.timeline.replayed = True
    assert request.counted(200) == {
        "requests_total chat Demo 200": 1,
        "request_duration_seconds_count chat Demo": 1,
        "request_duration_seconds_sum chat Demo": pytest.approx(0.001),
    }


@pytest.mark.parametrize(
    ("price", "currency", "label"),
    [
        ("0.000039", "USD", "USD"),
        ("1.5", "RMB", "RMB"),
        ("0", "USD", "USD"),
        ("2", None, "other"),
        ("2", "usd!", "other"),
    ],
)
def test_a_price_is_counted_by_its_currency(price: str, currency: str | None, label: str) -> None:
    request = Request()
    usage = Usage(1, 2, 3, price=price, currency=currency)
    answer(request, (1.0, TextDelta("a")), (2.0, Finished(usage=usage)))
    assert request.counted(200).get(f"price_total Demo {label}", 0.0) == float(price)
