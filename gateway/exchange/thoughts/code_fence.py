"""Where in Markdown a growing text stands: in which line, and whether inside of a fenced block of code."""

from __future__ import annotations

import re

_FOLD_PIECES = 256
_FOLD_CHARS = 4096
_LINE_CHARS = 200  # of a line that are looked at: a fence stands at its beginning

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


class MarkdownPlace:
    """Takes a text piece by piece. Pieces are noted in a list and looked at together, as few texts ever ask."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0  # of them all
        self._line = ""
        self._fence = ""  # what opened the block of code: ``` or longer, or tildes

    def feed(self, text: str) -> None:
        """Go on."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size >= _FOLD_CHARS or len(self._pieces) >= _FOLD_PIECES:
            self._fold()

    @property
    def line(self) -> str:
        """The line up to here; the middle of a long one is left out."""
        self._fold()
        return self._line

    @property
    def in_code(self) -> bool:
        """Whether a fence is open."""
        self._fold()
        return bool(self._fence)

    def _fold(self) -> None:
        if not self._pieces:
            return
        *lines, rest = (self._line + "".join(self._pieces)).split("\n")
        self._pieces.clear()
        self._size = 0
        for line in lines:
            self._end_line(line)
        self._line = rest if len(rest) <= 2 * _LINE_CHARS else rest[:_LINE_CHARS] + rest[-_LINE_CHARS:]

    def _end_line(self, line: str) -> None:
        found = _FENCE.match(line)
        if found is None:
            return
        mark, rest = found.groups()
        if not self._fence:
            if mark[0] == "~" or "`" not in rest:  # CommonMark: backticks behind backticks are inline code
                self._fence = mark
        elif mark.startswith(self._fence) and not rest.strip():
            self._fence = ""
