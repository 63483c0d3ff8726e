"""Errors in OpenAI's envelope, and the headers that steer a client's retries."""

from __future__ import annotations

import json

import pytest

from gateway import errors
from gateway.errors import GatewayError
from gateway.openai_api.error_body import error_body, error_headers
from tests.schemas import validate

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_all_four_keys(kind: type[GatewayError]) -> None:
    body = json.loads(error_body(kind("Something is wrong.")))
    validate("ErrorResponse", body)
    assert body == {
        "error": {"message": "Something is wrong.", "type": kind.type, "param": None, "code": kind.default_code}
    }


def test_an_error_names_its_parameter_and_its_own_code() -> None:
    error = errors.InvalidRequest("No.", param="messages[0].content", code="invalid_type")
    assert json.loads(error_body(error))["error"] == {
        "message": "No.",
        "type": "invalid_request_error",
        "param": "messages[0].content",
        "code": "invalid_type",
    }


def test_a_message_of_dify_s_may_hold_anything() -> None:
    raw = error_body(errors.RunFailed('\ud83d\u2028 "node" </html>\n\x00'))
    assert raw.isascii()
    assert b"\n" not in raw
    assert json.loads(raw)["error"]["message"] == '\ud83d\u2028 "node" </html>\n\x00'


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (GatewayError("x"), {}),
        (errors.InvalidRequest("x"), {}),
        (errors.RateLimited("x"), {"Retry-After": "5"}),
        (errors.RateLimited("x", retry_after=0, should_retry=True), {"Retry-After": "0", "x-should-retry": "true"}),
        (errors.RunFailed("x"), {"x-should-retry": "false"}),
        (errors.AppUnavailable("x", retry_after=30), {"Retry-After": "30", "x-should-retry": "false"}),
    ],
)
def test_headers_tell_whether_and_when_to_try_again(error: GatewayError, headers: dict[str, str]) -> None:
    assert error_headers(error) == headers
