"""Dify's failures reach the client as errors: true statuses before the first text, an SSE error after it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.dify_api.answer_reader import AnswerReader
from gateway.exchange.answer import AnswerEvent
from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import until
from tests.simulator.server import Simulator

MODES = ["Demo Chatbot", "Demo Agent", "Demo Chatflow", "Demo Text Generator", "Demo Workflow"]

# what Dify does → status and code for the client
BEFORE_TEXT = {
    "fail=429": (429, "provider_rate_limited"),
    "fail=500": (502, "run_failed"),
    "fail=401": (502, "provider_auth_failed"),
    "fail=503": (503, "provider_unavailable"),
    "fail=timeout": (504, "provider_timeout"),
    "fail=cut failafter=0": (502, "run_failed"),
    "http=limit": (429, "rate_limit_exceeded"),
    "http=429": (429, "rate_limit_exceeded"),
    "http=quota": (429, "insufficient_quota"),
    "http=401": (502, "upstream_key_rejected"),
    "http=403": (502, "upstream_key_rejected"),
    "http=500": (502, "run_failed"),
    "http=502html": (502, "upstream_protocol_error"),
    "http=503html": (503, "upstream_overloaded"),
    "http=504html": (504, "upstream_timeout"),
    "http=524html": (504, "upstream_timeout"),
    "garbage": (502, "upstream_protocol_error"),
    "nostatus": (502, "upstream_truncated"),
}

# A newer Dify passes the error class of its plugin on, which is one for all that is the provider's fault.
NEWER = dict.fromkeys(("fail=500", "fail=timeout", "fail=cut failafter=0"), (503, "provider_unavailable"))

# What may be tried again at once or after Retry-After: Dify did not run.
NOT_RUN = {"http=limit", "http=429", "http=503html"}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16.0"])
async def test_a_failure_before_any_text_is_a_true_status(
    start_simulator: StartSimulator, start_gateway: StartGateway, version: str, stream: bool
) -> None:
    simulator = await start_simulator(version)
    gateway = await start_gateway(simulator)
    got, expected = {}, {}
    for model in MODES:
        for directive, (status, code) in (BEFORE_TEXT | (NEWER if version == "1.16.0" else {})).items():
            response = await gateway.chat(model, f"Hello [[{directive}]]", stream=stream)
            error = response.json()["error"]
            got[model, directive] = (response.status_code, error["code"], response.headers.get("x-should-retry"))
            retry = got[model, directive][2] if directive in NOT_RUN else "false"
            expected[model, directive] = (status, code, retry)
            assert set(error) == {"message", "type", "param", "code"}
            assert response.headers["x-request-id"].startswith("req_")
            waits = status in (429, 503) and code != "insufficient_quota"
            assert ("retry-after" in response.headers) == waits, (model, directive, error)
    assert got == expected


@pytest.mark.parametrize("directive", sorted(NOT_RUN))
async def test_what_did_not_run_may_be_retried(gateway: Gateway, directive: str) -> None:
    response = await gateway.chat("Demo Chatbot", f"Hello [[{directive}]]")
    assert response.headers.get("x-should-retry") in (None, "true")


CUTS = {
    "failafter=3 fail=500": "run_failed",
    "drop=3": "upstream_truncated",
    "rst=3": "upstream_truncated",
    "eof=3": "upstream_truncated",
}


@pytest.mark.parametrize("directive", CUTS)
@pytest.mark.parametrize("model", MODES)
async def test_a_failure_after_text_is_an_error_in_the_stream(gateway: Gateway, model: str, directive: str) -> None:
    response, events = await gateway.stream(model, f"[[n=9 delay=0.02 {directive}]]")
    assert response.status_code == 200
    *chunks, last = map(json.loads, events)
    assert last["error"]["code"] == CUTS[directive]
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert "w3" in "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks)
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)


@pytest.mark.parametrize("directive", CUTS)
@pytest.mark.parametrize("model", MODES)
async def test_half_an_answer_is_no_answer(gateway: Gateway, model: str, directive: str) -> None:
    response = await gateway.chat(model, f"[[n=9 {directive}]]")
    assert response.status_code == 502
    assert response.json()["error"]["code"] == CUTS[directive]
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("directive", "limits", "code"),
    [
        ("hang", {"FIRST_BYTE_TIMEOUT": "0.3", "CONNECT_TIMEOUT": "0.1"}, "upstream_first_byte_timeout"),
        ("n=9 mute=3", {"STREAM_IDLE_TIMEOUT": "0.3"}, "upstream_idle_timeout"),
        ("n=9 stall=3", {"STREAM_STALL_TIMEOUT": "0.5", "STREAM_IDLE_TIMEOUT": "0.4"}, "upstream_stalled"),
        ("n=99 delay=0.2", {"ANSWER_TIMEOUT": "1"}, "answer_timeout"),
    ],
)
async def test_a_silent_dify_is_given_up(
    start_simulator: StartSimulator, start_gateway: StartGateway, directive: str, limits: dict[str, str], code: str
) -> None:
    simulator = await start_simulator(ping_interval=0.1)
    gateway = await start_gateway(simulator, **limits)
    response = await gateway.chat("Demo Chatbot", f"[[{directive}]]")
    assert (response.status_code, response.json()["error"]["code"]) == (504, code)
    assert gateway.services.dify.open_streams == 0
    if directive != "hang":  # its task id was known, so the model was told to stop
        await gateway.services.background.finish(5)
        assert [record.path for record in simulator.requests if record.path.endswith("/stop")]


async def test_nothing_listens_at_difys_address(start_gateway: StartGateway, start_simulator: StartSimulator) -> None:
    simulator = await start_simulator()
    gateway = await start_gateway(simulator)
    await simulator.stop()
    response = await gateway.chat("Demo Chatbot")
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_refused")
    assert response.headers.get("x-should-retry") != "false"  # nothing was sent


async def test_an_error_ends_the_answer_although_dify_keeps_the_socket_open(gateway: Gateway) -> None:
    response = await gateway.chat("Demo Chatflow", "[[errorhang fail=500]]")
    assert response.status_code == 502
    assert gateway.services.dify.open_streams == 0


async def test_a_moderated_answer_says_so(gateway: Gateway) -> None:
    _, events = await gateway.stream("Demo Chatbot", '[[n=3 replace="No."]]')
    assert json.loads(events[-2])["choices"][0]["finish_reason"] == "content_filter"
    whole = (await gateway.chat("Demo Chatbot", '[[n=3 replace="No."]]')).json()["choices"][0]
    assert (whole["message"]["content"], whole["finish_reason"]) == ("No.", "content_filter")


async def test_a_slow_first_text_is_announced_by_comments(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, COMMIT_AFTER="0.2", KEEP_ALIVE_SECONDS="0.1")
    response = await gateway.chat("Demo Chatbot", "[[first=0.8 n=2]]", stream=True)
    assert response.status_code == 200
    frames = [frame for frame in response.text.split("\n\n") if frame]
    assert frames.count(": keep-alive") >= 3
    assert json.loads(frames[0].removeprefix("data: "))["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert frames[-1] == "data: [DONE]"


async def test_a_failure_after_the_commit_is_in_the_stream(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, COMMIT_AFTER="0.1")
    response, events = await gateway.stream("Demo Chatbot", "[[first=0.4 fail=429]]")
    assert response.status_code == 200
    assert json.loads(events[-1])["error"]["code"] == "provider_rate_limited"


@pytest.mark.parametrize("smooth", ["off", "on"])
async def test_a_fault_of_the_gateway_itself_is_no_end_of_a_stream(
    start_gateway: StartGateway,
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    smooth: str,
) -> None:
    gateway = await start_gateway(simulator, SMOOTH_STREAMING=smooth)
    receive = AnswerReader.receive

    def faulty(reader: AnswerReader, data: bytes) -> list[AnswerEvent]:
        if b"w5 " in data:
            raise RuntimeError("a fault")
        return receive(reader, data)

    monkeypatch.setattr(AnswerReader, "receive", faulty)
    response, events = await gateway.stream("Demo Chatbot", "[[n=500 delay=0.02]]")
    assert response.status_code == 200
    assert "w3 " in response.text
    assert json.loads(events[-1])["error"]["code"] == "internal_error"
    await until(lambda: simulator.runs[0].state == "stopped")
    assert any(record.exc_info and "a fault" in str(record.exc_info[1]) for record in caplog.records)


@pytest.mark.parametrize("model", MODES)
async def test_odd_streams_do_not_disturb(gateway: Gateway, model: str) -> None:
    async def text_of(directives: str) -> Any:
        response = await gateway.chat(model, f"[[n=20 {directives}]]")
        assert response.status_code == 200, response.text
        return response.json()["choices"][0]["message"]["content"].rstrip()

    plain = await text_of("")
    for directives in ("split=1", "split=3", "glue=7", "unknown", "tts"):
        assert await text_of(directives) == plain, directives
