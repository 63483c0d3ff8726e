"""What requests say of tools, in OpenAI's old words and new ones, and what of it cannot be."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.turn import ToolCall, ToolChoice, ToolSpec
from gateway.openai_api.tools import read_calls, read_tool_choice

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "$schema": "x", "additionalProperties": False}
WEATHER_FUNCTION = {"name": "weather", "description": "How it is", "parameters": SCHEMA, "strict": True}
WEATHER = {"type": "function", "function": WEATHER_FUNCTION}
CLOCK = {"function": {"name": "clock", "description": None, "parameters": None}}
TOOLS = [WEATHER, CLOCK]
WEATHER_SPEC, CLOCK_SPEC = ToolSpec("weather", "How it is", SCHEMA), ToolSpec("clock")
SPECS = (WEATHER_SPEC, CLOCK_SPEC)


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({}, None),
        ({"tools": []}, None),
        ({"tools": None, "functions": None}, None),
        ({"tool_choice": "none"}, None),
        ({"tool_choice": "auto"}, None),
        ({"tools": TOOLS}, ToolChoice(SPECS)),
        ({"tools": TOOLS, "tool_choice": None}, ToolChoice(SPECS)),
        ({"tools": TOOLS, "tool_choice": "auto"}, ToolChoice(SPECS)),
        ({"tools": TOOLS, "tool_choice": "none"}, None),
        ({"tools": TOOLS, "tool_choice": "required"}, ToolChoice(SPECS, required=True)),
        ({"tools": TOOLS, "parallel_tool_calls": True}, ToolChoice(SPECS)),
        ({"tools": TOOLS, "parallel_tool_calls": False}, ToolChoice(SPECS, parallel=False)),
        ({"tools": TOOLS, "tool_choice": named("clock")}, ToolChoice((CLOCK_SPEC,), required=True)),
        ({"tools": TOOLS, "tool_choice": allowed("auto", "clock")}, ToolChoice((CLOCK_SPEC,))),
        ({"tools": TOOLS, "tool_choice": allowed("required", "clock", "weather")}, ToolChoice(SPECS, required=True)),
        ({"functions": [WEATHER_FUNCTION]}, ToolChoice((WEATHER_SPEC,), parallel=False, as_functions=True)),
        ({"functions": [WEATHER_FUNCTION], "function_call": "none"}, None),
        (
            {"functions": [WEATHER_FUNCTION], "function_call": {"name": "weather"}},
            ToolChoice((WEATHER_SPEC,), required=True, parallel=False, as_functions=True),
        ),
        ({"tools": [CLOCK], "functions": [WEATHER_FUNCTION]}, ToolChoice((CLOCK_SPEC,))),
    ],
)
def test_the_choice_is_what_the_request_says(fields: dict[str, Any], choice: ToolChoice | None) -> None:
    assert read_tool_choice(fields) == choice


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"tools": [5]}, "tools[0]", "invalid_type"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "unsupported_parameter"),
        ({"tools": [{"type": 5}]}, "tools[0].type", "invalid_type"),
        ({"tools": [WEATHER, {"type": "function"}]}, "tools[1].function", "missing_required_parameter"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name", "missing_required_parameter"),
        ({"tools": [{"function": {"name": " "}}]}, "tools[0].function.name", "invalid_value"),
        ({"tools": [{"function": {"name": "a", "description": 5}}]}, "tools[0].function.description", "invalid_type"),
        ({"tools": [{"function": {"name": "a", "parameters": []}}]}, "tools[0].function.parameters", "invalid_type"),
        (
            {"tools": [{"function": {"name": "a", "parameters": {"title": "\ud800"}}}]},
            "tools[0].function.parameters.title",
            "invalid_value",
        ),
        ({"tools": [CLOCK, CLOCK]}, "tools[1]", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": "weather"}, "tool_choice", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": {}}, "tool_choice.type", "missing_required_parameter"),
        ({"tools": TOOLS, "tool_choice": {"type": "web"}}, "tool_choice.type", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": {"type": "function"}}, "tool_choice.function", "missing_required_parameter"),
        ({"tools": TOOLS, "tool_choice": named("radar")}, "tool_choice.function.name", "invalid_value"),
        ({"tool_choice": named("radar")}, "tool_choice.function.name", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": allowed("auto", "radar")}, "tool_choice.allowed_tools.tools", "invalid_value"),
        ({"tools": TOOLS, "tool_choice": allowed("all", "clock")}, "tool_choice.allowed_tools.mode", "invalid_value"),
        ({"functions": [1]}, "functions[0]", "invalid_type"),
        ({"functions": [WEATHER_FUNCTION] * 2}, "functions[1]", "invalid_value"),
        ({"functions": [WEATHER_FUNCTION], "function_call": "required"}, "function_call", "invalid_value"),
        ({"functions": [WEATHER_FUNCTION], "function_call": {}}, "function_call.name", "missing_required_parameter"),
        ({"functions": [WEATHER_FUNCTION], "function_call": {"name": "x"}}, "function_call.name", "invalid_value"),
    ],
)
def test_what_cannot_be_names_its_place(fields: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_tool_choice(fields)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_schema_without_end_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"items": schema}
    with pytest.raises(InvalidRequest) as caught:
        read_tool_choice({"tools": [{"function": {"name": "a", "parameters": schema}}]})
    assert caught.value.param == "tools"


def test_calls_of_every_kind_are_read() -> None:
    message: dict[str, Any] = {
        "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
            {"id": "2", "type": "custom", "custom": {"name": "shell", "input": "ls"}},
            {"function": {"name": "clock", "arguments": None}},
        ],
        "function_call": {"name": "old", "arguments": "{}"},
    }
    assert read_calls(message, "messages[0]") == (
        ToolCall("weather", '{"city":"Oslo"}', "1"),
        ToolCall("shell", "ls", "2"),
        ToolCall("clock", ""),
        ToolCall("old", "{}"),
    )
    assert read_calls({"tool_calls": None, "function_call": None}, "messages[0]") == ()
