"""Tornado's headers, of a request and of an answer, where they are as plain as nearly always."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tornado.httputil import HTTPHeaders, _normalize_header

# A line as clients write it: what RFC 9110 allows, ended as it says. Everything else is for Tornado to judge.
_FIELD = r"{name}[!#$%&'*+\-.^_`|~0-9A-Za-z]+):{value}[\t -~\x80-\xff]*)\r\n"
_as_head = re.compile(rf"([ -~\x80-\xff]+)\r\n((?:{_FIELD.format(name='(?:', value='(?:')})*)\r\n").fullmatch
_fields = re.compile(_FIELD.format(name="(", value="(")).findall


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
    if not (found := _as_head(head)):
        return None
    start_line, block = found.groups()
    fields: dict[str, str] = {}
    lines = _fields(block)
    for name, value in lines:
        fields[_normalize_header(name)] = value.strip(" \t")
    return (start_line, HeaderFields(fields)) if len(fields) == len(lines) else None
