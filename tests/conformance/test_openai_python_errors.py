"""Failures as the newest openai-python raises them, and how often it asks again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

from tests.conformance.conftest import KEY, Dify, Gateway
from tests.conformance.models import ALL_MODELS, CHAT, FORM, LIMITED, model
from tests.conformance.test_openai_python import question


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=KEY) as client:  # max_retries=2
        yield client


@dataclass(frozen=True)
class Case:
    """What is asked, and what is raised for it after how many questions to Dify."""

    text: str
    raised: type[openai.APIStatusError]
    status: int
    code: str
    param: str | None = None
    name: str = CHAT
    asked: int = 1


CASES = {
    "empty": Case("", openai.BadRequestError, 400, "invalid_value", "messages", asked=0),
    "model": Case("x", openai.NotFoundError, 404, "model_not_found", "model", name="none such", asked=0),
    "input": Case("x", openai.BadRequestError, 400, "missing_required_parameter", "inputs.name", name=FORM, asked=0),
    "provider": Case("[[fail=500]]", openai.InternalServerError, 502, "run_failed"),
    "provider's key": Case("[[fail=401]]", openai.InternalServerError, 502, "provider_auth_failed"),
    "provider's limit": Case("[[fail=429]]", openai.RateLimitError, 429, "provider_rate_limited"),
    "quota": Case("[[http=quota]]", openai.RateLimitError, 429, "insufficient_quota"),
    "app key": Case("[[http=401]]", openai.InternalServerError, 502, "upstream_key_rejected"),
    "Dify's fault": Case("[[http=500]]", openai.InternalServerError, 502, "run_failed"),
    "cut": Case("[[drop=0]]", openai.InternalServerError, 502, "upstream_truncated"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_failure_is_raised_and_not_tried_again(
    client: OpenAI, dify: Dify, user: str, name: str, stream: bool
) -> None:
    case = CASES[name]
    with pytest.raises(case.raised) as raised:
        client.chat.completions.create(model=case.name, messages=question(case.text), stream=stream, user=user)
    error = raised.value
    assert (error.status_code, error.code, error.param) == (case.status, case.code, case.param)
    assert error.message
    assert error.request_id
    assert len(dify.requests(user)) == case.asked
    if case.status >= 429:
        assert error.response.headers["x-should-retry"] == "false"


def test_a_wrong_key_is_an_authentication_error(gateway: Gateway) -> None:
    stranger = OpenAI(base_url=gateway.base_url, api_key="any")
    with stranger, pytest.raises(openai.AuthenticationError) as raised:
        stranger.models.list()
    assert (raised.value.status_code, raised.value.code) == (401, "invalid_api_key")
    assert raised.value.response.headers["www-authenticate"] == "Bearer"


def test_the_limit_of_an_app_says_when_to_ask_again(client: OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as raised:
        client.with_options(max_retries=0).chat.completions.create(model=CHAT, messages=question("[[http=limit]]"))
    assert raised.value.response.headers["retry-after"] == "5"
    assert raised.value.response.headers["x-should-retry"] == "true"


def test_a_second_question_to_a_busy_app_is_answered_when_the_sdk_asks_again(
    client: OpenAI, dify: Dify, user: str
) -> None:
    first = client.chat.completions.create(model=LIMITED, messages=question("[[n=40 delay=1]]"), stream=True)
    next(first)
    threading.Thread(target=list, args=(first,), daemon=True).start()
    second = client.chat.completions.create(model=LIMITED, messages=question("[[n=1]]"), user=user)
    assert second.choices[0].message.content == "w1 "
    assert len(dify.requests(user)) == 2


@pytest.mark.parametrize(("mode", "version"), ALL_MODELS)
@pytest.mark.parametrize("script", ["fail=500 failafter=3", "drop=30", "rst=30"])
def test_a_failure_on_the_way_ends_the_stream_in_an_exception(
    client: OpenAI, dify: Dify, user: str, mode: str, version: str, script: str
) -> None:
    stream = client.chat.completions.create(
        model=model(mode, version), messages=question(f"[[n=100 {script}]]"), stream=True, user=user
    )
    words, error = read_to_the_error(stream)
    assert words.startswith("w1 w2 w3")
    assert isinstance(error.body, dict)
    assert error.body["code"] in ("run_failed", "upstream_truncated", "provider_unavailable")
    assert list(stream) == []
    assert [entry for entry in dify.requests(user) if not entry["path"].endswith("/stop")] == dify.requests(user)[:1]


def read_to_the_error(stream: openai.Stream[ChatCompletionChunk]) -> tuple[str, openai.APIError]:
    """Everything before the exception that must end the stream."""
    words = ""
    try:
        for chunk in stream:
            assert chunk.choices[0].finish_reason is None
            words += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return words, error
    raise AssertionError(f"the stream ended well: {words}")
