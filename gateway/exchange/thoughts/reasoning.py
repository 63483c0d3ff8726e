"""What becomes of the thoughts in an answer: a field of their own, tags in the text, or nothing."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, ReasoningDelta, TextDelta
from gateway.exchange.thoughts.reasoning_splitter import ReasoningSplitter


class Reasoning(StrEnum):
    """What an operator or a client can ask for."""

    FIELD = "field"  # apart from the text, as `reasoning_content`
    INLINE = "inline"  # in the text, between <think> and </think>, whatever Dify wrote around them
    DROP = "drop"


class ReasoningStage:
    """Tells thoughts and text apart and shows both as asked."""

    def __init__(self, wish: Reasoning) -> None:
        self._wish = wish
        self._splitter = ReasoningSplitter()
        self._thought = ""  # the end of what was thought: its last two characters
        self._said = ""  # last
        self._inline: list[str] = []  # what is thought and in the text
        self._tag_open = False  # INLINE: a <think> without its end is in the text

    def lets_pass(self, text: str) -> bool:
        if self._tag_open or not self._splitter.lets_pass(text):
            return False
        self._said = text
        return True

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        told: list[AnswerEvent] = []
        for event in events:
            if isinstance(event, TextDelta):
                if self._splitter.lets_pass(event.text):
                    told += self._show([event])
                else:
                    told += self._show(self._splitter.feed(event.text))
            elif isinstance(event, ReasoningDelta):
                if event.begins:
                    told += self._show(self._splitter.end_piece())
                told += self._show([event])
            elif isinstance(event, Finished | Failed):
                told += self._show(self._splitter.end_piece()) + self._close_tag()
                told.append(self._settle(event) if isinstance(event, Finished) else event)
            else:
                told.append(event)
        return told

    def _show(self, deltas: list[TextDelta | ReasoningDelta]) -> list[AnswerEvent]:
        shown: list[AnswerEvent] = []
        for delta in deltas:
            if isinstance(delta, TextDelta):
                shown += self._show_text(delta) if self._tag_open else [delta]
                self._said = delta.text
            elif self._wish is not Reasoning.DROP:
                shown += self._show_thought(delta)
        return shown

    def _show_text(self, delta: TextDelta) -> list[AnswerEvent]:
        """The first text behind a tag, which brings its own empty line."""
        text = delta.text.lstrip()
        return [*self._close_tag(), TextDelta(text)] if text else []

    def _show_thought(self, delta: ReasoningDelta) -> list[AnswerEvent]:
        text = self._gap() + delta.text if delta.begins else delta.text
        if not self._thought and not (text := text.lstrip("\n")):
            return []
        self._thought = (self._thought + text)[-2:]
        if self._wish is Reasoning.FIELD:
            return [ReasoningDelta(text)]
        self._inline.append(text if self._tag_open or not self._inline else f"\n\n{text}")
        if not self._tag_open:
            self._tag_open = True
            gap = "" if self._said[-1:] in ("", "\n") else "\n\n"
            text = f"{gap}<think>\n{text}"
        return [TextDelta(text)]

    def _gap(self) -> str:
        """The empty line between two thoughts."""
        return "\n" * (2 - (len(self._thought) - len(self._thought.rstrip("\n")))) if self._thought else ""

    def _close_tag(self) -> list[AnswerEvent]:
        if not self._tag_open:
            return []
        self._tag_open, self._thought = False, ""
        return [TextDelta("\n</think>\n\n")]

    def _settle(self, end: Finished) -> Finished:
        thoughts, self._inline = "".join(self._inline), []  # a second answer may follow
        if end.text is None:
            return end
        text, has_thoughts = end.text, False
        if "<" in text:
            again = ReasoningStage(self._wish)
            told = again.feed([TextDelta(text), Finished()])
            text = "".join(event.text for event in told if isinstance(event, TextDelta))
            has_thoughts = bool(again._inline)
        # A flow whose author has Dify take the thoughts out (1.9 to 1.14) settles without them, an agent always.
        if thoughts and not has_thoughts and end.reason is not FinishReason.CONTENT_FILTER:
            text = f"<think>\n{thoughts}\n</think>\n\n{text}"
        return replace(end, text=text)
