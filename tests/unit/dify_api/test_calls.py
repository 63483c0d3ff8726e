"""Requests are judged by recorded ones: what real servers were asked, and what they answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api import calls
from gateway.dify_api.app import App, AppKey, AppMode
from gateway.errors import GatewayError, InvalidRequest
from gateway.exchange.model import InputField
from gateway.exchange.turn import Prompt

TRACES = Path(__file__).parents[2] / "traces"
VERSIONS = ["0.15.3", "1.12.1"]
CHAT_MODES = [AppMode.CHAT, AppMode.AGENT_CHAT, AppMode.AGENT, AppMode.ADVANCED_CHAT]


def app(mode: AppMode, *inputs: InputField) -> App:
    return App(AppKey("app-1", "http://dify/v1"), "m", "m", mode, inputs=inputs)


def recorded(version: str, name: str) -> tuple[dict[str, Any], int, Any]:
    """What was asked, the status, and the body if it is JSON."""
    trace = json.loads((TRACES / version / f"{name}.json").read_text())
    body = TRACES / version / f"{name}.body"
    status = int(trace["response"]["status_line"].split()[1])
    return trace["request"], status, json.loads(body.read_text()) if body.exists() else None


def body_of(call: calls.DifyCall) -> dict[str, Any]:
    assert call.body is not None
    return dict(json.loads(call.body))


def test_every_mode_can_be_asked_and_stopped() -> None:
    for mode in AppMode:
        assert calls.ask(app(mode), Prompt("hi"), {}, "u1").method == "POST"
        assert calls.stop(app(mode), "t", "u1").method == "POST"


@pytest.mark.parametrize("mode", CHAT_MODES)
def test_chat_like_apps_get_query_inputs_and_no_title(mode: AppMode) -> None:
    call = calls.ask(app(mode), Prompt("hi"), {"a": 1}, "u1")
    assert (call.method, call.path) == ("POST", "/chat-messages")
    assert body_of(call) == {
        "inputs": {"a": 1},
        "query": "hi",
        "user": "u1",
        "response_mode": "streaming",
        "auto_generate_name": False,
    }


def test_a_conversation_goes_on_where_there_is_one() -> None:
    assert body_of(calls.ask(app(AppMode.CHAT), Prompt("hi", "c-1"), {}, "u"))["conversation_id"] == "c-1"
    assert "conversation_id" not in body_of(calls.ask(app(AppMode.CHAT), Prompt("hi", ""), {}, "u"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("trace", "mode"), [("completion_stream", AppMode.COMPLETION), ("workflow_stream", AppMode.WORKFLOW)]
)
def test_completion_and_workflow_apps_are_asked_as_recorded(version: str, trace: str, mode: AppMode) -> None:
    request, status, _ = recorded(version, trace)
    assert status == 200
    call = calls.ask(app(mode, InputField("query", "paragraph")), Prompt("hi [[n=3]]"), {"query": "hi [[n=3]]"}, "u1")
    assert ("/v1" + call.path, body_of(call)) == (request["path"], request["body"])


def test_a_completion_app_gets_a_top_level_query_only_when_it_has_no_input_for_the_text() -> None:
    assert body_of(calls.ask(app(AppMode.COMPLETION), Prompt("hi"), {}, "u"))["query"] == "hi"
    with_input = app(AppMode.COMPLETION, InputField("text", "paragraph"))
    assert "query" not in body_of(calls.ask(with_input, Prompt("hi"), {"text": "hi"}, "u"))
    assert "query" not in body_of(calls.ask(app(AppMode.WORKFLOW), Prompt("hi"), {}, "u"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("trace", "mode"),
    [
        ("stop_chat_stopcall", AppMode.CHAT),
        ("stop_agent_stopcall", AppMode.AGENT_CHAT),
        ("stop_chatflow_stopcall", AppMode.ADVANCED_CHAT),
        ("stop_completion_stopcall", AppMode.COMPLETION),
        ("stop_workflow_stopcall", AppMode.WORKFLOW),
    ],
)
def test_every_mode_is_stopped_by_the_route_that_worked(version: str, trace: str, mode: AppMode) -> None:
    request, status, _ = recorded(version, trace)
    assert status == 200
    task_id = request["path"].split("/")[-2]
    call = calls.stop(app(mode), task_id, request["body"]["user"])
    assert ("/v1" + call.path, body_of(call)) == (request["path"], request["body"])


def test_a_task_id_cannot_leave_its_place_in_the_path() -> None:
    assert calls.stop(app(AppMode.CHAT), "../x?a=b/é", "u").path == "/chat-messages/..%2Fx%3Fa%3Db%2F%C3%A9/stop"


def question(call: calls.DifyCall) -> tuple[str, dict[str, list[str]]]:
    """A call without a body: its path, and its query string read."""
    assert (call.method, call.body) == ("GET", None)
    parts = urlsplit(call.path)
    assert parts.fragment == ""
    return parts.path, parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)


def test_a_run_is_taken_up_again_under_its_own_id() -> None:
    run = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"
    assert calls.follow(run, "u1") == calls.DifyCall("GET", f"/workflow/{run}/events?user=u1")


def test_the_newest_message_of_a_conversation_is_asked_for_alone() -> None:
    assert question(calls.last_messages("c-1", "u1")) == (
        "/messages",
        {"conversation_id": ["c-1"], "user": ["u1"], "limit": ["1"]},
    )


def test_a_chat_is_asked_for_by_its_user() -> None:
    assert question(calls.newest_conversation("ann & co")) == (
        "/conversations",
        {"user": ["ann & co"], "limit": ["1"]},
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_messages_are_asked_for_as_recorded(version: str) -> None:
    """Found or not is said of a conversation; without one the question is refused."""
    path, asked = question(calls.last_messages("c-1", "u1"))
    for name, expected in (("msg_list_noconv", 400), ("msg_list_unknown", 404)):
        request, status, _ = recorded(version, name)
        assert (request["method"], status) == ("GET", expected)
        sent = urlsplit(request["path"])
        assert sent.path == "/v1" + path
        assert set(parse_qs(sent.query)) <= set(asked)


@given(ids=st.text(), user=st.text())
def test_no_id_and_no_user_can_leave_its_place(ids: str, user: str) -> None:
    path, asked = question(calls.follow(ids, user))
    assert path.split("/")[1:] == ["workflow", quote(ids, safe=""), "events"]
    assert asked == {"user": [user]}
    path, asked = question(calls.last_messages(ids, user))
    assert (path, asked) == ("/messages", {"conversation_id": [ids], "user": [user], "limit": ["1"]})
    assert calls.form(ids).path.split("/")[1:] == ["form", "human_input", quote(ids, safe="")]
    assert calls.submit_form(ids, "yes", {}, user).path == calls.form(ids).path
    path, asked = question(calls.suggestions(ids, user))
    assert path.split("/")[1:] == ["messages", quote(ids, safe=""), "suggested"]
    assert asked == {"user": [user]}


def test_a_form_is_answered_as_documented() -> None:
    call = calls.submit_form("tok", "approve", {"note": "fine"}, "u1")
    assert (call.method, call.path) == ("POST", "/form/human_input/tok")
    assert json.loads(call.body or b"") == {"inputs": {"note": "fine"}, "action": "approve", "user": "u1"}
    with pytest.raises(InvalidRequest):
        calls.submit_form("tok", "approve", {"note": float("inf")}, "u1")


def test_apps_describe_themselves_without_a_body() -> None:
    assert [(c.method, c.path, c.body) for c in (calls.info(), calls.parameters())] == [
        ("GET", "/info", None),
        ("GET", "/parameters", None),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_no_mode_probe_can_start_a_run(version: str) -> None:
    """Each body holds what the recorded servers refused in the mode that the route is for."""
    chat, workflow, parameters = calls.mode_probes("prober")
    assert chat.path == "/chat-messages"
    assert body_of(chat)["query"] == ""
    assert body_of(chat)["response_mode"] == "blocking"
    _, status, answer = recorded(version, "err_query_empty")  # chat: refused for the query
    assert (status, answer["code"]) == (400, "invalid_param")
    _, status, answer = recorded(version, "agent_block")  # agent: refused before the query is looked at
    assert (status, "blocking" in answer["message"]) == (400, True)
    assert workflow.path == "/workflows/run"
    assert body_of(workflow) == {"user": "prober"}
    request, status, answer = recorded(version, "workflow_no_inputs")
    assert "inputs" not in request["body"]
    assert (status, answer["code"]) == (400, "invalid_param")
    assert (parameters.method, parameters.body) == ("GET", None)


@pytest.mark.parametrize("value", [float("inf"), {"a": [float("nan")]}])
def test_what_json_cannot_hold_is_the_clients_error(value: Any) -> None:
    with pytest.raises(InvalidRequest, match="JSON") as caught:
        calls.ask(app(AppMode.CHAT), Prompt("hi"), {"a": value}, "u")
    assert caught.value.param == "inputs"


def test_endless_nesting_is_the_clients_error() -> None:
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    with pytest.raises(InvalidRequest):
        calls.ask(app(AppMode.WORKFLOW), Prompt("hi"), {"a": nested}, "u")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(mode=st.sampled_from(AppMode), text=st.text(st.characters()), inputs=st.dictionaries(st.text(max_size=5), JSON))
def test_any_text_and_inputs_arrive_unchanged_or_are_refused(mode: AppMode, text: str, inputs: dict[str, Any]) -> None:
    try:
        body = body_of(calls.ask(app(mode), Prompt(text), inputs, "u"))
    except GatewayError:
        return
    assert body["inputs"] == inputs
    assert body.get("query", text) == text
