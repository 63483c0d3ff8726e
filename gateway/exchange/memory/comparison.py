"""Whether a conversation of Dify holds what a client shows: for a node that has seen nothing of the chat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from gateway.errors import InvalidRequest
from gateway.exchange.memory.fingerprint import seen
from gateway.exchange.memory.history import new_text
from gateway.exchange.memory.looked_up import bare_question
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.turn import Message, Role
from gateway.frozen import frozen

# Dify keeps thoughts in the text, as tags or (before 1.0) as a details element; clients get them apart from it.
_THOUGHTS = re.compile(r"<think>.*?</think>|<details\b[^>]*>\s*<summary>\s*Thinking.*?</details>", re.DOTALL)


@frozen
class PastTurn:
    """One question and its answer, as Dify has stored them."""

    query: str
    answer: str


def system_text_told(
    history: tuple[Message, ...], past: Sequence[PastTurn], is_all: bool, is_bare: bool = False
) -> str | None:
    """Compare the client's messages up to its last answer with the newest turns of a conversation, oldest first.

    None: they are not the same. Else the system text that went before the newest question that had one, as `seen`
    gives it; "" for none. `is_all`: the conversation has no older turns. `is_bare`: the client has nothing that goes
    before a question, so what stands there is a part of it that has been cut off since.
    """
    shown = list(_turns(history))
    if not past or len(past) > len(shown):
        return None
    told = ""
    for number, ((begin, end), turn) in enumerate(zip(shown[-len(past) :], past, strict=True)):
        # The first question brought all that the client showed then.
        asked = _folded(history[:end]) if number == 0 and is_all else new_text(history[begin:end])
        question, query = _compact(asked), _compact(bare_question(turn.query))
        if not question or not query.endswith(question) or (is_bare and query != question):
            return None
        # What calls tools is stored as the app has spelled the calls.
        if not history[end].tool_calls and _compact(history[end].text) != _compact(turn.answer):
            return None
        told = query[: -len(question)] or told
    return told


def _turns(history: tuple[Message, ...]) -> Iterator[tuple[int, int]]:
    """Where each question begins, and where its answer stands."""
    begin = 0
    for index, message in enumerate(history):
        if message.role is Role.ASSISTANT:
            yield begin, index
            begin = index + 1


def _folded(messages: tuple[Message, ...]) -> str:
    try:
        return PromptHistory().fold(message for message in messages if message.role is not Role.SYSTEM).query
    except InvalidRequest:
        return ""  # nobody had said anything


def _compact(text: str) -> str:
    """The text without thoughts and white space: Dify strips answers, and joins an agent's pieces with line ends."""
    return seen(_THOUGHTS.sub("", text))
