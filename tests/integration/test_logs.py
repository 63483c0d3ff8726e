"""What the log says of a request: enough to find and explain it, and nothing of what was said."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.observability.logs import FORMATTERS
from tests.integration.conftest import Gateway, StartGateway
from tests.integration.test_process import environ_with
from tests.simulator.apps import DEMO_CHAT
from tests.simulator.server import Simulator

KEY = "sk-SECRETsecret0123456789"
SETTINGS = {"VALID_API_KEYS": f"{KEY}?name=chat-ui,sk-other-SECRETsecret", "TRUSTED_PROXIES": "127.0.0.1"}


def lines(caplog: pytest.LogCaptureFixture, logger: str) -> list[dict[str, Any]]:
    found = [record for record in caplog.records if record.name == logger]
    return [json.loads(FORMATTERS["json"]().format(record)) for record in found]


async def ask(gateway: Gateway, text: str = "Hello Ada", key: str = KEY, **headers: str) -> str:
    """Ask one thing, streamed; the request's id."""
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {key}", **headers}
    answer = await gateway.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200
    assert "[DONE]" in answer.text
    return answer.headers["x-request-id"]


@pytest.fixture(autouse=True)
def _capture(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_one_line_tells_of_a_request(
    start_gateway: StartGateway, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(simulator, **SETTINGS, CONVERSATION_MEMORY_MODE="2")
    await ask(gateway, "[[n=3]] SECRETwords", **{"X-Forwarded-For": "192.0.2.7", "X-Request-ID": "from-the-balancer"})
    (line,) = lines(caplog, "gateway.access")
    told = {name: line[name] for name in ("request_id", "address", "client", "endpoint", "model", "status", "memory")}
    assert told == {
        "request_id": "from-the-balancer",
        "address": "192.0.2.7",
        "client": "chat-ui",
        "endpoint": "chat.completions",
        "model": "Demo Chatbot",
        "status": 200,
        "memory": "started",
    }
    assert line["total_tokens"] == line["prompt_tokens"] + line["completion_tokens"] > 0
    assert 0 < line["dify_connect_seconds"] + line["first_token_seconds"] <= 2 * line["seconds"]
    assert line["dify_seconds"] <= line["seconds"]
    assert "SECRET" not in caplog.text + json.dumps(line)
    assert DEMO_CHAT.key not in caplog.text + json.dumps(line)
    assert lines(caplog, "gateway.trace") == []


async def test_nobody_else_says_who_asks(
    start_gateway: StartGateway, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(simulator, **SETTINGS)
    other = await start_gateway(simulator, VALID_API_KEYS=SETTINGS["VALID_API_KEYS"])
    lies = {"X-Forwarded-For": "192.0.2.7", "X-Request-ID": "from-the-client"}
    await ask(other, key="sk-other-SECRETsecret", **lies)
    await gateway.http.get("/v1/models", headers=lies)  # without a key
    untrusted, refused = lines(caplog, "gateway.access")
    assert untrusted["address"] == "127.0.0.1"
    assert untrusted["request_id"].startswith("req_")
    assert re.fullmatch("key-[0-9a-f]{8}", untrusted["client"])
    assert refused["address"] == "192.0.2.7"
    assert refused["error"] == "missing_api_key"
    assert "client" not in refused


async def test_a_client_can_be_watched(
    start_gateway: StartGateway, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(simulator, **SETTINGS, TRACE_REQUESTS="chat-ui")
    request_id = await ask(gateway, f"[[n=4]] the key is {KEY}")
    await ask(gateway, key="sk-other-SECRETsecret")
    trace = lines(caplog, "gateway.trace")
    assert {line["request_id"] for line in trace} == {request_id}
    client, question, *answers = trace
    assert client["message"] == "client asks"
    assert question["call"] == "POST /chat-messages"
    asked = json.loads(question["data"])
    assert re.fullmatch(r"<\d+ characters>", asked["query"])
    assert asked["response_mode"] == "streaming"
    events = [json.loads(line["data"])["event"] for line in answers]
    assert events[0] == "message"
    assert events[-1] == "message_end"
    assert "SECRET" not in caplog.text + json.dumps(trace)
    assert DEMO_CHAT.key not in json.dumps(trace)


async def test_a_request_can_be_watched_with_its_words(
    start_gateway: StartGateway, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(simulator, **SETTINGS, TRACE_REQUESTS="watch-me-1", TRACE_TEXT="true")
    await ask(gateway, "not this one")
    await ask(gateway, f"[[n=4]] the key is {KEY}", **{"X-Request-ID": "watch-me-1"})
    trace = lines(caplog, "gateway.trace")
    assert {line["request_id"] for line in trace} == {"watch-me-1"}
    assert "the key is sk-…" in json.loads(trace[1]["data"])["query"]
    assert "".join(json.loads(line["data"]).get("answer", "") for line in trace[2:]).strip() == "w1 w2 w3 w4"


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_journal_gets_priorities_and_no_dates(form: str, tmp_path: Path) -> None:
    journal, end = socket.socketpair()
    with journal, end:
        status = os.fstat(end.fileno())
        environ = {
            "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
            "DIFY_API_KEYS": "app-of-a-dify-that-is-not-there",
            "DIFY_API_BASE": "http://127.0.0.1:9/v1",
            "LOG_FORMAT": form,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"], cwd=tmp_path, env=environ_with(environ), stderr=end.fileno()
        )
        try:
            journal.settimeout(20)
            text = ""
            while "listens on" not in text:
                text += journal.recv(65536).decode()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    said = text.splitlines()
    assert all(re.match(r"<[2-7]>(\{|[A-Z]+ gateway)", line) for line in said), said
    assert [line[:3] for line in said if "listens on" in line] == ["<6>"]
    assert [line[:3] for line in said if "app refresh failed" in line] == ["<4>"]
