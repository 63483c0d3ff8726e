"""JSON as models write it: where a value ends, made strict on its way, read with patience."""

from __future__ import annotations

import json
import re
from typing import NoReturn, SupportsIndex, cast

from gateway.exchange.turn import JSONValue

LIVE_FROM = 256  # characters of JSON: fewer are checked before any is shown, as the app can be asked again unseen then

_LONGEST_REPAIR = 20_000  # characters
_REPAIR_STEPS = 100_000  # three times what 20,000 characters of ordinary faults take; a tenth of a second

_OUTSIDE = re.compile(r'["{}\[\],\']|[A-Za-z]+|[^"{}\[\],\'A-Za-z]+')
_INSIDE = re.compile(r'["\\\x00-\x1f]')
_CLOSERS = {"{": "}", "[": "]"}
_ESCAPES = frozenset('"\\/bfnrtu')
_PYTHON = {"True": "true", "False": "false", "None": "null"}


class JsonText:
    """The text of one object or array as it arrives in pieces.

    Models break lines inside strings, forget to double backslashes, put a comma behind the last item and write Python's
    True; all that is put right at once, since what is read so far may be on its way to the client. Other faults are
    left as they are; behind a single quote, which opens a string for many models, all that is not in double quotes is.
    """

    def __init__(self) -> None:
        self.complete = False
        self._open: list[str] = []  # brackets
        self._in_string = False
        self._escaping = False  # a backslash came last, and waits for what it escapes
        self._comma = ""  # with white space behind it; it waits for an item
        self._word = ""  # which may go on
        self._mends = True

    def feed(self, text: str) -> tuple[str, str]:
        """What of the text belongs to the value, and what follows it. The first character of all opens the value."""
        pieces: list[str] = []
        position = 0
        while position < len(text) and not self.complete:
            step = self._string if self._in_string else self._structure
            position = step(text, position, pieces)
        return "".join(pieces), text[position:]

    @property
    def held(self) -> str:
        """What is kept back of the text, where no more of it comes."""
        return _PYTHON.get(self._word, self._word)

    def ending(self) -> str:
        """What would close everything that is open."""
        return (
            self.held
            + ('"' if self._in_string else "")
            + "".join(_CLOSERS[bracket] for bracket in reversed(self._open))
        )

    def _structure(self, text: str, position: int, pieces: list[str]) -> int:
        found = _OUTSIDE.match(text, position)
        assert found is not None  # it takes every character
        mark = found[0]
        if self._mends and mark.isalpha():
            pieces.append(self._comma)
            self._comma, self._word = "", self._word + mark
            return found.end()
        if self._word:
            pieces.append(self.held)
            self._word = ""
        if self._comma:
            if mark.isspace():
                self._comma += mark
                return found.end()
            pieces.append(self._comma[1:] if mark in _CLOSERS.values() else self._comma)
            self._comma = ""
        if mark == "," and self._mends:
            self._comma = mark
            return found.end()
        pieces.append(mark)
        if mark == '"':
            self._in_string = True
        elif mark == "'":
            self._mends = False
        elif mark in _CLOSERS:
            self._open.append(mark)
        elif mark in _CLOSERS.values() and (self._mends or mark == _CLOSERS[self._open[-1]]):
            self._open.pop()
            self.complete = not self._open
        return found.end()

    def _string(self, text: str, position: int, pieces: list[str]) -> int:
        if self._escaping:
            self._escaping = False
            if (escaped := text[position]) in _ESCAPES:
                pieces.append("\\" + escaped)
                return position + 1
            if escaped != "'":
                pieces.append("\\\\")
            return position
        mark = _INSIDE.search(text, position)
        if mark is None:
            pieces.append(text[position:])
            return len(text)
        pieces.append(text[position : mark.start()])
        if mark[0] == "\\":
            self._escaping = True
        elif mark[0] == '"':
            pieces.append('"')
            self._in_string = False
        else:
            pieces.append(json.dumps(mark[0])[1:-1])
        return mark.end()


def read_json(text: str) -> JSONValue:
    """An object or an array; broken JSON is repaired where it can be. Raises ValueError where it cannot."""
    try:
        value = read_strictly(text)
    except ValueError:
        value = _repair(text)
    if not isinstance(value, dict | list):
        raise ValueError("neither an object nor an array")
    return value


def write_json(value: JSONValue) -> str:
    """Compact, and good UTF-8. Raises ValueError for what JSON cannot say: infinities, and depth without end."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def read_strictly(text: str) -> JSONValue:
    """Any value, by RFC 8259. Raises ValueError."""
    try:
        value: JSONValue = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("too deeply nested") from error
    return value


def _repair(text: str) -> JSONValue:
    import json_repair  # loaded with the first broken answer

    if '"""' in text:  # Python's long strings: the library would take them for empty ones and lose what is in them
        raise ValueError("a string in three quotes")
    if len(text) > _LONGEST_REPAIR:
        raise ValueError("too long to be repaired")
    try:
        value = json_repair.loads(_Counted(text), skip_json_loads=True)
    except Exception as error:  # a parser of everything fails in every way
        raise ValueError(f"beyond repair: {error}") from error
    return cast(JSONValue, value)


class _Counted(str):
    """A text that can be looked at so often: some garbage of 4 KB would keep the library busy for seconds."""

    def __new__(cls, text: str) -> _Counted:
        made = super().__new__(cls, text)
        made.left = _REPAIR_STEPS
        return made

    left: int

    def __getitem__(self, index: SupportsIndex | slice) -> str:
        self.left -= 1
        if self.left < 0:
            raise ValueError("too broken")
        return super().__getitem__(index)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
