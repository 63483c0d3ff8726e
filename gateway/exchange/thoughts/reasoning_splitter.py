"""An answer's text → what is said and what is thought. Models write thoughts into the text, between tags.

What counts, decided from how models and Dify's plugins behave:

* A block opens anywhere in the answer, since each round of an agent and each node of a flow has its own: by a `<think>`
  that begins its line, ends it or is closed within it, or by Dify 0.15's `<details> <summary> Thinking...`. Not in a
  fenced block of code, not right behind a quote or a backtick, and not as all that a list's or a quotation's line
  begins with. So what is written about the tag stays what is written.
* A block that is never closed holds the rest, as of an answer that was cut while the model was thinking.
* A `<think>` that begins or ends a line inside of a block begins the next block: agents lose the end tag when the call
  of a tool interrupts a thought. The end tag that is then left over is dropped. One in the middle of a line is a part
  of the thought, and so is the first `</think>` behind it on that line.
* Without a tag that opens, nothing is taken for a thought: what was said before a lone `</think>` is already shown.
* Blanks around thoughts go; so do those behind a block, unless it stands right behind a word.
"""

from __future__ import annotations

import re

from gateway.exchange.answer import ReasoningDelta, TextDelta
from gateway.exchange.thoughts.code_fence import MarkdownPlace
from gateway.exchange.thoughts.think_tags import (
    DETAILS,
    DETAILS_END,
    LONGEST_TAG,
    THINK,
    THINK_AT_LINE_END,
    THINK_END,
    THINK_WITHIN_LINE,
    Tag,
)

# As far as it is known, the beginning of <think or <details; <td>, <tr> and <div> are in every table and page.
_SUSPECT = re.compile(r"<(?=/?(?:t(?:h(?:i|\Z)|\Z)|d(?:e(?:t|\Z)|\Z)|\Z))", re.IGNORECASE)
# What stands in front of a tag that is spoken of: right before it, or in its line alone.
_QUOTES = frozenset("`'\"“”‘’«»(\\")
_MARKS = re.compile(r"[\s>*+|#-]*(?:\d+[.)])?\s*")


class ReasoningSplitter:
    """Text in, deltas out; how the text is cut makes no difference to what they say together."""

    def __init__(self) -> None:
        self._held = ""  # may be the beginning of a tag
        self._end: Tag | None = None  # of the open block
        self._place = MarkdownPlace()  # of what is said
        self._dropping_blanks = False  # between a block and the text behind it
        self._fresh = False  # nothing was said since a block ended
        self._last_thought = ""  # the last character of the open block, if any
        self._blanks = ""  # behind it, which count only if more is thought
        self._mentions = 0  # of the tag, in the open line of a thought
        self._owed = 0  # end tags of blocks that were left open
        self._out: list[TextDelta | ReasoningDelta] = []

    def lets_pass(self, text: str) -> bool:
        """Whether `text` is said, all of it, as it is; it is taken then, and `feed` must not get it."""
        if self._end is not None or self._held or self._fresh or "<" in text:
            return False
        self._place.feed(text)
        return True

    def feed(self, text: str) -> list[TextDelta | ReasoningDelta]:
        """More of the answer."""
        return self._scan(self._held + text, whole=False)

    def end_piece(self) -> list[TextDelta | ReasoningDelta]:
        """What is written so far is whole: nothing that follows belongs to a tag or a block that is still open."""
        out = self._scan(self._held, whole=True) if self._held else []
        if self._end is not None:
            self._owed += self._end is THINK_END
            self._leave_block()
        return out

    # --- tags ---------------------------------------------------------------------------------------------------------

    def _scan(self, text: str, whole: bool) -> list[TextDelta | ReasoningDelta]:
        self._held = ""
        at = 0  # up to here it is told
        for suspect in _SUSPECT.finditer(text):
            if suspect.start() < at:
                continue
            self._tell(text[at : suspect.start()])
            at = suspect.start()
            length = self._take_tag(text[at : at + LONGEST_TAG], whole)
            if length is None:
                self._held = text[at:]
                break
            at += length
        else:
            self._tell(text[at:])
        out, self._out = self._out, []
        return out

    def _take_tag(self, text: str, whole: bool) -> int | None:
        """How many characters of a tag were taken; 0: it is none; None: more must be known."""
        for tag in self._expected():
            length = tag.length(text)
            if length is None and not whole:
                return None
            if length and self._obey(tag):
                return length
        return 0

    def _expected(self) -> tuple[Tag, ...]:
        """The tags that can mean something here, the longer of two first."""
        if self._end is DETAILS_END:
            return (DETAILS_END,)
        if self._end is THINK_END:
            if self._last_thought == "`" and not self._blanks:
                return ()
            return (THINK_END, THINK) if self._thought_begins_line else (THINK_END, THINK_AT_LINE_END, THINK)
        if self._place.in_code:
            return ()
        line = self._place.line
        if self._fresh or not line.strip():
            return (THINK, DETAILS, THINK_END)
        if line[-1] in _QUOTES or _MARKS.fullmatch(line):
            return ()
        return (THINK_AT_LINE_END, THINK_WITHIN_LINE, DETAILS, THINK_END)

    @property
    def _thought_begins_line(self) -> bool:
        return not self._last_thought or "\n" in self._blanks

    def _obey(self, tag: Tag) -> bool:
        """Do what the tag says; False: it is a part of the text."""
        if tag is THINK_END or tag is DETAILS_END:
            return self._close_block() if self._end is not None else self._drop_left_over()
        if self._end is THINK_END:
            if tag is THINK and not self._thought_begins_line:
                self._mentions += 1
                return False
            self._owed += 1
        self._end = DETAILS_END if tag is DETAILS else THINK_END
        self._last_thought = self._blanks = ""
        self._mentions = 0
        return True

    def _close_block(self) -> bool:
        if self._mentions:
            self._mentions -= 1
            return False
        self._leave_block()
        return True

    def _leave_block(self) -> None:
        self._end = None
        self._fresh = True
        line = self._place.line
        self._dropping_blanks = not line or line[-1].isspace()

    def _drop_left_over(self) -> bool:
        if not self._owed:
            return False
        self._owed -= 1
        self._leave_block()
        return True

    # --- text ---------------------------------------------------------------------------------------------------------

    def _tell(self, text: str) -> None:
        if self._end is not None:
            self._think(text)
        elif text:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._dropping_blanks:
            text = text.lstrip()
            if not text:
                return
            self._dropping_blanks = False
        self._note(text)
        self._out.append(TextDelta(text))

    def _note(self, text: str) -> None:
        self._place.feed(text)
        if self._fresh and not text.isspace():
            self._fresh = False

    def _think(self, text: str) -> None:
        if "\n" in text:
            self._mentions = 0
        begins = not self._last_thought
        text = text.lstrip() if begins else self._blanks + text
        thought = text.rstrip()
        self._blanks = text[len(thought) :]
        if thought:
            self._last_thought = thought[-1]
            self._out.append(ReasoningDelta(thought, begins))
