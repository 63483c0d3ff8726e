"""The newest openai-python, as its users call it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from openai import APITimeoutError, AsyncOpenAI, OpenAI

from tests.conformance.conftest import KEY, Dify, Gateway
from tests.conformance.models import ALL_MODELS, CHAT, FORM, MODES, ODD_NAMES, model

FIVE_WORDS = "w1 w2 w3 w4 w5"


def question(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        yield client


@pytest.fixture
async def async_client(gateway: Gateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gateway.base_url, api_key=KEY) as client:
        yield client


# --- models -----------------------------------------------------------------------------------------------------------


def test_the_list_has_every_app(client: OpenAI) -> None:
    models = {entry.id: entry for entry in client.models.list()}
    assert {*ODD_NAMES, FORM, *(model(*one) for one in ALL_MODELS)} < models.keys()
    assert {entry.owned_by for entry in models.values()} == {"dify"}


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_model_of_an_odd_name_is_found_and_answers(client: OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == name
    answer = client.chat.completions.create(model=name, messages=question("[[n=5]]"))
    assert (answer.model, answer.choices[0].message.content) == (name, "w1 w2 w3 w4 w5 ")


async def test_the_async_client_sees_the_same_models(client: OpenAI, async_client: AsyncOpenAI) -> None:
    assert [entry async for entry in async_client.models.list()] == list(client.models.list())
    assert (await async_client.models.retrieve(ODD_NAMES[0])).id == ODD_NAMES[0]


# --- chat completions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("mode", "version"), ALL_MODELS)
def test_every_mode_answers_whole(client: OpenAI, mode: str, version: str) -> None:
    answer = client.chat.completions.create(model=model(mode, version), messages=question("[[n=5]]"))
    choice = answer.choices[0]
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.message.content.strip() == FIVE_WORDS
    assert choice.finish_reason == "stop"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@pytest.mark.parametrize(("mode", "version"), ALL_MODELS)
def test_every_mode_streams(client: OpenAI, mode: str, version: str) -> None:
    text = ""
    for chunk in client.chat.completions.create(model=model(mode, version), messages=question("[[n=5]]"), stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text.strip() == FIVE_WORDS


async def test_the_async_client_answers_whole_and_streams(async_client: AsyncOpenAI) -> None:
    whole = await async_client.chat.completions.create(model=CHAT, messages=question("[[n=5]]"))
    stream = await async_client.chat.completions.create(model=CHAT, messages=question("[[n=5]]"), stream=True)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content == f"{FIVE_WORDS} "


def test_the_usage_comes_in_a_last_chunk_when_asked_for(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=CHAT, messages=question("[[n=5]]"), stream=True, stream_options={"include_usage": True}
        )
    )
    *others, last = chunks
    assert last.choices == []
    assert last.usage
    assert last.usage.completion_tokens > 0
    assert {chunk.usage for chunk in others} == {None}


def test_the_stream_helper_builds_the_whole_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(model=CHAT, messages=question("[[n=5]]")) as stream:
        texts = [event.delta for event in stream if event.type == "content.delta"]
        final = stream.get_final_completion()
    assert "".join(texts) == final.choices[0].message.content == f"{FIVE_WORDS} "


@pytest.mark.parametrize("version", MODES)
def test_thoughts_have_a_field_of_their_own(client: OpenAI, version: str) -> None:
    messages = question("[[n=5 think=split]]")
    whole = client.chat.completions.create(model=model("chat", version), messages=messages).choices[0].message
    assert whole.model_extra
    assert (whole.model_extra["reasoning_content"], whole.content) == ("hmm let me think", f"{FIVE_WORDS} ")
    thoughts = text = ""
    for chunk in client.chat.completions.create(model=model("chat", version), messages=messages, stream=True):
        delta = chunk.choices[0].delta
        thoughts += (delta.model_extra or {}).get("reasoning_content", "")
        text += delta.content or ""
    assert (thoughts, text) == (whole.model_extra["reasoning_content"], whole.content)


def test_citations_are_annotations(client: OpenAI) -> None:
    message = client.chat.completions.create(model=CHAT, messages=question("[[n=5 cite=web]]")).choices[0].message
    assert message.annotations
    (annotation,) = message.annotations
    assert annotation.type == "url_citation"
    assert annotation.url_citation.url == annotation.url_citation.title == "https://example.org/whales"
    assert (annotation.url_citation.start_index, annotation.url_citation.end_index) == (0, len(message.content or ""))
    with client.chat.completions.stream(model=CHAT, messages=question("[[n=5 cite=web]]")) as stream:
        final = stream.get_final_completion().choices[0].message
    assert (final.model_extra or {})["retriever_resources"] == (message.model_extra or {})["retriever_resources"]


def test_a_form_is_answered_by_a_tool_or_in_words(client: OpenAI) -> None:
    tools: Any = [{"type": "function", "function": {"name": "submit_form", "parameters": {"type": "object"}}}]
    messages = question("[[n=5 paused]]")
    name = model("workflow", "1.16.0")
    asked = client.chat.completions.create(model=name, messages=messages, tools=tools).choices[0]
    assert asked.finish_reason == "tool_calls"
    (call,) = asked.message.tool_calls or []
    assert call.type == "function"
    reply = {"action": json.loads(call.function.arguments)["actions"][0]["id"], "inputs": {"note": "fine"}}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": json.dumps(reply)}
    messages += [asked.message, result]
    final = client.chat.completions.create(model=name, messages=messages, tools=tools).choices[0]
    assert (final.message.content or "").endswith("approved: fine")

    messages = question("[[n=5 paused]]")
    messages += [client.chat.completions.create(model=name, messages=messages).choices[0].message, *question("Approve")]
    text = ""
    for chunk in client.chat.completions.create(model=name, messages=messages, stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text.endswith("approved")


def test_raw_responses_tell_the_request_id(client: OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=CHAT, messages=question("[[n=5]]"))
    answer = raw.parse()
    assert raw.headers["x-request-id"] == answer._request_id
    assert answer._request_id
    assert answer._request_id.startswith("req_")


def test_inputs_in_the_extra_body_reach_the_app(client: OpenAI, dify: Dify, user: str) -> None:
    inputs = {"name": "Ann", "age": 7}
    client.chat.completions.create(model=FORM, messages=question("[[n=5]]"), user=user, extra_body={"inputs": inputs})
    (asked,) = dify.requests(user)
    assert asked["body"]["inputs"].items() >= inputs.items()  # what has a default comes with it


def test_an_answer_can_be_sent_back_as_history(client: OpenAI, dify: Dify, user: str) -> None:
    first = client.chat.completions.create(model=CHAT, messages=question("[[n=5]]"))
    messages = [*question("Count."), first.choices[0].message, *question("Again. [[n=1]]")]
    client.chat.completions.create(model=CHAT, messages=messages, user=user)
    (asked,) = dify.requests(user)
    assert FIVE_WORDS in asked["body"]["query"]


# --- leaving ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["chat", "agent-chat", "advanced-chat", "completion", "workflow"])
def test_closing_a_stream_stops_the_run(client: OpenAI, dify: Dify, user: str, mode: str) -> None:
    stream = client.chat.completions.create(
        model=model(mode), messages=question("[[n=2000 delay=1]]"), stream=True, user=user
    )
    with stream:
        assert next(chunk for chunk in stream if chunk.choices[0].delta.content)
    dify.wait_for_stop(user)


async def test_closing_an_async_stream_stops_the_run(async_client: AsyncOpenAI, dify: Dify, user: str) -> None:
    stream = await async_client.chat.completions.create(
        model=CHAT, messages=question("[[n=2000 delay=1]]"), stream=True, user=user
    )
    await anext(stream)
    await stream.close()
    dify.wait_for_stop(user)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", ["n=2000 delay=20", "first=40 n=2000 delay=20"], ids=["on the way", "before a word"])
def test_a_client_that_runs_out_of_time_stops_the_run(
    client: OpenAI, dify: Dify, user: str, script: str, stream: bool
) -> None:
    impatient = client.with_options(timeout=0.5, max_retries=0)
    messages = question(f"[[{script}]]")
    with pytest.raises(APITimeoutError):
        list(impatient.chat.completions.create(model=CHAT, messages=messages, stream=stream, user=user))
    dify.wait_for_stop(user)
