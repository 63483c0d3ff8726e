"""Tornado's headers, of a request and of an answer, where they are as plain as nearly always."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from tornado.httputil import HTTPHeaders, _normalize_header

# As RFC 9110 writes a field's name; a longer one than this is for Tornado to judge.
_is_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch
_LONGEST_NAME = 64


class HeaderFields(HTTPHeaders):
    """A header that is there is one look-up, and one that is not is no exception."""

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        """The names as HTTPHeaders writes them: Content-Type, X-Request-Id."""
        self._combined_cache: dict[str, str] = dict(fields) if fields else {}
        self._as_list: dict[str, list[str]] = {name: [value] for name, value in self._combined_cache.items()}

    def get(self, name: str, default: Any = None) -> Any:
        name = _normalize_header(name)
        value = self._combined_cache.get(name)
        if value is None and name in self._as_list:
            return self[name]
        return default if value is None else value


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
