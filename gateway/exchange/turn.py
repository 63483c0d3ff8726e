"""What a client asks, in neutral words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gateway.exchange.attachment import Attachment, InlineFile
from gateway.exchange.details import Details
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
    attachments: tuple[Attachment, ...] = ()

    @property
    def said(self) -> str:
        """The text; of a message that is files only, their mention, as an app must be asked something."""
        return self.text if self.text.strip() else self._mentions

    @property
    def told(self) -> str:
        """The text and a mention of each file: for a history, where files have no place."""
        return "\n".join(part for part in (self.text, self._mentions) if part.strip())

    @property
    def _mentions(self) -> str:
        return "\n".join(attachment.mention for attachment in self.attachments)


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: the whole history, and what the client wants back."""

    model: str
    messages: tuple[Message, ...]  # never empty
    stream: bool = False
    include_usage: bool = False  # OpenAI's stream_options.include_usage
    inputs: Mapping[str, JSONValue] = field(default_factory=dict)  # Dify's input variables, from the body
    user: str | None = None  # as the client named its end user
    stop: tuple[str, ...] = ()  # the text ends before the first of these
    max_tokens: int | None = None  # of the answer
    ignored: tuple[str, ...] = ()  # parameters that were named and that Dify has no place for
    reasoning: Reasoning = Reasoning.FIELD  # what becomes of the thoughts in its answer
    max_characters: int | None = None  # of its text
    hold_back: bool = False  # until moderation can take nothing of it back any more
    details: Details = Details.OFF

    def let_files_go(self) -> None:
        """Free the memory of inline files: Dify has those that it needs."""
        for message in self.messages:
            for attachment in message.attachments:
                if isinstance(attachment.content, InlineFile):
                    attachment.content.let_go()


@dataclass(frozen=True, slots=True)
class Prompt:
    """What memory makes of a turn: the text for Dify's `query`, the conversation it goes on in, and files."""

    query: str
    conversation_id: str | None = None
    attachments: tuple[Attachment, ...] = ()  # of what is said now: all of them, or the turn is refused
    earlier: tuple[Attachment, ...] = ()  # of the history that is told anew, oldest first: as many as the app takes
