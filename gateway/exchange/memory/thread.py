"""How one turn hangs on a conversation: what Dify is asked, and what the answer carries back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from gateway.exchange.attachment import Attachment
from gateway.exchange.memory.known_chats import KnownChats
from gateway.exchange.turn import Message, Prompt, Role
from gateway.frozen import frozen


class Outcome(StrEnum):
    """What became of the client's history; a metric's label."""

    NONE = "none"  # nothing is remembered
    FOLDED = "folded"  # it is in the query
    STARTED = "started"  # there was none: a new conversation
    CONTINUED = "continued"  # it is in Dify's conversation, which goes on
    BRANCHED = "branched"  # it is not what the conversation holds: folded into a new one
    HEALED = "healed"  # the conversation is gone: folded into a new one


@frozen
class Scope:
    """Whose memory: what a hidden token is bound to."""

    app_key: str = field(repr=False)
    user: str  # Dify's
    has_conversations: bool = True  # text generators and workflows have none
    legacy_user: str | None = None  # OpenDify's user, where its tokens are to be read
    pinned: str = ""  # what a conversation is begun with for good: with another one it is another conversation
    conversation_id: str | None = None  # named by the client
    is_chat: bool = False  # the user is one chat of one person, and owns its conversation only
    known: KnownChats = field(default_factory=KnownChats, repr=False, compare=False)


@frozen
class Lookup:
    """What only Dify can tell: whether it has a conversation that holds what the client shows."""

    conversation_id: str | None  # None: the user's newest one
    must_match: bool = True  # whether it has to be looked at


NEWEST = Lookup(None, must_match=False)


class Thread(Protocol):
    """One turn's place in its conversation."""

    prompt: Prompt
    user: str  # Dify's, for this turn
    outcome: Outcome
    last_message_id: str | None  # what Dify's conversation has to end with; None: nobody knows
    lookup: Lookup | None  # None: nothing else has to be asked

    def feed(self, text: str) -> None:
        """More of the answer's visible text."""

    def tail(self, conversation_id: str | None, message_id: str | None, whole: str | None = None) -> str:
        """What the answer ends with. `whole` is the answer's text where it is not what was fed.

        An answer that is JSON gets nothing; one made of tool calls, or held to a format, is not to be given any.
        """

    def call_id(self, conversation_id: str | None, message_id: str | None, number: int) -> str | None:
        """The id of the tool call number 0, 1, … in this answer; None: the caller's own choice will do.

        The next turn finds the conversation again in `Message.call_ids`.
        """

    def anew(self, outcome: Outcome) -> Thread:
        """The same turn in a new conversation."""


@dataclass(slots=True)
class PlainThread:
    """A turn whose answer carries nothing back."""

    prompt: Prompt
    user: str
    outcome: Outcome
    last_message_id: str | None = None
    lookup: Lookup | None = None

    def feed(self, text: str) -> None:
        pass

    def tail(self, conversation_id: str | None, message_id: str | None, whole: str | None = None) -> str:
        return ""

    def call_id(self, conversation_id: str | None, message_id: str | None, number: int) -> str | None:
        return None

    def anew(self, outcome: Outcome) -> Thread:
        return self


def files_of(messages: Iterable[Message]) -> tuple[Attachment, ...]:
    """What was sent along with these messages; an app's own files are in its answers, not among them."""
    with_files = [message for message in messages if message.attachments and message.role is not Role.ASSISTANT]
    return tuple([attachment for message in with_files for attachment in message.attachments])
