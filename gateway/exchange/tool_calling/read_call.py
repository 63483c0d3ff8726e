"""A call's JSON → the tool and its arguments, with patience for how models write it, and checked."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.exchange.json_schema import value_problem
from gateway.exchange.json_text import read_json, write_json
from gateway.exchange.turn import JSONValue, ToolSpec

# What models call the two fields, likeliest first.
_NAMES = ("name", "tool", "tool_name", "function", "function_name")
_ARGUMENTS = ("arguments", "parameters", "args", "input")


class CallProblem(Exception):
    """The call cannot be used; the message says why, to the model and to people."""


@dataclass(frozen=True, slots=True)
class CheckedCall:
    """A call that its tool can take."""

    tool: ToolSpec
    arguments: str  # JSON


def read_calls(text: str, heading: str, tools: tuple[ToolSpec, ...]) -> list[CheckedCall]:
    """The calls in one JSON text, one as a rule. Raises CallProblem if any of them cannot be used."""
    try:
        value = read_json(text)
    except ValueError:
        shown = f"{heading} {text}".strip()[:200]
        raise CallProblem(f"There is no JSON object that could be read in the call {shown!r}.") from None
    items = value if isinstance(value, list) else [value]
    if not items:
        raise CallProblem("There is nothing in the call.")
    return [_read_call(item, heading, tools) for item in items]


def find_tool(name: str, tools: tuple[ToolSpec, ...]) -> ToolSpec:
    """By name; models change its case and put `functions.` before it. Raises CallProblem."""
    plain = name.strip().removeprefix("functions.")
    exact = [tool for tool in tools if tool.name in (name, plain)]
    alike = exact or [tool for tool in tools if tool.name.casefold() == plain.casefold()]
    if len(alike) != 1:
        raise CallProblem(f"There is no tool {name[:64]!r}.")
    return alike[0]


def check_arguments(arguments: JSONValue, tool: ToolSpec) -> None:
    """Raises CallProblem for arguments that the tool's schema does not take."""
    if tool.parameters and (problem := value_problem(arguments, tool.parameters)):
        raise CallProblem(f"The arguments of {tool.name!r} do not fit its schema: {problem}.")


def _read_call(item: JSONValue, heading: str, tools: tuple[ToolSpec, ...]) -> CheckedCall:
    if isinstance(item, dict) and isinstance(item.get("function"), dict):
        item = item["function"]  # as OpenAI's API writes it
    if not isinstance(item, dict):
        raise CallProblem("A call is a JSON object with a name and arguments.")
    field = next((name for name in _NAMES if isinstance(item.get(name), str)), None)
    tool = find_tool(heading if field is None else str(item[field]), tools)
    arguments = _find_arguments({name: value for name, value in item.items() if name != field})
    check_arguments(arguments, tool)
    try:
        return CheckedCall(tool, write_json(arguments))
    except ValueError as error:
        raise CallProblem(f"The arguments of {tool.name!r} cannot be written as JSON: {error}.") from None


def _find_arguments(fields: dict[str, JSONValue]) -> dict[str, JSONValue]:
    for name in _ARGUMENTS:
        if name not in fields:
            continue
        value = fields[name]
        if value is None or value == "":
            return {}
        if isinstance(value, str):  # encoded twice
            try:
                value = read_json(value)
            except ValueError:
                continue
        if isinstance(value, dict):
            return value
    fields.pop("id", None)
    fields.pop("type", None)
    return fields  # what stands beside the name is meant as arguments
