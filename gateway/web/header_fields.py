"""Tornado's headers, of a request and of an answer, where they are as plain as nearly always."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from tornado.httputil import HTTPHeaders, _normalize_header

# As RFC 9110 writes a field's name; a longer one than this is for Tornado to judge.
_is_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_LONGEST_NAME = 64


class HeaderFields(HTTPHeaders):
    """A header that is there is one look-up, and one that is not is no exception.

    Tornado keeps a list of values for each name. Here they are made for the first header that comes twice, or is taken
    away; until then `_combined_cache` has it all.
    """

    def __init__(self, fields: dict[str, str] | None = None) -> None:
        """The names as HTTPHeaders writes them: Content-Type, X-Request-Id."""
        self._combined_cache: dict[str, str] = fields or {}
        self._lists: dict[str, list[str]] | None = None

    @property
    def _as_list(self) -> dict[str, list[str]]:  # type: ignore[override]
        if self._lists is None:
            self._lists = {name: [value] for name, value in self._combined_cache.items()}
        return self._lists

    def get(self, name: str, default: Any = None) -> Any:
        name = _normalize_header(name)
        value = self._combined_cache.get(name)
        if value is None and self._lists is not None and name in self._lists:
            return self[name]
        return default if value is None else value

    def get_all(self) -> Iterable[tuple[str, str]]:
        return self._combined_cache.items() if self._lists is None else super().get_all()

    def __setitem__(self, name: str, value: str) -> None:
        if self._lists is None:
            self._combined_cache[_normalize_header(name)] = value
        else:
            super().__setitem__(name, value)

    def __contains__(self, name: object) -> bool:
        known = self._combined_cache if self._lists is None else self._lists
        return isinstance(name, str) and _normalize_header(name) in known

    def __iter__(self) -> Iterator[str]:
        return iter(self._combined_cache if self._lists is None else self._lists)

    def add(self, name: str, value: str, *, _chars_are_bytes: bool = True) -> None:
        _ = self._as_list
        super().add(name, value, _chars_are_bytes=_chars_are_bytes)

    def __delitem__(self, name: str) -> None:
        _ = self._as_list
        super().__delitem__(name)


def body_length(headers: HTTPHeaders) -> int | None:
    """How long a request says that its body is; None where what it says is for Tornado to judge."""
    length = headers.get("Content-Length", "0")
    return int(length) if len(length) < 640 and length.isdecimal() else None  # Python refuses thousands of digits


def read_head(head: str) -> tuple[str, HeaderFields] | None:
    """The start line and the headers of a request; None where something about them is not plain."""
    if not head.endswith("\r\n\r\n"):
        return None
    start_line, *lines = head[:-4].split("\r\n")
    fields: dict[str, str] = {}
    for line in lines:
        written, colon, value = line.partition(":")
        name = _field_name(written) if len(written) <= _LONGEST_NAME else None
        value = value.strip(" \t")
        # Within a value a tab would be allowed; it is for Tornado to judge, as is a name that comes twice.
        if name is None or not colon or name in fields or not value.isprintable():
            return None
        fields[name] = value
    return (start_line, HeaderFields(fields)) if start_line and start_line.isprintable() else None


@lru_cache(maxsize=256)  # clients write the same few names, in a few ways
def _field_name(written: str) -> str | None:
    """As HTTPHeaders writes it; None for what is no name."""
    return _normalize_header(written) if _is_name(written) else None
