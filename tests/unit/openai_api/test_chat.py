"""The chat completions endpoint as `web` sees it: a body in, bytes out."""

from __future__ import annotations

import json

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.answer import AnswerEvent, Finished, TextDelta
from gateway.openai_api.chat import ENDPOINT
from tests.schemas import validate

BODY = {"model": "app", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def test_a_request_becomes_a_stream() -> None:
    turn = ENDPOINT.parse_request(BODY)
    assert turn.stream
    stream = ENDPOINT.stream_renderer(turn, ENDPOINT.id_prefix + "1", 1_700_000_000)
    opening = stream.begin()
    data = opening + stream.render([TextDelta("Hello"), Finished()])
    *chunks, done = data.decode("ascii").removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    for chunk in chunks:
        validate("CreateChatCompletionStreamResponse", json.loads(chunk.removeprefix("data: ")))
        assert json.loads(chunk.removeprefix("data: "))["id"] == "chatcmpl-1"


def test_a_request_becomes_a_document() -> None:
    turn = ENDPOINT.parse_request(BODY)
    events: list[AnswerEvent] = [TextDelta("Hello"), Finished()]
    body = json.loads(ENDPOINT.document(turn, "chatcmpl-1", 1_700_000_000, iter(events)))
    validate("CreateChatCompletionResponse", body)
    assert (body["model"], body["choices"][0]["message"]["content"]) == ("app", "Hello")


def test_a_bad_request_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ENDPOINT.parse_request({**BODY, "stream": "yes"})
    assert caught.value.param == "stream"
