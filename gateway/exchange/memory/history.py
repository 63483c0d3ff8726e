"""What a client's messages are to a conversation that has some of them already."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.exchange.turn import Message, Role

_SYSTEM, _ASSISTANT = Role.SYSTEM, Role.ASSISTANT  # by the enum's name each would cost a search


def last_answer(messages: Sequence[Message]) -> int | None:
    """Where the last answer stands; what is known of an older one tells nothing of what came after it."""
    for index in range(len(messages) - 1, -1, -1):
        if messages[index].role is _ASSISTANT:
            return index
    return None


def new_text(messages: tuple[Message, ...]) -> str:
    """What was said in these messages, but for the system's."""
    texts = [message.said for message in messages if message.role is not _SYSTEM]
    return "\n\n".join(text for text in texts if text.strip())


def system_text(messages: tuple[Message, ...]) -> str:
    """All that the system says."""
    texts = [message.text for message in messages if message.role is _SYSTEM]
    return "\n\n".join(text for text in texts if text.strip())


def behind_system_text(messages: tuple[Message, ...], query: str) -> str:
    """The query for a conversation that does not know this system text."""
    return "\n\n".join(filter(None, [system_text(messages), query]))
