"""What a request's marks become, under a clock that the test holds."""

from __future__ import annotations

import pytest

from gateway.errors import RunFailed
from gateway.exchange.answer import AnswerEvent, Failed, Finished, ReasoningDelta, Started, TextDelta, Usage
from gateway.exchange.memory.thread import Outcome
from gateway.observability.metrics import Metrics
from gateway.observability.request_timeline import CLIENT_LEFT, RequestTimeline


class Request:
    """A timeline whose clock starts at 1,000 s, and the metrics that it is counted in."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timeline = RequestTimeline(lambda: self.now, "chat", self.now)
        self.timeline.model = "Demo"
        self.metrics = Metrics()

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
    request.at(0.4).asked(0.025, 1000.1, 1000.4)
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
        "dify_first_byte_seconds": 0.3,
        "memory": "continued",
        "prompt_tokens": 10,
        "completion_tokens": 40,
    }
    assert request.counted(200) == pytest.approx(
        {
            "requests_total chat Demo 200": 1,
            "request_duration_seconds_count chat Demo": 1,
            "request_duration_seconds_sum chat Demo": 3.5,
            "time_to_first_token_seconds_count chat Demo": 1,
            "time_to_first_token_seconds_sum chat Demo": 1.0,
            "queue_wait_seconds_count Demo": 1,
            "queue_wait_seconds_sum Demo": 0.025,
            "memory_total Demo continued": 1,
            "upstream_first_byte_seconds_count Demo": 1,
            "upstream_first_byte_seconds_sum Demo": 0.3,
            "tokens_total Demo prompt": 10,
            "tokens_total Demo completion": 40,
            "output_tokens_per_second_count Demo": 1,
            "output_tokens_per_second_sum Demo": 20.0,  # 40 tokens from 1 s to 3 s
        }
    )


def test_a_request_that_never_reached_dify() -> None:
    request = Request()
    request.timeline = RequestTimeline(lambda: request.now, "chat", request.now)
    request.at(0.002).error_code = "invalid_json"
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
        }
    )


def test_a_dify_that_did_not_answer() -> None:
    request = Request()
    request.at(60.1).asked(0.0, 1000.1, None)
    request.at(60.1).error_code = "upstream_first_byte_timeout"
    assert "dify_first_byte_seconds" not in request.timeline.fields(504)
    assert request.timeline.fields(504)["queue_seconds"] == 0
    counted = request.counted(504)
    assert counted["queue_wait_seconds_count Demo"] == 1
    assert "upstream_first_byte_seconds_count Demo" not in counted
    assert counted["errors_total chat upstream_first_byte_timeout"] == 1


def test_the_last_question_counts_where_a_conversation_had_to_be_healed() -> None:
    request = Request()
    request.at(0.3).asked(0.1, 1000.1, None)
    request.at(0.8).asked(0.0, 1000.3, 1000.8)
    request.timeline.memory = Outcome.HEALED
    counted = request.counted(200)
    assert counted["upstream_first_byte_seconds_sum Demo"] == pytest.approx(0.5)
    assert counted["queue_wait_seconds_count Demo"] == 1
    assert counted["memory_total Demo healed"] == 1


def test_a_client_that_left() -> None:
    request = Request()
    answer(request, (0.5, Started("task")), (1.0, TextDelta("a")))
    request.at(2.0).client_left = True
    assert request.timeline.fields(200)["status"] == CLIENT_LEFT == 499
    counted = request.counted(200)
    assert counted["requests_total chat Demo 499"] == 1
    assert counted["client_disconnects_total chat"] == 1
    assert "requests_total chat Demo 200" not in counted


def test_a_failure_in_the_stream_is_an_error_with_status_200() -> None:
    request = Request()
    answer(request, (0.5, TextDelta("a")), (1.0, Failed(RunFailed("…"))))
    request.timeline.error_code = "run_failed"
    assert request.timeline.usage is None
    counted = request.counted(200)
    assert counted["requests_total chat Demo 200"] == 1
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
