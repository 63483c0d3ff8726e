"""Memory mode 0: every turn stands alone, for apps that need no history or keep their own."""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.exchange.memory import zero_width
from gateway.exchange.memory.thread import Outcome, PlainThread, Scope, Thread, files_of
from gateway.exchange.turn import Message, Prompt, Role, Turn


class Stateless:
    """Sends the system text and what the user says now; the rest of the history is left out."""

    meaning = "stateless: only the system text and the latest message"

    def recall(self, turn: Turn, scope: Scope) -> Thread:
        """Make the query. Raises InvalidRequest when there is no text in it."""
        messages = zero_width.visible(turn.messages)
        texts = [message.text for message in messages if message.role is Role.SYSTEM]
        current = _current(messages)
        texts += [message.said for message in current]
        query = "\n\n".join(text for text in texts if text.strip())
        if not query:
            raise InvalidRequest("'messages' has no text to send to the app.", param="messages")
        return PlainThread(Prompt(query, attachments=files_of(current)), scope.user, Outcome.NONE)


def _current(messages: tuple[Message, ...]) -> list[Message]:
    """The last user message and the tool results behind it, which mean nothing without the question."""
    latest = [index for index, message in enumerate(messages) if message.role is Role.USER]
    if latest:
        return [
            message
            for index, message in enumerate(messages)
            if index == latest[-1] or (index > latest[-1] and message.role is Role.TOOL)
        ]
    # Nobody asked anything: the last word of whoever spoke is all there is.
    return [message for message in messages if message.role is not Role.SYSTEM][-1:]
