"""What clients get wrong is told to them by the parameter's name, and leaves the process unharmed."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tornado.web import RequestHandler

from gateway.web.base import ApiHandler
from gateway.web.header_fields import HeaderFields
from tests.integration.conftest import Gateway, StartGateway
from tests.simulator.server import Simulator

USER = [{"role": "user", "content": "Hello"}]


def body(**more: Any) -> bytes:
    return json.dumps({"model": "Demo Chatbot", "messages": USER, **more}).encode()


BAD_BODIES: list[tuple[bytes, int, str | None, str]] = [
    (b"", 400, None, "invalid_json"),
    (b"{", 400, None, "invalid_json"),
    (b"\xff\xfe", 400, None, "invalid_json"),
    (b"[]", 400, None, "invalid_type"),
    (b'"text"', 400, None, "invalid_type"),
    (b"null", 400, None, "invalid_type"),
    (b"[" * 100_000, 400, None, "invalid_json"),
    (b'{"a":' * 100_000, 400, None, "invalid_json"),
    (b'{"model": "Demo Chatbot", "temperature": NaN, "messages": []}', 400, None, "invalid_json"),
    (b"1" * 6000, 400, None, "invalid_json"),
    (b"{}", 400, "model", "missing_required_parameter"),
    (json.dumps({"model": "Demo Chatbot"}).encode(), 400, "messages", "missing_required_parameter"),
    (body(messages=[]), 400, "messages", "empty_array"),
    (body(messages="Hello"), 400, "messages", "invalid_type"),
    (body(messages=[{"role": "wizard", "content": "x"}]), 400, "messages[0].role", "invalid_value"),
    (body(messages=[{"role": "user", "content": 5}]), 400, "messages[0].content", "invalid_type"),
    (body(n=2), 400, "n", "unsupported_parameter"),
    (body(stream="yes"), 400, "stream", "invalid_type"),
    (body(temperature="hot"), 400, "temperature", "invalid_type"),
    (body(model=5), 400, "model", "invalid_type"),
    (body(model="No such app"), 404, "model", "model_not_found"),
    (body(inputs={"nobody": "knows"}), 400, "inputs.nobody", "invalid_value"),
]


@pytest.mark.parametrize(("sent", "status", "param", "code"), BAD_BODIES)
async def test_a_bad_body_is_named(
    gateway: Gateway, simulator: Simulator, sent: bytes, status: int, param: str | None, code: str
) -> None:
    response = await gateway.http.post("/v1/chat/completions", content=sent)
    error = response.json()["error"]
    assert (response.status_code, error["param"], error["code"]) == (status, param, code)
    assert error["type"] == "invalid_request_error"
    assert simulator.runs == []
    assert (await gateway.chat("Demo Chatbot", "[[n=1]]")).status_code == 200


async def test_a_large_body_gets_its_answer(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, MAX_BODY_BYTES="100000")
    response = await gateway.chat("Demo Chatbot", "x" * 3_000_000)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert (await gateway.chat("Demo Chatbot", "x" * 90_000)).status_code == 200

    async def in_pieces() -> Any:
        for _ in range(30):
            yield b"x" * 100_000

    response = await gateway.http.post("/v1/chat/completions", content=in_pieces())
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allowed"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url", None),
        ("GET", "/chat/completions", 404, "unknown_url", None),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed", "POST, OPTIONS"),
        ("DELETE", "/v1/models", 405, "method_not_allowed", "GET, HEAD, OPTIONS"),
        ("POST", "/readyz", 405, "method_not_allowed", "GET, HEAD, OPTIONS"),
        ("GET", "/v1/models/none", 404, "model_not_found", None),
    ],
)
async def test_a_wrong_address_is_an_error_of_the_same_form(
    gateway: Gateway, method: str, path: str, status: int, code: str, allowed: str | None
) -> None:
    response = await gateway.http.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers.get("allow") == allowed


@pytest.mark.parametrize(
    "path",
    [
        "Demo%20Chatbot",
        "Demo+Chatbot",
    ],
)
async def test_a_model_is_found_in_every_encoding(gateway: Gateway, path: str) -> None:
    response = await gateway.http.get(f"/v1/models/{path}")
    assert response.json()["id"] == "Demo Chatbot"


@pytest.mark.parametrize("name", ["team/助手 v2 (beta)", "C++ helper", "100% sure?", "a&b=c#d", "e\u0301/é"])
async def test_odd_names_are_model_ids(start_gateway: StartGateway, simulator: Simulator, name: str) -> None:
    key = next(iter(simulator.apps))
    simulator.apps.change(key, name=name)
    gateway = await start_gateway(simulator)
    assert name in [model["id"] for model in (await gateway.http.get("/v1/models")).json()["data"]]
    assert (await gateway.chat(name, "[[n=1]]")).status_code == 200
    for path in {quote(name, safe=""), quote(name), quote_plus(name), quote_plus(name, safe="/")}:
        response = await gateway.http.get(f"/v1/models/{path}")
        assert (response.status_code, response.json().get("id")) == (200, name), path


async def test_browsers_may_call(gateway: Gateway) -> None:
    asked = "authorization,content-type,x-stainless-lang,x-stainless-retry-count"
    response = await gateway.http.options(
        "/v1/chat/completions",
        headers={
            "Origin": "https://chat.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        },
    )
    assert response.status_code == 204
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["access-control-allow-headers"] == asked
    assert "POST" in response.headers["access-control-allow-methods"]
    answer = await gateway.chat("Demo Chatbot", "[[n=1]]")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "x-request-id" in answer.headers["access-control-expose-headers"]


async def test_pages_of_other_origins_cannot_read_what_is_for_operators(gateway: Gateway) -> None:
    """They need no client key, so a page that an operator looks at could."""
    for path in ("/healthz", "/readyz", "/metrics"):
        for method in ("GET", "OPTIONS"):
            answer = await gateway.http.request(method, path, headers={"Origin": "https://evil.example"})
            assert not [name for name in answer.headers if name.startswith("access-control-")], (method, path)


# --- client keys ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        ("Bearer wrong", 401),
        ("Bearer", 401),
        ("Basic sk-one", 401),
        ("sk-one", 401),
        ("Bearer sk-on", 401),
        ("Bearer sk-one", 200),
        ("bearer sk-two", 200),
    ],
)
async def test_every_route_wants_a_client_key(
    start_gateway: StartGateway, simulator: Simulator, authorization: str | None, status: int
) -> None:
    gateway = await start_gateway(simulator, VALID_API_KEYS="sk-one, sk-two")
    headers = {"Authorization": authorization} if authorization is not None else {}
    answers = [
        await gateway.http.get("/v1/models", headers=headers),
        await gateway.http.get("/v1/models/Demo Chatbot", headers=headers),
        await gateway.http.post("/v1/chat/completions", content=body(), headers=headers),
    ]
    assert [answer.status_code for answer in answers] == [status] * 3
    if status == 401:
        assert answers[0].json()["error"]["type"] == "invalid_request_error"
        assert answers[0].headers["www-authenticate"] == "Bearer"
        assert simulator.runs == []
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await gateway.http.get(path)).status_code == 200
    assert (await gateway.http.options("/v1/models")).status_code == 204


async def test_any_key_works_while_none_are_set(gateway: Gateway) -> None:
    for headers in ({}, {"Authorization": "Bearer whatever"}):
        assert (await gateway.http.get("/v1/models", headers=headers)).status_code == 200


# --- what reaches Dify ------------------------------------------------------------------------------------------------


async def test_dify_is_asked_to_stream_and_not_to_name_the_conversation(gateway: Gateway, simulator: Simulator) -> None:
    await gateway.chat("Demo Chatbot", "Hi [[n=1]]", user="alice")
    sent = simulator.requests[-1].body
    assert (sent["response_mode"], sent["auto_generate_name"], sent["user"]) == ("streaming", False, "alice")


async def test_different_client_keys_are_different_users(gateway: Gateway, simulator: Simulator) -> None:
    for key in ("one", "two", "one"):
        await gateway.http.post("/v1/chat/completions", content=body(), headers={"Authorization": f"Bearer {key}"})
    users = [record.body["user"] for record in simulator.requests if record.method == "POST"]
    assert users[0] == users[2] != users[1]
    assert not any("one" in user for user in users)


async def test_history_is_folded_into_the_query(gateway: Gateway, simulator: Simulator) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello Ada."},
        {"role": "user", "content": "What is my name? [[n=1]]"},
    ]
    await gateway.http.post("/v1/chat/completions", content=body(messages=messages))
    query = simulator.requests[-1].body["query"]
    assert all(message["content"] in query for message in messages)
    assert query.endswith("What is my name? [[n=1]]")


async def test_a_mode_without_memory_sends_the_last_message(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, CONVERSATION_MEMORY_MODE="0")
    messages = [*USER, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "Bye [[n=1]]"}]
    await gateway.http.post("/v1/chat/completions", content=body(messages=messages))
    assert simulator.requests[-1].body["query"] == "Bye [[n=1]]"


async def test_many_at_once_do_not_mix(gateway: Gateway) -> None:
    async def one(number: int) -> str:
        answer = await gateway.chat("Demo Chatbot", f'[[text="answer {number}"]]')
        return str(answer.json()["choices"][0]["message"]["content"])

    assert await asyncio.gather(*map(one, range(50))) == [f"answer {number}" for number in range(50)]


# --- what is done in fewer steps than Tornado does it -----------------------------------------------------------------


class Bare(ApiHandler):
    """A handler that nothing is given to."""

    def clear(self) -> None:
        self._headers = HeaderFields()

    def initialize(self) -> None:
        pass


def test_a_handler_begins_as_one_of_tornados() -> None:
    watched: list[Any] = []
    application: Any = SimpleNamespace(services="services", ui_methods={}, ui_modules={})
    request: Any = SimpleNamespace(connection=SimpleNamespace(set_close_callback=watched.append))
    ours, theirs = Bare(application, request), Bare.__new__(Bare)
    RequestHandler.__init__(theirs, application, request)
    assert vars(ours) | {"ui": None} == vars(theirs) | {"ui": None, "services": "services"}
    assert [one.__name__ for one in watched] == ["on_connection_close"] * 2


@pytest.mark.parametrize("step", ["_log", "_cross_origin_protection"])
def test_a_step_that_is_left_out_is_one_of_tornados(step: str) -> None:
    assert step in vars(RequestHandler)
    assert step in vars(ApiHandler)


@given(st.text(max_size=4) | st.binary(max_size=4) | st.integers())
@example("a\nb")
@example("é\x80\t")
@example("✓")
def test_a_header_is_set_as_by_tornado(value: Any) -> None:
    ours, theirs = Bare.__new__(Bare), Bare.__new__(Bare)
    refused: list[str | None] = []
    for handler, set_header in ((ours, ApiHandler.set_header), (theirs, RequestHandler.set_header)):
        handler.clear()
        try:
            set_header(handler, "X-A", value)
            refused.append(None)
        except ValueError as error:
            refused.append(str(error))
    assert refused[0] == refused[1]
    assert list(ours._headers.get_all()) == list(theirs._headers.get_all())
