"""Finds tags in a text that comes in pieces. No patterns: these tags are new with each request, and compiling takes
longer than reading a short answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

# In front of a tag, and at the end of a text that more may follow.
_FENCE = re.compile(r"```[A-Za-z_-]{0,12}[ \t]{0,8}\n\s{0,40}\Z")
_OPEN_FENCE = re.compile(r"(?:`{1,2}|```[A-Za-z_-]{0,12}[ \t]{0,8}(?:\n\s{0,40})?)\Z")
_LONGEST_FENCE = 3 + 12 + 8 + 1 + 40


def find_tag(text: str, tags: Sequence[str]) -> tuple[int, str]:
    """Where the first of the tags stands, and which; without one, where one may begin at the end, and "".

    Tags have their only `<` in front.
    """
    found = min(((at, tag) for tag in tags if (at := text.find(tag)) >= 0), default=None)
    if found is not None:
        return found
    start = text.rfind("<")
    if start >= 0 and any(tag.startswith(text[start:]) for tag in tags):
        return start, ""
    return len(text), ""


def fence_before(text: str, end: int) -> int:
    """Where the line that opens a code fence begins, if one ends at `end`; else `end`."""
    fence = _FENCE.search(text, max(0, end - _LONGEST_FENCE), end)
    return end if fence is None else fence.start()


def open_fence(text: str) -> int:
    """Where what may become a fence's opening line begins, at the end of the text; else its length."""
    if "`" not in text:
        return len(text)
    fence = _OPEN_FENCE.search(text, max(0, len(text) - _LONGEST_FENCE))
    return len(text) if fence is None else fence.start()
