"""The client's system text → the input that an app has for it."""

from __future__ import annotations

from dataclasses import replace

from gateway.dify_api.app import App
from gateway.dify_api.inputs import list_of_inputs
from gateway.errors import AppUnavailable
from gateway.exchange.memory.history import system_text
from gateway.exchange.turn import Role, Turn


def move_system_text(app: App, turn: Turn) -> tuple[Turn, str]:
    """The turn with its system text among the inputs, where the app's key names one for it, and what its conversation
    is pinned to: Dify 0.15 keeps the inputs of a conversation's first turn, so another text needs another one.

    An input that the client gives itself is never overwritten. Raises AppUnavailable when the app has no such input.
    """
    variable = app.key.system_variable
    if variable is None:
        return turn, ""
    if variable not in {field.variable for field in app.inputs}:
        raise AppUnavailable(
            f"DIFY_API_KEYS names system={variable} for this app, which is not one of its inputs; "
            f"{list_of_inputs(app)}."
        )
    text = system_text(turn.messages)
    spoken = tuple(message for message in turn.messages if message.role is not Role.SYSTEM)
    if not text or not spoken or turn.inputs.get(variable) is not None:
        return turn, ""
    moved = replace(turn, messages=spoken, inputs={**turn.inputs, variable: text})
    return moved, text if app.keeps_first_inputs else ""
