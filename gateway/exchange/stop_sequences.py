"""Where a client wants the text to end early. Dify cannot be told, so it is cut here and the run is stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, TextDelta


class Cut(Protocol):
    """What ends a text."""

    reason: FinishReason

    def take(self, text: str) -> tuple[str, bool]:
        """More text: what of it, and of what was held back, can be shown now, and whether the text ends there."""

    def rest(self) -> str:
        """What was held back, as nothing follows."""


class StopSequences:
    """Ends a text before the first of some sequences that is whole, as a model that stops by itself would."""

    reason = FinishReason.STOP

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences
        self._held = ""  # may be the beginning of a sequence

    def take(self, text: str) -> tuple[str, bool]:
        text = self._held + text
        # Of two the one that is whole first, so that it does not matter in which pieces the text came.
        found = [(at + len(one), at) for one in self._sequences if (at := text.find(one)) >= 0]
        if found:
            return text[: min(found)[1]], True
        longest = max(_overlap(text, sequence) for sequence in self._sequences)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest], False

    def rest(self) -> str:
        return self._held


class TextLimit:
    """Ends a text after so many characters."""

    reason = FinishReason.LENGTH

    def __init__(self, characters: int) -> None:
        self._left = characters

    def take(self, text: str) -> tuple[str, bool]:
        over = len(text) > self._left
        text = text[: self._left]
        self._left -= len(text)
        return text, over

    def rest(self) -> str:
        return ""


class CutStage:
    """Ends an answer where a cut says."""

    def __init__(self, make_cut: Callable[[], Cut]) -> None:
        self._make_cut = make_cut
        self._cut = make_cut()
        self._over = False

    def lets_pass(self, text: str) -> bool:
        return False

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        told: list[AnswerEvent] = []
        for event in events:
            if self._over:
                break
            if isinstance(event, TextDelta):
                text, self._over = self._cut.take(event.text)
                told += [TextDelta(text)] if text else []
                told += [Finished(self._cut.reason)] if self._over else []
            elif isinstance(event, Finished | Failed):
                told += [TextDelta(rest)] if (rest := self._cut.rest()) else []
                told.append(self._settle(event) if isinstance(event, Finished) else event)
            else:
                told.append(event)
        return told

    def _settle(self, end: Finished) -> Finished:
        if end.text is None:
            return end
        cut = self._make_cut()
        text, over = cut.take(end.text)
        if not over:
            return end
        # That moderation has taken back what was shown is more than where the text ends.
        return replace(end, text=text, reason=end.reason if end.reason is FinishReason.CONTENT_FILTER else cut.reason)


def _overlap(text: str, sequence: str) -> int:
    """How many characters at the end of `text` begin `sequence`."""
    if text[-1:] not in sequence:  # nearly always
        return 0
    for length in range(min(len(text), len(sequence) - 1), 0, -1):
        if text.endswith(sequence[:length]):
            return length
    return 0
