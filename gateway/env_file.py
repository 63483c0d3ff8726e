"""Reads a .env file exactly as systemd reads an EnvironmentFile (systemd 252, env-file.c).

So one file means the same under `scripts/serve` and as a service: quotes are stripped, a backslash escapes, a `#`
behind a value belongs to the value, `$` is only a dollar sign, and a line that is no assignment is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = " \t\n\r"
_ESCAPABLE_IN_DOUBLE_QUOTES = '"\\`$'


@dataclass(slots=True)
class EnvFile:
    """The assignments of one file, and the lines that are none (systemd skips them).

    Lines and not their text: a list of keys that goes on in the next line is one, and must not be shown.
    """

    values: dict[str, str] = field(default_factory=dict)
    ignored: list[int] = field(default_factory=list)  # line numbers, from 1


def parse_env_file(text: str) -> EnvFile:
    """Read the file's text; nothing is raised, what systemd ignores is ignored."""
    found = EnvFile()
    rest = _Characters(text)
    while (character := rest.take()) is not None:
        if character in "#;":
            _skip_comment(rest)
        elif character not in _BLANK:
            line = rest.line
            name = _take_name(character, rest)
            value = "" if name is None else _take_value(rest)
            if name is not None and _NAME.fullmatch(name):
                found.values[name] = value
            else:
                found.ignored.append(line)
    return found


class _Characters:
    """The text, one character at a time."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def take(self) -> str | None:
        if self._at == len(self._text):
            return None
        self._at += 1
        return self._text[self._at - 1]

    @property
    def line(self) -> int:
        """The number of the line that the last character stands in."""
        return self._text.count("\n", 0, self._at - 1) + 1


def _skip_comment(rest: _Characters) -> None:
    while (character := rest.take()) is not None and character not in "\n\r":
        if character == "\\":
            rest.take()  # a comment goes on behind a backslash at its line's end


def _take_name(first: str, rest: _Characters) -> str | None:
    name = first
    while (character := rest.take()) is not None and character not in "\n\r":
        if character == "=":
            return name.rstrip(_BLANK)
        name += character
    return None  # no assignment


def _take_value(rest: _Characters) -> str:
    value = ""
    while (character := rest.take()) is not None and character not in "\n\r":
        if character == "'":
            value += _take_single_quoted(rest)
        elif character == '"':
            value += _take_double_quoted(rest)
        elif character not in _BLANK:
            return value + _take_bare(character, rest)
    return value


def _take_bare(first: str, rest: _Characters) -> str:
    """The value from its first bare character to the line's end; quotes mean nothing any more."""
    value, kept = "", 0  # `kept`: how much must survive the trimming of blanks at the end
    character: str | None = first
    while character is not None and character not in "\n\r":
        if character == "\\":
            character = rest.take()
            if character is not None and character not in "\n\r":
                value += character
            kept = len(value)
        else:
            value += character
            if character not in _BLANK:
                kept = len(value)
        character = rest.take()
    return value[:kept]


def _take_single_quoted(rest: _Characters) -> str:
    value = ""
    while (character := rest.take()) is not None and character != "'":
        value += character
    return value


def _take_double_quoted(rest: _Characters) -> str:
    value = ""
    while (character := rest.take()) is not None and character != '"':
        if character == "\\":
            character = rest.take()
            if character is None:
                break
            if character in _ESCAPABLE_IN_DOUBLE_QUOTES:
                value += character
            elif character != "\n":
                value += "\\" + character
        else:
            value += character
    return value
