"""Memory mode 1: the client's whole history, folded into one query.

OpenAI's clients send the history with every request and Dify takes one text, so this works with every app and client
and keeps no state anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from gateway.errors import InvalidRequest
from gateway.exchange.memory import zero_width
from gateway.exchange.memory.history import last_answer
from gateway.exchange.memory.thread import Outcome, PlainThread, Scope, Thread, files_of
from gateway.exchange.turn import Message, Prompt, Role, Turn

_INTRODUCTION = "The conversation so far:"

# What the model is to do after the history, by who spoke last.
_TASKS = {
    Role.USER: "Reply to the user's next message:",
    Role.TOOL: "Go on with what the tools gave:",
    Role.ASSISTANT: "Go on from where the assistant stopped.",
}


class PromptHistory:
    """Sends system text, then what was said in order, then what is said now."""

    meaning = "prompt_history: the whole history in every query"

    def recall(self, turn: Turn, scope: Scope) -> Thread:
        """Make the query. Raises InvalidRequest when there is no text in it."""
        return PlainThread(self.fold(zero_width.visible(turn.messages)), scope.user, Outcome.FOLDED)

    def fold(self, messages: Iterable[Message]) -> Prompt:
        """All messages as one query. Raises InvalidRequest when there is no text in them."""
        messages = [message for message in messages if message.said]
        if not messages:
            raise InvalidRequest("'messages' has no text to send to the app.", param="messages")
        if len(messages) == 1:  # of whomever: nothing to tell apart, so nothing is added
            return Prompt(messages[0].said, None, files_of(messages))
        parts, spoken = [], []
        for message in messages:
            if message.role is Role.SYSTEM:
                parts.append(message.said)
            else:
                spoken.append(message)
        if len(spoken) == 1:
            parts.append(spoken[0].said)  # behind the system's words, and as bare
        elif spoken:
            parts += _folded(spoken)
        begin = _now(messages)
        return Prompt("\n\n".join(parts), None, files_of(messages[begin:]), files_of(messages[:begin]))


def _folded(spoken: list[Message]) -> list[str]:
    """History in tags, which keep speakers apart even where a text has several lines; the current text bare."""
    last = spoken[-1].role
    begin = len(spoken) if last is Role.ASSISTANT else len(spoken) - 1
    while last is Role.TOOL and begin and spoken[begin - 1].role is Role.TOOL:
        begin -= 1  # the results of calls that were made at once
    history = "\n".join(f"<{message.role}>\n{message.told}\n</{message.role}>" for message in spoken[:begin])
    current = "\n".join([_TASKS[last], *(message.said for message in spoken[begin:])])
    return [f"{_INTRODUCTION}\n{history}", current] if history else [current]


def _now(messages: list[Message]) -> int:
    """Where what is said now begins: behind the last answer."""
    answered = last_answer(messages)
    return 0 if answered is None else answered + 1
