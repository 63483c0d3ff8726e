"""Answers as chunks and as one document: whole, valid by OpenAI's schema, and honest about how they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import InternalError, RateLimited, RunFailed
from gateway.exchange.answer import (
    AnswerEvent,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from gateway.exchange.citation import Citation
from gateway.exchange.details import Details
from gateway.exchange.turn import Message, Role, ToolChoice, ToolSpec, Turn
from gateway.openai_api.chat_answer import ChatStreamRenderer, render_document
from gateway.openai_api.extras import citation_fields, dify_field, usage_json
from tests.schemas import validate

ANSWER_ID, CREATED, MODEL = "chatcmpl-1", 1_700_000_000, 'team/助手 "v2"\u2028\\u0000'
USAGE = Usage(prompt_tokens=7, completion_tokens=5, total_tokens=12)
USAGE_OBJECT = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
STARTED = Started(task_id="task-1")


def turn(*, include_usage: bool = False) -> Turn:
    return Turn(MODEL, (Message(Role.USER, "Hi"),), stream=True, include_usage=include_usage)


def renderer(*, include_usage: bool = False) -> ChatStreamRenderer:
    return ChatStreamRenderer(turn(include_usage=include_usage), ANSWER_ID, CREATED)


def document(*events: AnswerEvent) -> dict[str, Any]:
    raw = render_document(turn(), ANSWER_ID, CREATED, iter(events))
    assert raw.isascii()
    body: dict[str, Any] = json.loads(raw)
    validate("CreateChatCompletionResponse", body)
    return body


def frames(stream: bytes) -> list[Any]:
    """The data of each frame, "[DONE]" as it stands; each chunk held against the schema."""
    assert stream.isascii()
    assert stream.endswith(b"\n\n")
    assert not set(stream) & set(range(0x20)) - {0x0A}, "a control character in a frame"
    data: list[Any] = []
    for frame in stream.decode("ascii").removesuffix("\n\n").split("\n\n"):
        assert frame.startswith("data: ")
        assert "\n" not in frame
        text = frame.removeprefix("data: ")
        data.append(text if text == "[DONE]" else json.loads(text))
        if text != "[DONE]" and "error" not in data[-1]:
            validate("CreateChatCompletionStreamResponse", data[-1])
    return data


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **extra: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**envelope(), "choices": [choice], **extra}


def envelope() -> dict[str, Any]:
    return {"id": ANSWER_ID, "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}


ROLE = chunk({"role": "assistant", "content": ""})


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_from_its_role_to_done() -> None:
    events: list[AnswerEvent] = [
        STARTED,
        ReasoningDelta("Hm. "),
        TextDelta("Hel"),
        TextDelta("lo"),
        Finished(usage=USAGE),
    ]
    assert frames(renderer().render(events)) == [
        ROLE,
        chunk({"reasoning_content": "Hm. ", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({"content": ""}, "stop"),
        "[DONE]",
    ]


def test_the_conversation_is_named_from_where_it_is_known() -> None:
    started = replace(STARTED, conversation_id="c-1")
    *chunks, _ = frames(renderer(include_usage=True).render([started, TextDelta("Hi"), Finished(usage=USAGE)]))
    assert [chunk.get("conversation_id") for chunk in chunks] == [None, None, "c-1", "c-1"]
    assert document(started, TextDelta("Hi"), Finished())["conversation_id"] == "c-1"
    assert "conversation_id" not in document(STARTED, TextDelta("Hi"), Finished())


def test_citations_come_before_the_end() -> None:
    end = Finished(citations=(Citation(1, "Whales", "A page", url="https://a.org/w"),), workflow_run_id="r")
    stream = ChatStreamRenderer(replace(turn(), details=Details.ON), ANSWER_ID, CREATED)
    role, text, cited, last, done = frames(stream.render([STARTED, TextDelta("Hello"), end]))
    annotation = cited["choices"][0]["delta"]["annotations"][0]["url_citation"]
    assert annotation == {"start_index": 0, "end_index": 5, "title": "A page", "url": "https://a.org/w"}
    assert cited["choices"][0]["finish_reason"] is None
    assert last["dify"]["workflow_run_id"] == "r"
    assert (role, text, done) == (ROLE, chunk({"content": "Hello"}), "[DONE]")


def test_usage_that_was_asked_for_comes_last_and_is_null_before() -> None:
    stream = renderer(include_usage=True).render([TextDelta("Hi"), Finished(usage=USAGE)])
    assert frames(stream) == [
        {**ROLE, "usage": None},
        chunk({"content": "Hi"}, usage=None),
        chunk({"content": ""}, "stop", usage=None),
        {**envelope(), "choices": [], "usage": USAGE_OBJECT},
        "[DONE]",
    ]


def test_usage_that_dify_did_not_tell_is_not_invented() -> None:
    stream = renderer(include_usage=True).render([TextDelta("Hi"), Finished()])
    assert [frame["choices"] for frame in frames(stream)[:-1]] != []
    assert all(frame["usage"] is None and frame["choices"] for frame in frames(stream)[:-1])


@pytest.mark.parametrize("reason", FinishReason)
def test_the_finish_reason_is_dify_s(reason: FinishReason) -> None:
    assert frames(renderer().render([Finished(reason)]))[1] == chunk({"content": ""}, reason.value)
    assert document(Finished(reason))["choices"][0]["finish_reason"] == reason.value


# --- calls ------------------------------------------------------------------------------------------------------------

TOOLS = ToolChoice((ToolSpec("weather"),))
CALLS: list[AnswerEvent] = [
    TextDelta("Let me look."),
    ToolCallDelta(0, '{"city":', "call_1", "weather"),
    ToolCallDelta(0, '"Oslo"}'),
    ToolCallDelta(1, "{}", "call_2", "weather"),
    Finished(FinishReason.TOOL_CALLS),
]


def calling(*, as_functions: bool = False) -> Turn:
    return replace(turn(), tool_choice=replace(TOOLS, as_functions=as_functions))


def test_a_call_opens_with_its_id_and_name_and_goes_on_with_arguments() -> None:
    def call(index: int, function: dict[str, str], **opened: str) -> dict[str, Any]:
        return chunk({"tool_calls": [{"index": index, **opened, "function": function}]})

    assert frames(ChatStreamRenderer(calling(), ANSWER_ID, CREATED).render(CALLS)) == [
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Let me look."}),
        call(0, {"name": "weather", "arguments": '{"city":'}, id="call_1", type="function"),
        call(0, {"arguments": '"Oslo"}'}),
        call(1, {"name": "weather", "arguments": "{}"}, id="call_2", type="function"),
        chunk({}, "tool_calls"),
        "[DONE]",
    ]


@pytest.mark.parametrize("said", ["Let me look.", ""])
def test_a_document_has_the_calls_whole(said: str) -> None:
    events = CALLS if said else CALLS[1:]
    body = json.loads(render_document(calling(), ANSWER_ID, CREATED, events))
    validate("CreateChatCompletionResponse", body)
    [choice] = body["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", said or None)
    assert choice["message"]["tool_calls"] == [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
    ]


def test_calls_of_an_answer_that_was_replaced_are_not_to_be_run() -> None:
    end = Finished(FinishReason.CONTENT_FILTER, text="I cannot.")
    message = json.loads(render_document(calling(), ANSWER_ID, CREATED, [*CALLS[:-1], end]))["choices"][0]["message"]
    assert (message["content"], "tool_calls" in message) == ("I cannot.", False)


def test_thoughts_go_with_the_text_that_moderation_has_taken_back() -> None:
    said = [ReasoningDelta("the secret is"), TextDelta("the secret")]
    end = Finished(FinishReason.CONTENT_FILTER, text="I cannot.")
    message = json.loads(render_document(calling(), ANSWER_ID, CREATED, [*said, end]))["choices"][0]["message"]
    assert (message["content"], "reasoning_content" in message) == ("I cannot.", False)


def test_a_client_that_speaks_of_functions_gets_one() -> None:
    events = [CALLS[1], CALLS[2], CALLS[4]]
    stream = frames(ChatStreamRenderer(calling(as_functions=True), ANSWER_ID, CREATED).render(events))
    assert stream[1:] == [
        chunk({"function_call": {"name": "weather", "arguments": '{"city":'}}),
        chunk({"function_call": {"arguments": '"Oslo"}'}}),
        chunk({}, "function_call"),
        "[DONE]",
    ]
    [choice] = json.loads(render_document(calling(as_functions=True), ANSWER_ID, CREATED, events))["choices"]
    assert choice["message"]["function_call"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert choice["finish_reason"] == "function_call"


# --- openings ---------------------------------------------------------------------------------------------------------


def test_a_run_that_only_started_shows_nothing_yet() -> None:
    stream = renderer()
    assert stream.render([]) == b""
    assert stream.render([STARTED]) == b""
    assert frames(stream.render([TextDelta("Hi")])) == [ROLE, chunk({"content": "Hi"})]


def test_a_stream_can_be_opened_before_there_is_text_and_only_once() -> None:
    stream = renderer()
    assert frames(stream.begin()) == [ROLE]
    assert stream.begin() == b""
    assert frames(stream.render([TextDelta("Hi")])) == [chunk({"content": "Hi"})]
    assert stream.begin() == b""


def test_text_settled_at_the_end_does_not_repeat_what_a_stream_has_shown() -> None:
    stream = renderer().render([TextDelta("Hi"), Finished(text="Hello")])
    assert b"Hello" not in stream


def test_an_answer_that_fails_ends_in_its_error_and_in_nothing_else() -> None:
    data = frames(renderer().render([STARTED, TextDelta("Half an an"), Failed(RunFailed("Node LLM failed."))]))
    error = {"message": "Node LLM failed.", "type": "api_error", "param": None, "code": "run_failed"}
    assert data == [ROLE, chunk({"content": "Half an an"}), {"error": error}]
    validate("ErrorResponse", data[-1])


def test_an_answer_that_fails_at_once_still_opens_its_stream() -> None:
    data = frames(renderer().render([Failed(RateLimited("Slow down."))]))
    assert data[0] == ROLE
    assert data[1]["error"]["code"] == "rate_limit_exceeded"
    assert len(data) == 2


@pytest.mark.parametrize("model", ["\0", '"\0"', '{"content":""}'])
def test_no_model_id_is_taken_for_the_place_of_the_text(model: str) -> None:
    stream = ChatStreamRenderer(Turn(model, (Message(Role.USER, "Hi"),)), ANSWER_ID, CREATED)
    data = frames(stream.render([TextDelta("text"), ReasoningDelta("thought")]))
    assert [frame["model"] for frame in data] == [model] * 3
    assert [frame["choices"][0]["delta"]["content"] for frame in data] == ["", "text", ""]
    assert data[2]["choices"][0]["delta"]["reasoning_content"] == "thought"


# --- documents --------------------------------------------------------------------------------------------------------


def test_a_document_is_the_whole_answer() -> None:
    assert document(STARTED, TextDelta("Hel"), TextDelta("lo"), Finished(usage=USAGE)) == {
        "id": ANSWER_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE_OBJECT,
    }


def test_a_document_without_usage_has_no_usage() -> None:
    assert "usage" not in document(TextDelta("Hi"), Finished())


def test_reasoning_stands_beside_the_text_where_there_was_some() -> None:
    body = document(ReasoningDelta("2+"), ReasoningDelta("2"), TextDelta("4"), Finished())
    assert body["choices"][0]["message"] == {
        "role": "assistant",
        "content": "4",
        "refusal": None,
        "reasoning_content": "2+2",
    }


@pytest.mark.parametrize("settled", ["Hello", ""])
def test_a_document_takes_the_text_that_was_settled(settled: str) -> None:
    assert document(TextDelta("Hi"), Finished(text=settled))["choices"][0]["message"]["content"] == settled


def test_a_document_of_a_failed_answer_is_its_error() -> None:
    error = RunFailed("Node LLM failed.")
    with pytest.raises(RunFailed) as caught:
        document(TextDelta("Half"), Failed(error))
    assert caught.value is error


@pytest.mark.parametrize("events", [[], [STARTED], [TextDelta("Half")]])
def test_an_answer_without_an_end_is_never_given_out_as_whole(events: list[AnswerEvent]) -> None:
    with pytest.raises(InternalError):
        document(*events)


# --- any text ---------------------------------------------------------------------------------------------------------

ODD = st.sampled_from(
    [
        "\u2028",
        "\u0085",
        "\x00",
        "\r\n\n",
        "data: x\n\n",
        '"\\/',
        "\ud83d",
        "\ude00",
        "\U0001f600",
        "\x7f",
        "é",
        "[DONE]",
    ]
)
PIECES = st.lists(ODD | st.text(st.characters(), min_size=1, max_size=20), max_size=12)


def joined(pieces: Sequence[str]) -> str:
    """As any JSON reader joins them: two halves of a surrogate pair that met are one character."""
    return "".join(pieces).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@settings(deadline=None, max_examples=150)
@given(pieces=PIECES, cuts=st.lists(st.integers(1, 5), max_size=12), reasoning=st.booleans(), usage=st.booleans())
def test_any_text_in_any_batches_comes_out_equal(
    pieces: list[str], cuts: list[int], reasoning: bool, usage: bool
) -> None:
    kind, field = (ReasoningDelta, "reasoning_content") if reasoning else (TextDelta, "content")
    events: list[AnswerEvent] = [STARTED, *(kind(piece) for piece in pieces), Finished(usage=USAGE)]
    message = document(*events)["choices"][0]["message"]
    assert message.get(field, "") == joined(pieces)

    stream = renderer(include_usage=usage)
    out = b""
    rest = events
    for cut in [*cuts, len(events)]:
        out += stream.render(rest[:cut])
        rest = rest[cut:]
    *chunks, done = frames(out)
    assert done == "[DONE]"
    assert "[DONE]" not in chunks
    assert {(each["id"], each["created"], each["model"]) for each in chunks} == {(ANSWER_ID, CREATED, MODEL)}
    choices = [each["choices"][0] for each in chunks if each["choices"]]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert all("role" not in choice["delta"] for choice in choices[1:])
    assert all(isinstance(choice["delta"]["content"], str) for choice in choices)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert joined([choice["delta"].get(field, "") for choice in choices]) == joined(pieces)
    assert [each["usage"] for each in chunks if each.get("usage")] == ([USAGE_OBJECT] if usage else [])
    assert all(("usage" in each) is usage for each in chunks)


COUNTS = st.integers(0, 10**12)
USAGES = st.builds(Usage, COUNTS, COUNTS, COUNTS, cached_tokens=st.none() | COUNTS, reasoning_tokens=st.none() | COUNTS)
TEXTS = st.text(min_size=1)
CITATIONS = st.builds(Citation, st.integers(0, 9), st.text(), url=st.none() | st.just("https://a.example/b"))
ENDS = st.builds(
    Finished,
    st.sampled_from([FinishReason.STOP, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]),
    st.none() | USAGES,
    st.none() | st.text(),
    citations=st.lists(CITATIONS, max_size=2).map(tuple),
    workflow_run_id=st.none() | TEXTS,
    questions=st.lists(TEXTS, max_size=2).map(tuple),
)


@settings(deadline=None)
@given(
    started=st.builds(Started, TEXTS, st.none() | TEXTS, st.none() | TEXTS),
    deltas=st.lists(st.builds(TextDelta, TEXTS) | st.builds(ReasoningDelta, TEXTS), max_size=4),
    end=ENDS,
    details=st.sampled_from(Details),
)
def test_a_document_is_its_fields_and_nothing_else(
    started: Started, deltas: list[AnswerEvent], end: Finished, details: Details
) -> None:
    asked = replace(turn(), details=details)
    texts = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    thoughts = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    text = texts if end.text is None else end.text
    withdrawn = end.reason is FinishReason.CONTENT_FILTER and end.text is not None
    message = {
        "role": "assistant",
        "content": text,
        "refusal": None,
        **({"reasoning_content": thoughts} if thoughts and not withdrawn else {}),
        **citation_fields(end.citations, len(text)),
    }
    body = {
        "id": ANSWER_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": end.reason.value}],
        **({} if end.usage is None else {"usage": json.loads(usage_json(end.usage))}),
        **({"conversation_id": started.conversation_id} if started.conversation_id else {}),
        **dify_field(details, started, end, streamed=False),
    }
    raw = render_document(asked, ANSWER_ID, CREATED, [started, *deltas, end])
    assert json.loads(raw) == json.loads(json.dumps(body))
    assert list(json.loads(raw)) == list(body)
