"""Chat completion requests: what becomes of good ones, and which parameter of a bad one is at fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import json_codec
from gateway.errors import InvalidRequest
from gateway.exchange.turn import Message, Role, ToolCall, Turn
from gateway.openai_api.chat_request import parse_request
from gateway.openai_api.parameters import CHAT_PARAMETERS

ASK = {"role": "user", "content": "Hi"}
WEATHER = {"type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}, "id": "call_1"}
SCHEMA = {"type": "object", "properties": {}, "$schema": "x", "additionalProperties": False, "title": "T"}


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "app", "messages": [ASK], **fields}


def messages_of(*messages: dict[str, Any]) -> list[tuple[Role, str]]:
    return [(message.role, message.text) for message in parse_request(body(messages=list(messages))).messages]


# --- good -------------------------------------------------------------------------------------------------------------


def test_the_smallest_request_leaves_the_defaults() -> None:
    assert parse_request(body()) == Turn(model="app", messages=(Message(Role.USER, "Hi"),))


def test_every_field_of_a_turn_comes_from_its_parameter() -> None:
    fields = body(stream=True, stream_options={"include_usage": True}, inputs={"city": "Oslo"}, user="anna")
    assert parse_request(fields) == Turn(
        model="app",
        messages=(Message(Role.USER, "Hi"),),
        stream=True,
        include_usage=True,
        inputs={"city": "Oslo"},
        user="anna",
    )


def test_each_role_of_openai_has_its_own_of_ours() -> None:
    roles = ("system", "developer", "user", "assistant", "tool", "function")
    assert messages_of(*({"role": role, "content": role} for role in roles)) == [
        (Role.SYSTEM, "system"),
        (Role.SYSTEM, "developer"),
        (Role.USER, "user"),
        (Role.ASSISTANT, "assistant"),
        (Role.TOOL, "tool"),
        (Role.TOOL, "function"),
    ]


def test_calls_and_results_of_tools_stay_in_the_history() -> None:
    *_, answer, result_message = parse_request(chat(ASK, calling(content="Let me look."), result())).messages
    assert (answer.text, answer.tool_calls) == ("Let me look.", (ToolCall("weather", '{"city":"Oslo"}', "call_1"),))
    assert (result_message.text, result_message.tool_call_id) == ("12", "call_1")


def test_the_ids_of_calls_are_kept() -> None:
    odd = [{"id": 5, "function": {"name": "f"}}, {"function": {"name": "f"}}]
    told = parse_request(chat(ASK, calling(content="Hm.", tool_calls=[WEATHER, *odd]), result()))
    assert [message.call_ids for message in told.messages] == [(), ("call_1",), ()]


def calling(**message: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [WEATHER], **message}


def result(**message: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": "call_1", "content": "12", **message}


def chat(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return body(messages=list(messages), **fields)


TEXT_PART = {"type": "text", "text": "12"}
ECHO: dict[str, Any] = {"refusal": None, "annotations": [], "audio": None, "function_call": None, "tool_calls": None}
CALLED = {"role": "assistant", "content": None, "function_call": {"name": "weather", "arguments": "{}"}}
ANSWERED = {"role": "function", "name": "weather", "content": "12"}
STRICT_TOOL = {"type": "function", "function": {"name": "weather", "strict": True, "parameters": SCHEMA}}
BARE_TOOL = {"type": "function", "function": {"name": "now"}}
ANY_ALLOWED = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [BARE_TOOL]}}

# What real clients were seen to send; each must be understood as it stands.
HABITS: dict[str, dict[str, Any]] = {
    "openai-node: stream false explicitly": body(stream=False),
    "pydantic-ai: usage asked for": body(stream=True, stream_options={"include_usage": True}),
    "null for whatever is not set": dict.fromkeys(CHAT_PARAMETERS) | body(),
    "usage options without a stream": body(stream_options={"include_usage": True}, stream=False),
    "empty usage options": body(stream=True, stream_options={}),
    "AI SDK: null content beside calls": chat(calling(content=None)),
    "langchain js: empty content beside calls": chat(calling(content="")),
    "calls without any content": chat(calling()),
    "langchain js: name on a tool message": chat(ASK, calling(), result(name="weather")),
    "a tool that says nothing": chat(ASK, calling(), result(content="")),
    "a tool's result is null": chat(ASK, calling(), result(content=None)),
    "a tool's result in parts": chat(result(content=[TEXT_PART])),
    "SDK object sent back: nulls": chat(ASK, {"role": "assistant", "content": "Yes", **ECHO}, ASK),
    "SDK object sent back: a refusal": chat({"role": "assistant", "content": None, "refusal": "No."}),
    "reasoning sent back": chat({"role": "assistant", "content": "4", "reasoning_content": "2+2"}),
    "langchain: system in parts": chat({"role": "system", "content": [TEXT_PART]}, ASK),
    "developer role": chat({"role": "developer", "content": "Be brief"}, ASK),
    "name on a user message": chat({"role": "user", "name": "Ännchen", "content": "Hi"}),
    "0.28: functions": chat(ASK, CALLED, ANSWERED, functions=[STRICT_TOOL["function"]], function_call="auto"),
    "AI SDK: tools, any choice": body(tools=[STRICT_TOOL], tool_choice="auto"),
    "tools without parameters": body(tools=[BARE_TOOL], tool_choice="none", parallel_tool_calls=False),
    "tools, some allowed, none demanded": body(tools=[BARE_TOOL], tool_choice=ANY_ALLOWED),
    "langchain: numbers": body(temperature=0.7, top_p=1, max_tokens=256, n=1, presence_penalty=0, seed=None),
    "AI SDK: stop words": body(stop=["\nuser:"], max_completion_tokens=10),
    "stop as a string": body(stop="###"),
    "text asked for explicitly": body(response_format={"type": "text"}, modalities=["text"]),
    "store, metadata, effort": body(store=True, metadata={"run": "1"}, reasoning_effort="low", verbosity="high"),
    "front ends' own extras": body(chat_id="c1", session_id="s", top_k=40, repetition_penalty=1.1, model_item={}),
    "out of range": body(temperature=99, top_p=-1, max_tokens=0),
}


@pytest.mark.parametrize("sent", HABITS.values(), ids=HABITS)
def test_what_real_clients_send_is_understood(sent: dict[str, Any]) -> None:
    turn = parse_request(json_codec.loads_strict(json_codec.dumps(sent)))
    assert turn.model == "app"
    assert any(message.text or message.tool_calls for message in turn.messages)


def test_a_refusal_is_what_was_said() -> None:
    assert messages_of(ASK, {"role": "assistant", "content": None, "refusal": "No."})[1] == (Role.ASSISTANT, "No.")


@pytest.mark.parametrize("empty", [None, ""])
def test_an_unnamed_user_is_nobody(empty: str | None) -> None:
    assert parse_request(body(user=empty)).user is None


def test_nul_is_removed_from_the_model_the_user_and_the_text() -> None:
    turn = parse_request(body(model="a\0pp", user="an\0na", messages=[{"role": "user", "content": "H\0i"}]))
    assert (turn.model, turn.user, turn.messages[0].text) == ("app", "anna", "Hi")


@pytest.mark.parametrize(
    ("fields", "inputs"),
    [
        ({"inputs": {"a": 1}}, {"a": 1}),
        ({"inputs": {}}, {}),
        ({"inputs": None}, {}),
        ({"metadata": None}, {}),
        ({"metadata": {"inputs": None}}, {}),
        ({"metadata": {"inputs": {"a": 1}}}, {"a": 1}),
        ({"metadata": {"inputs": '{"a": [1, "\\u00e9\\u0000"]}'}}, {"a": [1, "é"]}),
        ({"inputs": {"a": 1}, "metadata": {"inputs": {"b": 2}}}, {"a": 1}),
        ({"inputs": {}, "metadata": {"inputs": {"b": 2}}}, {}),
        ({"inputs": None, "metadata": {"inputs": {"b": 2}}}, {"b": 2}),
    ],
)
def test_inputs_come_from_the_body_or_else_from_its_metadata(fields: dict[str, Any], inputs: dict[str, Any]) -> None:
    assert parse_request(body(**fields)).inputs == inputs


# --- bad --------------------------------------------------------------------------------------------------------------

MISSING, TYPE, VALUE, UNSUPPORTED = (
    "missing_required_parameter",
    "invalid_type",
    "invalid_value",
    "unsupported_parameter",
)
NAMED_TOOL = {"type": "function", "function": {"name": "Person"}}


def one(**message: Any) -> dict[str, Any]:
    return body(messages=[ASK, message])


@pytest.mark.parametrize(
    ("sent", "param", "code"),
    [
        (None, None, TYPE),
        ([], None, TYPE),
        ("text", None, TYPE),
        (1, None, TYPE),
        ({}, "model", MISSING),
        (body(model=None), "model", MISSING),
        (body(model=""), "model", VALUE),
        (body(model="\0"), "model", VALUE),
        (body(model="\ud800"), "model", VALUE),
        (body(model=7), "model", TYPE),
        ({"model": "app"}, "messages", MISSING),
        (body(messages=None), "messages", MISSING),
        (body(messages=[]), "messages", "empty_array"),
        (body(messages={}), "messages", TYPE),
        (body(messages="Hi"), "messages", TYPE),
        (body(messages=["Hi"]), "messages[0]", TYPE),
        (body(messages=[ASK, None]), "messages[1]", TYPE),
        (body(messages=[{"role": "user", "content": ""}]), "messages", VALUE),
        (body(messages=[{"role": "user", "content": "\0"}]), "messages", VALUE),
        (body(messages=[{"role": "assistant"}]), "messages", VALUE),
        (one(content="x"), "messages[1].role", MISSING),
        (one(role=1, content="x"), "messages[1].role", TYPE),
        (one(role=["user"], content="x"), "messages[1].role", TYPE),
        (one(role="User", content="x"), "messages[1].role", VALUE),
        (one(role="bot", content="x"), "messages[1].role", VALUE),
        (one(role="user"), "messages[1].content", MISSING),
        (one(role="user", content=None), "messages[1].content", MISSING),
        (one(role="system", content=None), "messages[1].content", MISSING),
        (one(role="user", content=5), "messages[1].content", TYPE),
        (one(role="user", content={"type": "text", "text": "x"}), "messages[1].content", TYPE),
        (one(role="user", content="\udfff"), "messages[1].content", VALUE),
        (one(role="user", content=[{"type": "text", "text": 5}]), "messages[1].content[0].text", TYPE),
        (one(role="user", content=[{"type": "image"}]), "messages[1].content[0]", "unsupported_content_part"),
        (one(role="user", content=[{"type": "image_url"}]), "messages[1].content[0].image_url", MISSING),
        (one(role="assistant", refusal=False), "messages[1].refusal", TYPE),
        (one(role="assistant", tool_calls={}), "messages[1].tool_calls", TYPE),
        (one(role="assistant", tool_calls=["x"]), "messages[1].tool_calls[0]", TYPE),
        (one(role="assistant", tool_calls=[{}]), "messages[1].tool_calls[0].function", MISSING),
        (one(role="assistant", tool_calls=[{"type": "magic"}]), "messages[1].tool_calls[0].type", VALUE),
        (one(role="assistant", tool_calls=[{"type": []}]), "messages[1].tool_calls[0].type", TYPE),
        (one(role="assistant", tool_calls=[{"function": 1}]), "messages[1].tool_calls[0].function", TYPE),
        (one(role="assistant", tool_calls=[{"function": {}}]), "messages[1].tool_calls[0].function.name", MISSING),
        (
            one(role="assistant", tool_calls=[{"function": {"name": "f", "arguments": {}}}]),
            "messages[1].tool_calls[0].function.arguments",
            TYPE,
        ),
        (one(role="assistant", tool_calls=[{"type": "custom"}]), "messages[1].tool_calls[0].custom", MISSING),
        (one(role="assistant", function_call="f"), "messages[1].function_call", TYPE),
        (one(role="assistant", function_call={"name": None}), "messages[1].function_call.name", MISSING),
        (body(stream="true"), "stream", TYPE),
        (body(stream=1), "stream", TYPE),
        (body(stream_options=[]), "stream_options", TYPE),
        (body(stream_options={"include_usage": "yes"}), "stream_options.include_usage", TYPE),
        (body(n=0), "n", UNSUPPORTED),
        (body(n=2), "n", UNSUPPORTED),
        (body(n=True), "n", TYPE),
        (body(user=1), "user", TYPE),
        (body(user="\ud800"), "user", VALUE),
        (body(inputs=[]), "inputs", TYPE),
        (body(inputs="{}"), "inputs", TYPE),
        (body(inputs={"a": "\ud800"}), "inputs.a", VALUE),
        (body(metadata=[]), "metadata", TYPE),
        (body(metadata={"inputs": 5}), "metadata.inputs", TYPE),
        (body(metadata={"inputs": "city=Oslo"}), "metadata.inputs", VALUE),
        (body(metadata={"inputs": "[1]"}), "metadata.inputs", TYPE),
        (body(metadata={"inputs": "\ud800"}), "metadata.inputs", VALUE),
        (body(metadata={"inputs": '{"a":"\\ud800"}'}), "metadata.inputs.a", VALUE),
        (body(metadata={"inputs": "[" * 100_000}), "metadata.inputs", VALUE),
        (body(tools={}), "tools", TYPE),
        (body(tools=[NAMED_TOOL, "weather"]), "tools[1]", TYPE),
        (body(functions=[1]), "functions[0]", TYPE),
        (body(tool_choice=["auto"]), "tool_choice", TYPE),
        (body(response_format="text"), "response_format", TYPE),
        (body(modalities=["text", "audio"]), "modalities", UNSUPPORTED),
        (body(audio={"voice": "alloy", "format": "mp3"}), "audio", UNSUPPORTED),
        (body(temperature="0.7"), "temperature", TYPE),
        (body(temperature=True), "temperature", TYPE),
        (body(max_tokens=1.5), "max_tokens", TYPE),
        (body(stop=1), "stop", TYPE),
        (body(logit_bias=[]), "logit_bias", TYPE),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, dict) else None,
)
def test_a_bad_request_names_the_parameter(sent: Any, param: str | None, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_request(sent)
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.message.isprintable()


# --- anything ---------------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(
    ["user", "assistant", "tool", "system", "text", "function", "auto", "{}", "image_url", "\ud83d", "\0"]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
NAMES = TEXT | st.sampled_from(
    ["role", "content", "type", "text", "tool_calls", "function", "name", "arguments", "refusal", "inputs"]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={"content": TEXT | VALUES, "tool_calls": st.lists(VALUES, max_size=2), "refusal": SCALARS},
)
BODIES = st.fixed_dictionaries(
    {"model": TEXT | VALUES, "messages": st.lists(MESSAGES, max_size=4) | VALUES},
    optional={name: VALUES for name in CHAT_PARAMETERS if name not in ("model", "messages")},
)
PLAIN = st.text(min_size=1, max_size=8)
PLAIN_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=8,
)
MOSTLY_GOOD = st.fixed_dictionaries(
    {
        "model": PLAIN,
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": PLAIN},
                optional={"tool_calls": st.just([WEATHER]), "name": PLAIN_JSON, "refusal": PLAIN},
            ),
            min_size=1,
            max_size=4,
        ),
    },
    optional={"inputs": st.dictionaries(PLAIN, PLAIN_JSON, max_size=3), "user": PLAIN, "stream": st.booleans()},
)


def attempt(sent: Any) -> tuple[Turn | None, InvalidRequest | None]:
    try:
        return parse_request(sent), None
    except InvalidRequest as error:
        return None, error


@settings(deadline=None, max_examples=300)
@given(MOSTLY_GOOD | BODIES | VALUES)
def test_any_json_gives_a_turn_or_an_invalid_request(sent: Any) -> None:
    turn, error = attempt(sent)
    if error is not None:
        assert error.message.isprintable()
        assert error.param is None or error.param.split(".")[0].split("[")[0] in CHAT_PARAMETERS
        return
    assert turn is not None
    assert turn.model
    assert any(message.text or message.tool_calls for message in turn.messages)
    json_codec.dumps({"query": [message.text for message in turn.messages], "inputs": dict(turn.inputs)})
    for text in (turn.model, turn.user or "", *(message.text for message in turn.messages)):
        assert "\0" not in text
        text.encode("utf-8")


ROLE_AND_TEXT = st.fixed_dictionaries(
    {"role": NAMES | st.sampled_from(["system", "developer"]) | VALUES, "content": TEXT | VALUES}
)


@settings(deadline=None, max_examples=300)
@given(ROLE_AND_TEXT)
def test_a_plain_message_is_read_as_any_other(sent: dict[str, Any]) -> None:
    """What is beside role and content makes a message one that is looked at closely."""
    (turn, error), (other_turn, other_error) = (attempt(body(messages=[one])) for one in (sent, {**sent, "name": "N"}))
    assert turn == other_turn
    assert str(error) == str(other_error)
    assert (error and error.param) == (other_error and other_error.param)


@settings(deadline=None, max_examples=300)
@given(MOSTLY_GOOD | BODIES, st.sampled_from(["user", "n", "tools", "conversation_id", "seed"]))
def test_what_is_null_is_not_asked_for(sent: dict[str, Any], name: str) -> None:
    """Also where nothing else is, and what is not there is not looked for."""
    (turn, error), (other_turn, other_error) = attempt(sent), attempt({name: None, **sent})
    assert turn == other_turn
    assert str(error) == str(other_error)
    assert (error and error.param) == (other_error and other_error.param)


def test_every_parameter_of_a_turn_is_looked_for() -> None:
    fields = body(
        stop="S", max_tokens=5, user="anna", inputs={"a": 1}, conversation_id="0" * 8 + "-0000" * 3 + "-" + "0" * 12
    )
    for name, value in fields.items():
        if name not in ("model", "messages"):
            assert parse_request(body(**{name: value})) != parse_request(body())
