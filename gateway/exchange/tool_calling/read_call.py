"""A call's JSON → the tool and its arguments, with patience for how models write it, and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from gateway.exchange.json_answers.json_schema import value_problem
from gateway.exchange.json_answers.json_text import read_json, read_strictly, write_json
from gateway.exchange.json_answers.retype import retype
from gateway.exchange.turn import JSONValue, ToolSpec
from gateway.frozen import frozen

# What models call the two fields, likeliest first.
_NAMES = ("name", "tool", "tool_name", "function", "function_name", "action")
_ARGUMENTS = ("arguments", "parameters", "args", "input", "params", "kwargs", "tool_input", "action_input")
# What they wrap a call in, and several.
_WRAPPINGS = ("function", "function_call", "tool_call")
_LISTS = ("tool_calls", "calls")

_WORD = re.compile(r"[\w.-]+")
_MOST_ENCODINGS = 3
_BEHIND_NAME = re.compile(r"(?:\(\)|:\d+)\Z")


class CallProblem(Exception):
    """The call cannot be used; the message says why, to the model and to people."""


@frozen
class CheckedCall:
    """A call that its tool can take."""

    tool: ToolSpec
    arguments: str  # JSON


def read_calls(text: str, heading: str, tools: tuple[ToolSpec, ...]) -> list[CheckedCall]:
    """The calls in one JSON text, one as a rule. Raises CallProblem if any of them cannot be used."""
    if heading and not text:  # nothing but a name, as models write calls of tools that take no arguments
        return [_read_call({"name": heading}, "", tools)] if _names_tool(heading, tools) else _refuse(heading)
    try:
        value = read_json(text)
    except ValueError:
        return _refuse(f"{heading} {text}")
    if isinstance(value, dict) and len(value) == 1:
        value = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), value)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise CallProblem("There is nothing in the call.")
    return [_read_call(item, heading, tools) for item in items]


def find_tool(name: str, tools: tuple[ToolSpec, ...]) -> ToolSpec:
    """By name; models write it in their own case, with other signs, behind `functions.` Raises CallProblem."""
    plain = _BEHIND_NAME.sub("", name.strip())
    for alike in (str, str.casefold, _letters):
        for spelling in (name, plain, plain.rpartition(".")[2]):
            found = [tool for tool in tools if alike(tool.name) == alike(spelling)]
            if len(found) == 1:
                return found[0]
    raise CallProblem(f"There is no tool {name[:64]!r}.")


def check_arguments(arguments: JSONValue, tool: ToolSpec) -> None:
    """Raises CallProblem for arguments that the tool's schema does not take."""
    if tool.parameters and (problem := value_problem(arguments, tool.parameters)):
        raise CallProblem(f"The arguments of {tool.name!r} do not fit its schema: {problem}.")


def _refuse(text: str) -> NoReturn:
    raise CallProblem(f"There is no JSON object that could be read in the call {text.strip()[:200]!r}.")


def _read_call(item: JSONValue, heading: str, tools: tuple[ToolSpec, ...]) -> CheckedCall:
    if isinstance(item, dict):
        item = next((item[name] for name in _WRAPPINGS if isinstance(item.get(name), dict)), item)
    if not isinstance(item, dict):
        raise CallProblem("A call is a JSON object with a name and arguments.")
    tool, fields = _find_name(item, heading, tools)
    arguments = _find_arguments(fields, tool)
    try:
        return CheckedCall(tool, write_json(arguments))
    except ValueError as error:
        raise CallProblem(f"The arguments of {tool.name!r} cannot be written as JSON: {error}.") from None


def _find_name(
    item: dict[str, JSONValue], heading: str, tools: tuple[ToolSpec, ...]
) -> tuple[ToolSpec, dict[str, JSONValue]]:
    """The tool, and the fields that do not name it. Raises CallProblem."""
    names = {field: value for field in _NAMES if isinstance(value := item.get(field), str)}
    for field, name in names.items():
        if _names_tool(name, tools) or len(names) == 1:
            return find_tool(name, tools), {key: value for key, value in item.items() if key != field}
    if len(item) == 1 and isinstance(fields := item[only := next(iter(item))], dict) and _names_tool(only, tools):
        return find_tool(only, tools), {"arguments": fields}
    words = set(_WORD.findall(heading))
    named = [tool.name for tool in tools if tool.name in words]
    return find_tool(named[0] if len(named) == 1 else next(iter(names.values()), heading), tools), item


def _names_tool(name: str, tools: tuple[ToolSpec, ...]) -> bool:
    try:
        find_tool(name, tools)
    except CallProblem:
        return False
    return True


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold())) or name


def _find_arguments(fields: dict[str, JSONValue], tool: ToolSpec) -> JSONValue:
    """The likeliest reading that the tool takes. Raises CallProblem, of the likeliest."""
    first: CallProblem | None = None
    for reading in _readings(fields, tool):
        for arguments in (reading, retype(reading, tool.parameters)):
            try:
                check_arguments(arguments, tool)
            except CallProblem as problem:
                first = first or problem
            else:
                return arguments
    raise first or CallProblem("There are no arguments.")


def _readings(fields: dict[str, JSONValue], tool: ToolSpec) -> Iterator[dict[str, JSONValue]]:
    """What the fields beside the name may say, likeliest first."""
    own = (tool.parameters or {}).get("properties")
    own_names = own if isinstance(own, dict) else {}
    for name in _ARGUMENTS:
        value = _decode(fields.get(name))
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if name in fields and value in (None, "", []):
            value = {}
        if isinstance(value, dict):
            yield value
            if name not in own_names:
                return
    # What stands beside the name is meant as arguments.
    yield {name: value for name, value in fields.items() if name in own_names or name not in ("id", "type")}


def _decode(value: JSONValue) -> JSONValue:
    """Arguments that were encoded twice, or more often; else the value."""
    for _ in range(_MOST_ENCODINGS):
        if not isinstance(value, str):
            break
        try:
            value = read_strictly(value) if value.startswith('"') else read_json(value)
        except ValueError:
            break
    return value
