"""For apps whose moderation may take back what they said: nothing is shown before it is settled."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from gateway.exchange.answer import AnswerEvent, Finished, ReasoningDelta, TextDelta


class Moderation(StrEnum):
    """What becomes of the text of an app with moderation, while it is not settled."""

    STREAM = "stream"  # shown as it comes
    BUFFER = "buffer"  # held back


class HoldBackStage:
    """Shows an answer's text and thoughts at its end, as settled; those of an answer that fails never.

    Thoughts go where the text was replaced: they may say what the text must not.
    """

    def __init__(self) -> None:
        self._held: list[AnswerEvent] = []

    def lets_pass(self, text: str) -> bool:
        return False

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        told: list[AnswerEvent] = []
        for event in events:
            if isinstance(event, TextDelta | ReasoningDelta):
                self._held.append(event)
            elif isinstance(event, Finished):
                told += self._held if event.text is None else [TextDelta(event.text)] if event.text else []
                self._held = []  # a second answer may follow
                told.append(replace(event, text=None))
            else:
                told.append(event)
        return told
