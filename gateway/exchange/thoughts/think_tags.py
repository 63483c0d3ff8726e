"""The tags that models and Dify put around thoughts, recognised also while only their beginning is known."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gateway.frozen import frozen

LONGEST_TAG = 1024  # characters, with what has to follow; every pattern here is bounded below that


@frozen
class Tag:
    """One tag, in any letter case; `beginning` matches it as far as it goes."""

    whole: re.Pattern[str]
    beginning: re.Pattern[str]

    def length(self, text: str) -> int | None:
        """How many characters it has at the start of `text`: 0 if it is not there, None if that cannot be told yet."""
        if found := self.whole.match(text):
            return found.end()
        return None if len(text) < LONGEST_TAG and self.beginning.fullmatch(text) else 0


def _tag(atoms: Sequence[str], before: Sequence[str] = ()) -> Tag:
    """Of characters and repeated sets of characters, so that each beginning of a tag ends behind one or inside a set.

    It is a tag only where it stands `before` the rest.
    """
    beginning = ""
    for atom in reversed([*atoms, *before]):
        beginning = f"(?:{atom}{beginning})?"
    ahead = "".join(before)
    return Tag(re.compile(f"{''.join(atoms)}(?={ahead})", re.IGNORECASE), re.compile(beginning, re.IGNORECASE))


_ATTRIBUTES, _BLANKS = r"(?:\s[^<>]{0,200})?", r"\s{0,20}"
_THINK = (*"<think", _ATTRIBUTES, ">")
_THINK_END = (*"</think", _BLANKS, ">")
_SUMMARY = (*"<summary>", _BLANKS, *"thinking", "[.…]{0,3}", _BLANKS, *"</summary>")

THINK = _tag(_THINK)
THINK_AT_LINE_END = _tag(_THINK, before=("[ \t]{0,8}", "\r?", "\n"))
THINK_WITHIN_LINE = _tag(_THINK, before=("[^<\n]{0,600}", *_THINK_END))
THINK_END = _tag(_THINK_END)
# Dify 0.15 writes <details style="…" open> <summary> Thinking... </summary> in place of <think>.
DETAILS = _tag((*"<details", _ATTRIBUTES, ">", _BLANKS, *_SUMMARY))
DETAILS_END = _tag((*"</details", _BLANKS, ">"))
