"""OpenAI's published schema and the rules of streams judge every body and chunk that the gateway sends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.exchange.memory import zero_width
from tests.conformance.models import ALL_MODELS, CHAT, LIMITED, ODD_NAMES, model
from tests.conformance.rules import Outcome, check_answer
from tests.schemas import validate

TRACES = Path(__file__).parents[1] / "traces"
ROUTES = {"completion": "/v1/completion-messages", "workflow": "/v1/workflows/run"}


def ask(http: httpx.Client, name: str, text: str, **fields: Any) -> Outcome:
    """One question, answered in a schema-proof way."""
    body = {"model": name, "messages": [{"role": "user", "content": text}], **fields}
    response = http.post("/v1/chat/completions", json=body, headers={"Accept-Encoding": "gzip, deflate"})
    include_usage = bool(fields.get("stream_options"))
    return check_answer(response, name, include_usage=include_usage)


# --- every mode and what an app can do --------------------------------------------------------------------------------

SCRIPTS = (
    "n=5",
    "empty",
    "unicode",
    "emoji",
    "u2028",
    "big=100000",
    "tiny=200",
    "think",
    "think=split",
    "reasoning",
    "tool",
    "tool=pretext",
    "file",
    "cite",
    'replace="moderated"',
    "usage=none",
    "usage=zero",
    "fail=500",
    "fail=429 failafter=3",
    "fail=500 errorhang",
    "http=400",
    "http=401",
    "http=limit",
    "http=quota",
    "http=502html",
    "drop=3",
    "eof=3",
    "rst=3",
    "nostatus",
    "garbage",
    "unknown",
    "tts",
    "retry",
    "stopped",
    "partial",
    "paused",
    "split=7",
    "glue=5",
)
# Here Dify takes back text that it has streamed. The gateway's own stream cannot, so the whole answer may differ.
TAKEN_BACK = ('replace="moderated"', "retry")
FILE_ADDRESS = re.compile(r"\(http[^)]*/files/[^)]*\)")  # signed anew for each
TAKES_BACK = re.compile(rb'"event": ?"(message_replace|text_replace|node_retry)"')


def shown(text: str) -> str:
    """What two runs of a script have in common: not a file's address, nor the signed reference to a run's form."""
    return FILE_ADDRESS.sub("(file)", zero_width.strip(text))


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize(("mode", "version"), ALL_MODELS)
def test_an_app_answers_as_the_schema_says_streamed_and_whole(
    http: httpx.Client, mode: str, version: str, script: str
) -> None:
    name, text = model(mode, version), f"Hello [[{script}]]"
    whole = ask(http, name, text)
    streamed = ask(http, name, text, stream=True, stream_options={"include_usage": True})
    assert (streamed.failed, streamed.finish_reason, streamed.usage) == (whole.failed, whole.finish_reason, whole.usage)
    if not whole.failed and script not in TAKEN_BACK:
        assert shown(streamed.text) == shown(whole.text)


@pytest.mark.parametrize(("mode", "version"), ALL_MODELS)
def test_a_stream_has_no_usage_unless_it_was_asked_for(http: httpx.Client, mode: str, version: str) -> None:
    outcome = ask(http, model(mode, version), "[[n=5]]", stream=True)
    assert outcome.text.strip() == "w1 w2 w3 w4 w5"
    assert outcome.finish_reason == "stop"


# --- recordings of real servers ---------------------------------------------------------------------------------------


def recordings() -> list[tuple[str, str]]:
    """Every recorded answer to the call that the gateway makes for an app of the recording's mode: (mode, name)."""
    found = []
    for path in sorted(TRACES.glob("*/*.json")):
        trace = json.loads(path.read_text())
        route = ROUTES.get(trace["mode"], "/v1/chat-messages")
        if trace["mode"] and (trace["request"]["method"], trace["request"]["path"]) == ("POST", route):
            found.append((trace["mode"], f"{path.parent.name}/{path.stem}"))
    return found


def recorded_body(name: str) -> bytes:
    trace = TRACES / f"{name}.json"
    return (trace.parent / json.loads(trace.read_text())["response"]["file"]).read_bytes()


@pytest.mark.parametrize(("mode", "name"), recordings())
def test_a_recorded_answer_becomes_what_the_schema_says(http: httpx.Client, mode: str, name: str) -> None:
    app, text = model(mode, "1.16.0"), f"[[replay={name}]]"
    whole = ask(http, app, text)
    streamed = ask(http, app, text, stream=True, stream_options={"include_usage": True})
    assert (streamed.error, streamed.finish_reason, streamed.usage) == (whole.error, whole.finish_reason, whole.usage)
    if not whole.failed and not TAKES_BACK.search(recorded_body(name)):
        assert streamed.text == whole.text


# --- everything else --------------------------------------------------------------------------------------------------


def test_the_model_list_and_every_model_are_what_the_schema_says(http: httpx.Client) -> None:
    listing = http.get("/v1/models").json()
    validate("ListModelsResponse", listing)
    names = [entry["id"] for entry in listing["data"]]
    assert {*ODD_NAMES, LIMITED, CHAT} < set(names)
    for name in names:
        found = http.get(f"/v1/models/{quote(name, safe='')}").json()
        validate("Model", found)
        assert found["id"] == name


REFUSED = {
    "no body": ("POST", "/v1/chat/completions", b"", 400),
    "no JSON": ("POST", "/v1/chat/completions", b"{", 400),
    "no object": ("POST", "/v1/chat/completions", b"[]", 400),
    "no model": ("POST", "/v1/chat/completions", b'{"messages": []}', 400),
    "no such model": (
        "POST",
        "/v1/chat/completions",
        b'{"model": "x", "messages": [{"role": "user", "content": "x"}]}',
        404,
    ),
    "no such model to look at": ("GET", "/v1/models/x", b"", 404),
    "no such route": ("POST", "/v1/nothing", b"{}", 404),
    "no such method": ("DELETE", "/v1/chat/completions", b"", 405),
    "no such route at all": ("GET", "/", b"", 404),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_is_what_the_schema_says(http: httpx.Client, case: str) -> None:
    method, path, body, status = REFUSED[case]
    outcome = check_answer(http.request(method, path, content=body), "")
    assert outcome.status == status
    assert outcome.failed
