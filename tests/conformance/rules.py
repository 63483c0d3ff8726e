"""What every answer of the gateway must be, over OpenAI's schema: the habits that clients count on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx

from tests.schemas import validate


@dataclass(frozen=True)
class Outcome:
    """What a client ends up with."""

    status: int
    text: str
    finish_reason: str | None
    usage: dict[str, int] | None
    error: dict[str, Any] | None  # OpenAI's error object

    @property
    def failed(self) -> bool:
        return self.error is not None


def check_answer(response: httpx.Response, model: str, *, include_usage: bool = False) -> Outcome:
    """Judge any answer of POST /chat/completions, and read it."""
    assert "content-encoding" not in response.headers  # compression would collect a stream
    assert response.headers["x-request-id"].startswith("req_")
    assert response.content.isascii(), "some clients split lines at U+2028"
    if response.status_code != 200:
        return _check_error(response)
    if response.headers["content-type"].startswith("text/event-stream"):
        return _check_stream(response, model, include_usage)
    return _check_document(response, model)


def _check_error(response: httpx.Response) -> Outcome:
    assert response.headers["content-type"] == "application/json"
    return Outcome(response.status_code, "", None, None, _read_error(response.json()))


def _read_error(body: Any) -> dict[str, Any]:
    validate("ErrorResponse", body)
    error: dict[str, Any] = body["error"]
    assert error["message"]
    assert error["code"] != "internal_error", "a fault of the gateway itself"
    return error


def _check_document(response: httpx.Response, model: str) -> Outcome:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    validate("CreateChatCompletionResponse", body)
    assert body["model"] == model
    assert len(body["choices"]) == 1
    choice = body["choices"][0]
    assert choice["message"]["role"] == "assistant"
    return Outcome(200, choice["message"]["content"], choice["finish_reason"], body.get("usage"), None)


def _check_stream(response: httpx.Response, model: str, include_usage: bool) -> Outcome:
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    *chunks, last = _read_events(response.text)
    # An answer that failed on the way ends in its error and nothing else.
    error = None if last == "[DONE]" else _read_error(json.loads(last))
    values = [json.loads(chunk) for chunk in chunks]
    for shape in {_without_text(value) for value in values}:
        validate("CreateChatCompletionStreamResponse", json.loads(shape))
    return _check_chunks(values, model, include_usage, error)


def _read_events(text: str) -> list[str]:
    """The data of every event; each is one line, and all the rest are comments."""
    assert text.endswith("\n\n")
    frames = [frame for frame in text.removesuffix("\n\n").split("\n\n") if not frame.startswith(":")]
    assert all(frame.startswith("data: ") and "\n" not in frame for frame in frames)
    return [frame.removeprefix("data: ") for frame in frames]


def _without_text(chunk: dict[str, Any]) -> str:
    """A chunk as JSON with an empty text for every text: the schema judges a thousand chunks as it judges one."""
    choices = [choice | {"delta": _emptied(choice["delta"])} for choice in chunk["choices"]]
    return json.dumps(chunk | {"choices": choices})


def _emptied(delta: dict[str, Any]) -> dict[str, Any]:
    return {name: "" if name != "role" and isinstance(text, str) else text for name, text in delta.items()}


def _check_chunks(
    chunks: list[dict[str, Any]], model: str, include_usage: bool, error: dict[str, Any] | None
) -> Outcome:
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert len({chunk["created"] for chunk in chunks}) == 1
    assert {chunk["model"] for chunk in chunks} == {model}
    usage = None
    if not include_usage:
        assert not any("usage" in chunk for chunk in chunks)
    elif not error and not chunks[-1]["choices"]:  # absent where Dify told no usage
        usage = chunks.pop()["usage"]
        assert usage
    if include_usage:
        assert all(chunk["usage"] is None for chunk in chunks)

    assert all(len(chunk["choices"]) == 1 for chunk in chunks), "simple loops read choices[0]"
    choices = [chunk["choices"][0] for chunk in chunks]
    deltas = [choice["delta"] for choice in choices]
    assert [delta.get("role") for delta in deltas] == ["assistant"] + [None] * (len(deltas) - 1)
    assert all(isinstance(delta["content"], str) for delta in deltas), "loops of openai-python 0.28 join it unasked"
    *reasons, reason = [choice["finish_reason"] for choice in choices]
    assert reasons == [None] * len(reasons)
    assert (reason is None) == (error is not None), "an answer ends in a reason or in an error"
    return Outcome(200, "".join(delta["content"] for delta in deltas), reason, usage, error)
