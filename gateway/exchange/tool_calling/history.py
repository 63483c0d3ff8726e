"""Earlier calls and their results in words, so that a model that gets plain text knows of them.

Calls are written as this answer's calls are to be written: models repeat what they see.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gateway.exchange.json_answers.json_text import read_json
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import Message, Role, ToolCall

_LONGEST_ARGUMENTS = 200  # characters in a result's title, which only tells several calls apart


def tell(messages: Iterable[Message], syntax: CallSyntax | None) -> tuple[Message, ...]:
    """The messages with their `words`. No syntax: this answer has no tools, and calls are only mentioned."""
    calls: dict[str, ToolCall] = {}
    told = []
    for message in messages:
        if message.tool_calls:
            calls.update({call.id: call for call in message.tool_calls})
            written = [_write(call, syntax) for call in message.tool_calls]
            message = replace(message, words="\n".join([message.text, *written] if message.text else written))
        elif message.role is Role.TOOL:
            title = _title(calls.get(message.tool_call_id))
            message = replace(message, words=f"{title}\n{message.text or '(nothing)'}")
        told.append(message)
    return tuple(told)


def _write(call: ToolCall, syntax: CallSyntax | None) -> str:
    if syntax is None:
        return f"[called {call.name}({call.arguments})]"
    try:
        return syntax.write(call.name, read_json(call.arguments) if call.arguments.strip() else {})
    except ValueError:
        return syntax.write(call.name, call.arguments)


def _title(call: ToolCall | None) -> str:
    if call is None:
        return "[result of a tool]"
    arguments = call.arguments
    if len(arguments) > _LONGEST_ARGUMENTS:
        arguments = arguments[: _LONGEST_ARGUMENTS - 1] + "…"
    return f"[result of {call.name}({arguments})]"
