"""How an answer ends, as far as one must know to write something invisible behind it."""

from __future__ import annotations

import json
import re

LAST_LINE = 4096  # characters of the end that are kept: an address in a link definition may be long
LONGEST_JSON = 256 * 1024  # characters up to which an answer is kept whole to see whether it is JSON

# A JSON value's last character by its first; to try to read prose that begins like one takes twenty times as long.
_DIGITS = "0123456789"
_JSON_ENDS = {"{": "}", "[": "]", '"': '"', "-": f"{_DIGITS}y", **dict.fromkeys(_DIGITS, _DIGITS)}
_JSON_ENDS |= {"t": "e", "f": "e", "n": "l"}
_JSON_BEGINS = "".join(_JSON_ENDS) + "`"
_FENCED = re.compile(r"(`{3,})[^\n`]*\n(.*)\n\1", re.DOTALL)


class Ending:
    """Pieces of an answer in; its last line out, and whether all of it is for a parser."""

    def __init__(self, whole: str = "") -> None:
        self._pieces = [whole]
        self._size = len(whole)
        self._room = 2 * LAST_LINE
        self._begin: str | None = None  # the first character, once the rest of the answer's start is gone

    def feed(self, text: str) -> None:
        """More of the answer."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size > self._room:
            self._settle()

    @property
    def text(self) -> str:
        """The answer's end: at least its last LAST_LINE characters."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0]

    def is_json(self) -> bool:
        """Whether the answer is one JSON value, alone or in a code fence: what a program will parse.

        A plain number is one, too. Of an answer longer than LONGEST_JSON only the ends are looked at.
        """
        text = self.text.strip()
        if self._begin is not None:
            return self._begin + text[-1:] in ("{}", "[]")
        if text[:1] not in _JSON_BEGINS:
            return False
        if fenced := _FENCED.fullmatch(text):
            text = fenced[2]
        if text.rstrip()[-1:] not in _JSON_ENDS.get(text[:1], ()):
            return False
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return False
        return True

    def _settle(self) -> None:
        """Throw away what cannot matter any more."""
        text = self.text
        begin = text.lstrip()[:1]
        if self._begin is None and begin and begin in _JSON_BEGINS and len(text) <= LONGEST_JSON:
            self._room = min(2 * len(text), LONGEST_JSON)
            return
        if self._begin is None:
            self._begin = begin
        self._pieces = [text[-LAST_LINE:]]
        self._size, self._room = len(self._pieces[0]), 2 * LAST_LINE
