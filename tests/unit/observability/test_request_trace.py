"""The debug trace: for whom it is written, and what it never shows."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from gateway.observability.logs import FORMATTERS
from gateway.observability.request_trace import RequestTrace, is_traced, redacted
from gateway.sse import SSEDecoder

TRACES = Path(__file__).parents[2] / "traces"


@pytest.mark.parametrize(
    ("wanted", "traced"),
    [(set(), False), ({"req_1"}, True), ({"chat-ui"}, True), ({"req_2", "key-1"}, False), ({"*"}, True)],
)
def test_for_whom(wanted: set[str], traced: bool) -> None:
    assert is_traced(wanted, "req_1", None, "chat-ui") is traced


def test_texts_become_lengths_and_the_rest_stays() -> None:
    event = {
        "event": "node_finished",
        "task_id": "t-1",
        "created_at": 17,
        "answer": "",
        "data": {
            "id": "n",
            "data": {"output": {"tool_call_input": {"message": "Ada"}}},
            "inputs": {"name": "Ada", "title": "Countess", "files": [{"id": "f"}]},
            "outputs": {"text": ["Hi Ada", None, 1.5], "message": "Hi Ada"},
            "status": "succeeded",
        },
    }
    assert redacted(event) == {
        "event": "node_finished",
        "task_id": "t-1",
        "created_at": 17,
        "answer": "",
        "data": {
            "id": "n",
            "data": {"output": {"tool_call_input": {"message": "<3 characters>"}}},
            "inputs": {"name": "<3 characters>", "title": "<8 characters>", "files": [{"id": "<1 characters>"}]},
            "outputs": {"text": ["<6 characters>", None, 1.5], "message": "<6 characters>"},
            "status": "succeeded",
        },
    }


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(FORMATTERS["json"]().format(record)) for record in caplog.records]


@pytest.mark.parametrize("with_text", [False, True])
def test_what_is_written(with_text: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trace = RequestTrace("req_1", with_text=with_text)
    body = {"query": "Is sk-proj-SECRETsecret0123 good?", "inputs": {"api_key": "SECRETsecret0123456789"}, "user": "u"}
    trace.asked("GET", "/messages?user=ada%40example.org", None)
    trace.asked("POST", "/chat-messages", json.dumps(body).encode())
    trace.heard(b'{"event": "message", "answer": "Yes."}')
    trace.heard(b"not JSON")
    told = lines(caplog)
    assert [line["message"] for line in told] == ["Dify is asked"] * 2 + ["Dify answers"] * 2
    assert {line["request_id"] for line in told} == {"req_1"}
    assert told[0]["call"] == "GET /messages"
    assert ("Yes." in told[2]["data"]) is with_text
    assert told[3]["data"] == "<8 bytes that are no JSON>"
    assert "SECRET" not in json.dumps(told)
    assert ("good?" in told[1]["data"]) is with_text


def test_a_recorded_answer_is_told_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trace = RequestTrace("req_1", with_text=False)
    path = next(iter(sorted((TRACES / "1.12.1").glob("chatflow*.sse"))))
    decoder = SSEDecoder()
    for event in decoder.feed(path.read_bytes()) + decoder.finish():
        trace.heard(event)
    told = lines(caplog)
    assert len(told) > 5
    assert {json.loads(line["data"])["event"] for line in told} > {"workflow_started", "node_finished"}
    answers = [json.loads(line["data"]).get("answer", "") for line in told]
    assert all(answer == "" or answer.endswith(" characters>") for answer in answers)


def test_a_long_line_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    RequestTrace("req_1", with_text=True).heard(json.dumps({"answer": "x" * 20_000}).encode())
    assert len(lines(caplog)[0]["data"]) < 8300
