"""What a client wants besides prose, calls of its tools or JSON, and how an app that takes text is told of it."""

from __future__ import annotations

from dataclasses import replace

from gateway.exchange.json_answers.structured_output import instruct_format
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.tool_calling.history import tell
from gateway.exchange.tool_calling.instructions import instruct
from gateway.exchange.turn import Prompt, Role, Turn


def with_words(turn: Turn, syntax: CallSyntax) -> Turn:
    """The turn with the calls and results of its history in words."""
    if not any(message.tool_calls or message.role is Role.TOOL for message in turn.messages):
        return turn
    return replace(turn, messages=tell(turn.messages, syntax if turn.tool_choice else None))


def instructed(prompt: Prompt, turn: Turn, syntax: CallSyntax) -> Prompt:
    """The prompt with what the answer has to be in front of it."""
    parts = []
    if turn.tool_choice:
        parts.append(instruct(turn.tool_choice, syntax))
    if turn.response_format and not (turn.tool_choice and turn.tool_choice.required):
        condition = "If you call no tool: " if turn.tool_choice else ""
        parts.append(condition + instruct_format(turn.response_format))
    return replace(prompt, query="\n\n".join([*parts, prompt.query])) if parts else prompt
