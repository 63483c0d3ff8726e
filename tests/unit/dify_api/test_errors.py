"""What a client gets for what Dify said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.errors import error_from_event, error_from_response
from gateway.errors import (
    AppUnavailable,
    BodyTooLarge,
    ConversationNotFound,
    GatewayError,
    InvalidRequest,
    QuotaExceeded,
    RateLimited,
    RunFailed,
    UpstreamKeyRejected,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamTimeout,
)

TRACES = Path(__file__).parents[2] / "traces"
HTML = b"<!doctype html>\n<html><title>Something</title><h1>Secret inner page</h1></html>"


def respond(status: int, code: str | None, message: Any, retry_after: int | None = None) -> GatewayError:
    body = {"code": code, "message": message, "status": status}
    return error_from_response(status, "application/json", json.dumps(body).encode(), retry_after)


def check_form(error: GatewayError) -> None:
    assert "\n" not in error.message
    assert 10 < len(error.message) <= 500
    assert "<" not in error.message or "Dify: " in error.message
    error.message.encode()


RECORDED = [
    ("err_badkey", UpstreamKeyRejected, "upstream_key_rejected", None),
    ("err_scheme_basic", UpstreamKeyRejected, "upstream_key_rejected", None),
    ("app_api_disabled", UpstreamKeyRejected, "upstream_key_rejected", None),
    ("app_status_abnormal", UpstreamKeyRejected, "upstream_key_rejected", None),
    ("limit_after_disc_0", RateLimited, "rate_limit_exceeded", None),
    ("cfg_model_unknown", AppUnavailable, "app_unavailable", None),
    ("cfg_provider_unconfigured", AppUnavailable, "app_unavailable", None),
    ("cfg_provider_unknown", AppUnavailable, "app_unavailable", None),
    ("mode_completion_on_chat", AppUnavailable, "app_unavailable", None),
    ("mode_workflow_on_chat", AppUnavailable, "wrong_app_mode", None),
    ("llm401_chat_block", RunFailed, "provider_auth_failed", None),
    ("llm429_chat_block", RateLimited, "provider_rate_limited", None),
    ("llm429_completion_block", RateLimited, "provider_rate_limited", None),
    ("llm500_chat_block", RunFailed, "run_failed", None),
    ("llm500_chatflow_block", RunFailed, "run_failed", None),
    ("llmcut_chatflow_block", RunFailed, "run_failed", None),
    ("flow_iter_fail_block", RunFailed, "run_failed", None),
    ("form_name_int", InvalidRequest, "invalid_value", "inputs.name"),
    ("form_number_bad", InvalidRequest, "invalid_value", "inputs.age"),
    ("form_select_bad", InvalidRequest, "invalid_value", "inputs.tone"),
    ("form_too_long", InvalidRequest, "invalid_value", "inputs.name"),
    ("flow_var_missing", InvalidRequest, "invalid_value", "inputs.name"),
    ("completion_missing_required", InvalidRequest, "invalid_value", "inputs.query"),
    ("params_wf_doc_as_list", InvalidRequest, "invalid_value", "inputs.doc"),
    ("workflow_file_list_for_single", InvalidRequest, "invalid_value", "inputs.pic"),
    ("vision_badid", InvalidRequest, "file_refused", "messages"),
    ("vision_badtype", InvalidRequest, "file_refused", "messages"),
    ("vision_dataurl", InvalidRequest, "file_refused", "messages"),
    ("multi_chat_no_id", InvalidRequest, "file_refused", "messages"),
    ("multi_chat_seven", InvalidRequest, "file_refused", "messages"),
    ("multi_chat_badmethod", InvalidRequest, "file_refused", "messages"),
    ("err_query_empty", InvalidRequest, "invalid_value", "messages"),
    ("err_nouser", InvalidRequest, "invalid_value", None),
    ("err_mode_bad", InvalidRequest, "invalid_value", None),
    ("err_json_empty", InvalidRequest, "invalid_value", None),
    ("agent_block", InvalidRequest, "invalid_value", None),
    ("odd_user_nul", InvalidRequest, "invalid_value", None),
    ("err_conv_otherapp", ConversationNotFound, "conversation_not_found", None),
    ("err_ctype_form", RunFailed, "run_failed", None),
    ("odd_user_256", RunFailed, "run_failed", None),
    ("err_404", UpstreamProtocolError, "upstream_protocol_error", None),
    ("err_root2", UpstreamProtocolError, "upstream_protocol_error", None),
    ("req_huge_header", UpstreamProtocolError, "upstream_protocol_error", None),
    ("upload_big_doc_16MB", BodyTooLarge, "file_too_large", "messages"),
]


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
@pytest.mark.parametrize(("name", "error", "code", "param"), RECORDED, ids=[row[0] for row in RECORDED])
def test_recorded_answers(version: str, name: str, error: type[GatewayError], code: str, param: str | None) -> None:
    recording = json.loads((TRACES / version / f"{name}.json").read_bytes())["response"]
    headers = {key.lower(): value for key, value in recording["headers"]}
    status = int(recording["status_line"].split(" ")[1])
    body = (TRACES / version / f"{name}.body").read_bytes()
    told = error_from_response(status, headers.get("content-type", ""), body)
    assert (type(told), told.code, told.param) == (error, code, param)
    check_form(told)


@pytest.mark.parametrize("path", sorted(TRACES.glob("*/*.body")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_recorded_refusal_is_blamed_on_the_clients_key(path: Path) -> None:
    response = json.loads(path.with_suffix(".json").read_bytes())["response"]
    status_line = response.get("status_line", "").split(" ")
    status = int(status_line[1]) if len(status_line) > 1 else 0
    if status >= 300:
        told = error_from_response(status, "application/json", path.read_bytes())
        assert told.status != 401
        check_form(told)


# --- the provider's failures, which Dify flattens to 400 --------------------------------------------------------------

PLUGIN = '[openai] Error: PluginInvokeError: {"args":{},"error_type":"%s","message":"%s"}'
PROVIDER = [
    ("[x] Error: API request failed with status code 429: {}", RateLimited, "provider_rate_limited"),
    (PLUGIN % ("InvokeRateLimitError", "slow down"), RateLimited, "provider_rate_limited"),
    ("[anthropic] Error code: 429 - {'type': 'error'}", RateLimited, "provider_rate_limited"),
    ('[google] {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}', RateLimited, "provider_rate_limited"),
    ("Client error '429 Too Many Requests' for url 'https://x'", RateLimited, "provider_rate_limited"),
    ("Rate limit reached for gpt-4o", RateLimited, "provider_rate_limited"),
    ("Error code: 429 - insufficient_quota: You exceeded your current quota", QuotaExceeded, "provider_quota_exceeded"),
    ("Incorrect API key provided", RunFailed, "provider_auth_failed"),
    ("[x] Incorrect model credentials provided, please check and try again.", RunFailed, "provider_auth_failed"),
    (PLUGIN % ("InvokeAuthorizationError", "no"), RunFailed, "provider_auth_failed"),
    ("API request failed with status code 403: {}", RunFailed, "provider_auth_failed"),
    ("Error code: 401 - {'error': 'invalid x-api-key'}", RunFailed, "provider_auth_failed"),
    (PLUGIN % ("InvokeServerUnavailableError", "x"), UpstreamOverloaded, "provider_unavailable"),
    (PLUGIN % ("InvokeConnectionError", "x"), UpstreamOverloaded, "provider_unavailable"),
    ("Error code: 529 - {'type': 'overloaded_error'}", UpstreamOverloaded, "provider_unavailable"),
    ("[x] Server Unavailable Error, Overloaded", UpstreamOverloaded, "provider_unavailable"),
    ("status code 503", UpstreamOverloaded, "provider_unavailable"),
    (PLUGIN % ("InvokeConnectionError", "Request timed out."), UpstreamTimeout, "provider_timeout"),
    ("HTTPSConnectionPool: Read timed out. (read timeout=60)", UpstreamTimeout, "provider_timeout"),
    ("API request failed with status code 504: upstream", UpstreamTimeout, "provider_timeout"),
    ("prompt is too long: 200001 tokens > 200000 maximum", InvalidRequest, "context_length_exceeded"),
    ("Query or prefix prompt is too long, you can reduce it", InvalidRequest, "context_length_exceeded"),
    ("This model's maximum context length is 8192 tokens", InvalidRequest, "context_length_exceeded"),
    ("Error code: 400 - {'code': 'context_length_exceeded'}", InvalidRequest, "context_length_exceeded"),
    ("Error code: 400 - content_filter: the response was filtered", RunFailed, "run_failed"),
    ("API request failed with status code 500: x", RunFailed, "run_failed"),
    ("Request to Plugin Daemon Service failed-500", RunFailed, "run_failed"),
    ("the book has 429 pages, see page 401 and 503", RunFailed, "run_failed"),
    ("Response ended prematurely", RunFailed, "run_failed"),
    ("", RunFailed, "run_failed"),
]


@pytest.mark.parametrize(("words", "error", "code"), PROVIDER)
def test_a_providers_failure_is_what_its_words_prove(words: str, error: type[GatewayError], code: str) -> None:
    for told in (
        error_from_event("completion_request_error", 400, words),
        error_from_event("invalid_param", 400, f"Run failed: {words}"),
        error_from_event("", None, words),
        respond(400, "completion_request_error", words),
    ):
        assert (type(told), told.code, told.should_retry) == (error, code, False)
        assert told.param == ("messages" if code == "context_length_exceeded" else None)
        assert told.status != 401
        check_form(told)


def test_a_providers_refusal_is_reworded() -> None:
    told = error_from_event("completion_request_error", 400, "Incorrect API key provided: sk-abcdef123456")
    assert "API key" not in told.message
    assert "provider" in told.message
    assert told.status == 502


# --- in the stream ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "words", "error", "error_code"),
    [
        ("invalid_param", 400, "Too many requests. Please try again later.", RateLimited, "rate_limit_exceeded"),
        ("invalid_param", 400, "name is required in input form", InvalidRequest, "invalid_value"),
        ("not_found", 404, "Conversation Not Exists.", ConversationNotFound, "conversation_not_found"),
        ("provider_quota_exceeded", 400, "Your quota", QuotaExceeded, "insufficient_quota"),
        ("provider_not_initialize", 400, "Model gpt", AppUnavailable, "app_unavailable"),
        ("internal_server_error", 500, "Internal Server Error", RunFailed, "run_failed"),
        ("invalid_param", 400, "'utf-8' codec can't encode characters", RunFailed, "run_failed"),
        ("invalid_param", 400, '{"code": 0, "message": "success", "data', RunFailed, "run_failed"),
        ("invalid_param", None, "", RunFailed, "run_failed"),
        ("brand_new", 418, "?", RunFailed, "run_failed"),
        ("", None, "Reached maximum retries (0) for URL http://crm.local", RunFailed, "run_failed"),
        ("invalid_param", 400, "Run failed: Reached maximum retries (0) for URL http://x", RunFailed, "run_failed"),
        ("", None, "Model gpt-x not exist.", AppUnavailable, "app_unavailable"),
        ("invalid_param", 400, "Run failed: Provider a/b/c does not exist.", AppUnavailable, "app_unavailable"),
    ],
)
def test_error_events(code: str, status: int | None, words: str, error: type[GatewayError], error_code: str) -> None:
    told = error_from_event(code, status, words)
    assert (type(told), told.code) == (error, error_code)
    check_form(told)


# --- HTTP answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "words", "error", "error_code"),
    [
        (429, "too_many_requests", "Too many", RateLimited, "rate_limit_exceeded"),
        (429, "rate_limit_error", "Workflow execution quota limit reached", QuotaExceeded, "insufficient_quota"),
        (429, None, "API rate limit exceeded", RateLimited, "rate_limit_exceeded"),
        (400, "provider_quota_exceeded", "x", QuotaExceeded, "insufficient_quota"),
        (400, "model_currently_not_support", "x", AppUnavailable, "app_unavailable"),
        (400, "agent_not_published", "x", AppUnavailable, "app_unavailable"),
        (400, "invalid_param", "Workflow not published", AppUnavailable, "app_unavailable"),
        (400, "not_chat_app", "x", AppUnavailable, "wrong_app_mode"),
        (403, "workflow_version_execution_not_allowed", "x", AppUnavailable, "app_unavailable"),
        (400, "conversation_completed", "The conversation has ended.", ConversationNotFound, "conversation_not_found"),
        (404, "not_found", "Last Conversation Not Exists.", UpstreamProtocolError, "upstream_protocol_error"),
        (404, "not_found", "Workflow not found with id: x.", UpstreamProtocolError, "upstream_protocol_error"),
        (405, "method_not_allowed", "x", UpstreamProtocolError, "upstream_protocol_error"),
        (413, "file_too_large", "", BodyTooLarge, "file_too_large"),
        (413, "", "Request Entity Too Large", BodyTooLarge, "body_too_large"),
        (415, "unsupported_file_type", "File type not allowed.", InvalidRequest, "unsupported_file_type"),
        (400, "file_extension_blocked", "File extension '.exe' is not allowed", InvalidRequest, "file_refused"),
        (400, "invalid_param", "Filename contains invalid characters", InvalidRequest, "file_refused"),
        (400, "invalid_param", "Number of files exceeds the maximum limit 3", InvalidRequest, "file_refused"),
        (500, "internal_server_error", "x", RunFailed, "run_failed"),
        (418, "teapot", "x", UpstreamProtocolError, "upstream_protocol_error"),
    ],
)
def test_answers_in_difys_envelope(
    status: int, code: str | None, words: str, error: type[GatewayError], error_code: str
) -> None:
    told = respond(status, code, words)
    assert (type(told), told.code) == (error, error_code)
    check_form(told)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, UpstreamProtocolError),
        (302, UpstreamProtocolError),
        (400, UpstreamProtocolError),
        (401, UpstreamProtocolError),
        (403, UpstreamProtocolError),
        (404, UpstreamProtocolError),
        (413, BodyTooLarge),
        (415, UpstreamProtocolError),
        (429, RateLimited),
        (500, RunFailed),
        (502, UpstreamProtocolError),
        (503, UpstreamOverloaded),
        (504, UpstreamTimeout),
        (520, UpstreamProtocolError),
        (524, UpstreamTimeout),
        (530, UpstreamProtocolError),
    ],
)
def test_pages_of_a_proxy(status: int, error: type[GatewayError]) -> None:
    for content_type, body in (
        ("text/html", HTML),
        ("", b""),
        ("application/json", b"[1]"),
        ("application/json", b"{"),
    ):
        told = error_from_response(status, content_type, body)
        assert type(told) is error
        assert "Secret" not in told.message
        check_form(told)


def test_where_the_api_is_missing_the_setting_is_named() -> None:
    assert "no such address (HTTP 404). Check that DIFY_API_BASE" in error_from_response(404, "text/html", HTML).message
    assert "DIFY_API_BASE" in error_from_response(308, "text/html", HTML).message
    assert "DIFY_API_BASE" not in error_from_response(502, "text/html", HTML).message


def test_difys_words_are_read_whatever_a_proxy_calls_them() -> None:
    body = b' {"code": "not_chat_app", "message": "x", "status": 400}'
    assert type(error_from_response(400, "text/plain", body)) is AppUnavailable


def test_nothing_ran_so_a_full_app_may_be_asked_again() -> None:
    told = respond(400, "invalid_param", "Too many requests. The current maximum is 1.")
    assert (told.should_retry, told.retry_after) == (True, 5)
    told = respond(429, "too_many_requests", "x", retry_after=30)
    assert (told.should_retry, told.retry_after) == (True, 30)


def test_retry_after_is_passed_on_where_waiting_helps() -> None:
    assert error_from_response(429, "", b"", 17).retry_after == 17
    assert error_from_response(503, "", b"", 17).retry_after == 17
    assert error_from_response(503, "", b"").retry_after == 5
    assert error_from_response(429, "", b"", 0).retry_after == 0
    assert error_from_response(502, "", b"", 17).retry_after is None
    assert respond(429, "rate_limit_error", "x", 17).retry_after is None


def test_a_validators_dump_becomes_one_short_line() -> None:
    dump = (
        "1 validation error for ChatRequestPayload\nquery\n  Field required [type=missing, input_value={'a': '"
        + "x\n" * 5000
        + "'}, input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.11/v/missing"
    )
    short = "1 validation error for ChatRequestPayload\nquery\n  Field required [type=missing, input_value={'a': 1}, "
    short += "input_type=dict]\n    For further information visit https://errors.pydantic.dev/2.11/v/missing"
    told = respond(400, "invalid_param", short)
    assert told.message.endswith("Dify: 1 validation error for ChatRequestPayload query Field required")
    assert told.should_retry is False
    assert len(respond(400, "invalid_param", dump).message) <= 500


def test_the_words_of_1_9_are_in_another_field() -> None:
    body = b'{"message":"Input payload validation failed","errors":{"query":"Missing required parameter"}}'
    told = error_from_response(400, "application/json", body)
    assert type(told) is InvalidRequest
    assert "query: Missing required parameter" in told.message


def test_routing_hints_are_cut_off() -> None:
    words = "Workflow not found. You have requested this URI [/v1/x] but did you mean /v1/y or /v1/z ?"
    assert "did you mean" not in respond(404, "not_found", words).message


@pytest.mark.parametrize("size", range(60, 300, 7))
def test_a_body_that_was_cut_tells_as_much_as_is_there(size: int) -> None:
    words = 'too "many" requests \u20ac\n' * 20
    whole = json.dumps({"code": "invalid_param", "message": f"Too many requests: {words}", "status": 400}).encode()
    assert len(whole) > 300
    error = error_from_response(400, "application/json", whole[:size])
    assert (type(error), error.code) == (RateLimited, "rate_limit_exceeded")


def test_keys_do_not_leak() -> None:
    for words in ("key sk-abcdef123456 is bad", "Bearer abcdef123456 is bad", "app-abcdef123456 is bad"):
        assert "123456" not in respond(400, "invalid_param", words).message
        assert "123456" not in error_from_event("", None, words).message


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "message", "errors"]), inner),
    max_leaves=6,
)


@given(st.integers(100, 999), st.sampled_from(["application/json", "text/html", ""]), st.binary(max_size=200))
def test_any_bytes_are_some_error(status: int, content_type: str, body: bytes) -> None:
    check_form(error_from_response(status, content_type, body))


@given(st.integers(100, 599), st.fixed_dictionaries({"code": ANY_JSON, "message": ANY_JSON, "errors": ANY_JSON}))
def test_any_envelope_is_some_error(status: int, envelope: dict[str, Any]) -> None:
    check_form(error_from_response(status, "application/json", json.dumps(envelope).encode()))


@given(st.text(), st.none() | st.integers(), st.text(st.characters(exclude_categories=())))
def test_any_event_is_some_error(code: str, status: int | None, message: str) -> None:
    check_form(error_from_event(code, status, message))


@pytest.mark.parametrize(
    "words", [" " * 300_000, "[type=a, input_value=" * 20_000, "Provider " * 40_000, "\n" * 300_000]
)
@pytest.mark.timeout(5)
def test_long_words_cost_little(words: str) -> None:
    check_form(error_from_event("invalid_param", 400, words))
