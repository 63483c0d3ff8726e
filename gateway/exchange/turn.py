"""What a client asks, in neutral words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.exchange.reasoning import Reasoning

JSONValue = str | int | float | bool | None | list["JSONValue"] | dict[str, "JSONValue"]


class Role(StrEnum):
    """Who speaks. OpenAI's `developer` is SYSTEM; `function` is TOOL."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the client's history; `text` is all its text parts joined."""

    role: Role
    text: str
    call_ids: tuple[str, ...] = ()  # of the tools that an assistant's message calls


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: the whole history, and what the client wants back."""

    model: str
    messages: tuple[Message, ...]  # never empty
    stream: bool = False
    include_usage: bool = False  # OpenAI's stream_options.include_usage
    inputs: Mapping[str, JSONValue] = field(default_factory=dict)  # Dify's input variables, from the body
    user: str | None = None  # as the client named its end user
    reasoning: Reasoning = Reasoning.FIELD  # what becomes of the thoughts in its answer


@dataclass(frozen=True, slots=True)
class Prompt:
    """What memory makes of a turn: the text for Dify's `query` and the conversation it goes on in."""

    query: str
    conversation_id: str | None = None
