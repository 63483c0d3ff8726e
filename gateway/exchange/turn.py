"""What a client asks, in neutral words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from gateway.exchange.attachment import Attachment, InlineFile
from gateway.exchange.details import Details
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.frozen import frozen

JSONValue = str | int | float | bool | None | list["JSONValue"] | dict[str, "JSONValue"]


class Role(StrEnum):
    """Who speaks. OpenAI's `developer` is SYSTEM; `function` is TOOL."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@frozen
class ToolCall:
    """A call that an earlier answer made, as the client sends it back."""

    name: str
    arguments: str  # JSON, as far as the client kept it so
    id: str = ""  # results name it; calls of the days before tools have none


@frozen
class Message:
    """One message of the client's history; `text` is all its text parts joined."""

    role: Role
    text: str
    attachments: tuple[Attachment, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()  # of an assistant
    tool_call_id: str = ""  # of a tool: which call this is the result of
    words: str | None = None  # what a model is told instead of the text: with calls and results put in words

    @property
    def call_ids(self) -> tuple[str, ...]:
        """Of the calls that have one."""
        return tuple(call.id for call in self.tool_calls if call.id)

    @property
    def said(self) -> str:
        """The text; of a message that is files only, their mention, as an app must be asked something."""
        words = self._words
        return words if words.strip() else self._mentions

    @property
    def told(self) -> str:
        """The text and a mention of each file: for a history, where files have no place."""
        return "\n".join([part for part in (self._words, self._mentions) if part.strip()])

    @property
    def _mentions(self) -> str:
        return "\n".join([attachment.mention for attachment in self.attachments])

    @property
    def _words(self) -> str:
        return self.text if self.words is None else self.words


@frozen
class ToolSpec:
    """A tool that the client runs itself."""

    name: str
    description: str = ""
    parameters: Mapping[str, JSONValue] | None = None  # a JSON Schema; None: it takes no arguments


@frozen
class ToolChoice:
    """The tools that this answer may call, and how."""

    tools: tuple[ToolSpec, ...]  # never empty
    required: bool = False  # an answer without a call is none
    parallel: bool = True  # several calls in one answer
    as_functions: bool = False  # the client speaks of functions, as all did before there were tools


@frozen
class ResponseFormat:
    """The answer's text is to be JSON that a program parses."""

    schema: Mapping[str, JSONValue] | None = None  # a JSON Schema; None: any object


@frozen
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
    conversation_id: str | None = None  # Dify's, where the client names it
    reasoning: Reasoning = Reasoning.FIELD  # what becomes of the thoughts in its answer
    max_characters: int | None = None  # of its text
    hold_back: bool = False  # until moderation can take nothing of it back any more
    details: Details = Details.OFF
    tool_choice: ToolChoice | None = None  # None: the answer is text
    response_format: ResponseFormat | None = None  # None: the text is prose

    def let_files_go(self) -> None:
        """Free the memory of inline files: Dify has those that it needs."""
        for message in self.messages:
            for attachment in message.attachments:
                if isinstance(attachment.content, InlineFile):
                    attachment.content.let_go()


@frozen
class Prompt:
    """What memory makes of a turn: the text for Dify's `query`, the conversation it goes on in, and files."""

    query: str
    conversation_id: str | None = None
    attachments: tuple[Attachment, ...] = ()  # of what is said now: all of them, or the turn is refused
    earlier: tuple[Attachment, ...] = ()  # of the history that is told anew, oldest first: as many as the app takes
