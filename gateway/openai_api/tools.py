"""What a request says of tools: those it offers, which of them may or must be called, and the calls of its history.

Before there were tools there were `functions` and `function_call`; both become the same ToolChoice.
"""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.exchange.turn import ToolCall, ToolChoice, ToolSpec
from gateway.openai_api.parameters import pick, quote, read_array, read_inputs, read_object, read_text, require

Fields = dict[str, object]

_FIELDS = frozenset({"tools", "tool_choice", "functions", "function_call"})


def read_tool_choice(fields: Fields) -> ToolChoice | None:
    """The tools that the answer may call; None: it is to be text. Raises InvalidRequest with the parameter's path."""
    if _FIELDS.isdisjoint(fields):
        return None
    if fields.get("tools") or not fields.get("functions"):
        tools = _unique(_read_tools(fields.get("tools") or [], "tools"), "tools")
        return _choose(tools, fields.get("tool_choice"), parallel=fields.get("parallel_tool_calls") is not False)
    functions = read_array(fields["functions"], "functions")
    tools = _unique([_read_spec(item, f"functions[{index}]") for index, item in enumerate(functions)], "functions")
    chosen = fields.get("function_call")
    if isinstance(chosen, dict):
        name = read_text(require(chosen.get("name"), "function_call.name"), "function_call.name")
        return ToolChoice(_named(tools, [name], "function_call.name"), required=True, parallel=False, as_functions=True)
    mode = "auto" if chosen is None else pick({"none": "none", "auto": "auto"}, chosen, "function_call")
    return None if mode == "none" else ToolChoice(tools, parallel=False, as_functions=True)


# --- the tools --------------------------------------------------------------------------------------------------------


def _read_tools(tools: object, path: str) -> list[ToolSpec]:
    return [_read_tool(item, f"{path}[{index}]") for index, item in enumerate(read_array(tools, path))]


def _read_tool(item: object, path: str) -> ToolSpec:
    fields = read_object(item, path)
    kind = "function" if fields.get("type") is None else read_text(fields["type"], f"{path}.type")
    if kind != "function":
        message = f"Invalid tool: the type {quote(kind)} is not supported; send tools of type 'function' only."
        raise InvalidRequest(message, param=f"{path}.type", code="unsupported_parameter")
    return _read_spec(require(fields.get("function"), f"{path}.function"), f"{path}.function")


def _read_spec(item: object, path: str) -> ToolSpec:
    fields = read_object(item, path)
    name = read_text(require(fields.get("name"), f"{path}.name"), f"{path}.name")
    if not name.strip():
        raise InvalidRequest(f"Invalid '{path}.name': expected a non-empty string.", param=f"{path}.name")
    description, parameters = fields.get("description"), fields.get("parameters")
    return ToolSpec(
        name,
        "" if description is None else read_text(description, f"{path}.description"),
        None if parameters is None else read_inputs(parameters, f"{path}.parameters"),
    )


def _unique(tools: list[ToolSpec], path: str) -> tuple[ToolSpec, ...]:
    names: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in names:
            message = f"Invalid '{path}': the name {quote(tool.name)} comes twice, so a call could mean either."
            raise InvalidRequest(message, param=f"{path}[{index}]")
        names.add(tool.name)
    return tuple(tools)


# --- the choice -------------------------------------------------------------------------------------------------------

# OpenAI's word → whether a call is required; None: none is allowed.
_MODES = {"none": None, "auto": False, "required": True}


def _choose(tools: tuple[ToolSpec, ...], choice: object, parallel: bool) -> ToolChoice | None:
    if isinstance(choice, dict):
        tools, required = _read_narrow_choice(tools, choice)
        return ToolChoice(tools, required, parallel)
    mode = None if choice is None else pick(_MODES, choice, "tool_choice")
    if choice is not None and mode is None:
        return None
    if not tools:
        if mode:
            raise InvalidRequest("'tool_choice' demands a call, but there are no 'tools'.", param="tool_choice")
        return None
    return ToolChoice(tools, bool(mode), parallel)


def _read_narrow_choice(tools: tuple[ToolSpec, ...], choice: Fields) -> tuple[tuple[ToolSpec, ...], bool]:
    """One named tool, or some of the tools."""
    path = "tool_choice"
    kinds = {"function": False, "allowed_tools": True}
    if not pick(kinds, require(choice.get("type"), f"{path}.type"), f"{path}.type"):
        name_path = f"{path}.function.name"
        return _named(tools, [_read_name(choice, path)], name_path), True
    path = f"{path}.allowed_tools"
    allowed = read_object(require(choice.get("allowed_tools"), path), path)
    mode = pick({"auto": False, "required": True}, require(allowed.get("mode"), f"{path}.mode"), f"{path}.mode")
    items = read_array(require(allowed.get("tools"), f"{path}.tools"), f"{path}.tools")
    names = [
        _read_name(read_object(item, f"{path}.tools[{index}]"), f"{path}.tools[{index}]")
        for index, item in enumerate(items)
    ]
    return _named(tools, names, f"{path}.tools"), mode


def _read_name(fields: Fields, path: str) -> str:
    path = f"{path}.function"
    function = read_object(require(fields.get("function"), path), path)
    return read_text(require(function.get("name"), f"{path}.name"), f"{path}.name")


def _named(tools: tuple[ToolSpec, ...], names: list[str], path: str) -> tuple[ToolSpec, ...]:
    known = {tool.name for tool in tools}
    for name in names:
        if name not in known:
            raise InvalidRequest(f"'{path}' names {quote(name)}, which is none of the tools offered.", param=path)
    if not names:
        raise InvalidRequest(f"'{path}' is empty: no tool could be called.", param=path)
    return tuple(tool for tool in tools if tool.name in names)


# --- the history ------------------------------------------------------------------------------------------------------

_CALL_TYPES = {"function": "arguments", "custom": "input"}  # a call's type names its object; the field inside it


def read_calls(fields: Fields, path: str) -> tuple[ToolCall, ...]:
    """The calls that an assistant's message made."""
    calls: list[ToolCall] = []
    if fields.get("tool_calls") is not None:
        items = read_array(fields["tool_calls"], f"{path}.tool_calls")
        calls += [_read_call(item, f"{path}.tool_calls[{index}]") for index, item in enumerate(items)]
    if fields.get("function_call") is not None:
        calls.append(_read_function(fields["function_call"], f"{path}.function_call", "arguments", ""))
    return tuple(calls)


def _read_call(call: object, path: str) -> ToolCall:
    fields = read_object(call, path)
    kind = "function"  # where a call has no type: some compatible servers leave it out, and clients echo them
    if fields.get("type") is not None:
        kind = read_text(fields["type"], f"{path}.type")
    arguments_field = pick(_CALL_TYPES, kind, f"{path}.type")
    call_id = fields.get("id")
    known_id = call_id if isinstance(call_id, str) else ""  # a call of an odd id is told in words all the same
    return _read_function(require(fields.get(kind), f"{path}.{kind}"), f"{path}.{kind}", arguments_field, known_id)


def _read_function(call: object, path: str, arguments_field: str, call_id: str) -> ToolCall:
    fields = read_object(call, path)
    name = read_text(require(fields.get("name"), f"{path}.name"), f"{path}.name")
    arguments = fields.get(arguments_field)
    return ToolCall(name, "" if arguments is None else read_text(arguments, f"{path}.{arguments_field}"), call_id)
