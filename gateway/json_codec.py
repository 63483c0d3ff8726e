"""The one place that reads and writes JSON: ujson's flags, and the limits on what comes from outside.

ujson is lenient (NaN, 1e400, leading zeros, raw line breaks in strings), which is right for Dify's events and wrong
for a client's body; clients' bodies are therefore read by `loads_strict`.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from typing import Any

import ujson

# Decodes what Dify sent. Raises ValueError, also for nesting over ujson's limit of 1,024.
loads: Callable[[bytes | str], Any] = ujson.loads  # itself, since it is called for every event


def dumps(value: Any) -> bytes:
    """Encode as ASCII, without spaces. Raises ValueError for NaN, infinities and nesting over 1,024."""
    try:
        # ASCII because some clients split lines at U+2028 and U+0085 (openai-python 1.12 does).
        text = ujson.dumps(value, ensure_ascii=True, escape_forward_slashes=False, allow_nan=False)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    return text.encode("ascii")


class CollectorAtRest:
    """No garbage collection meanwhile: over a body of millions of values it takes four times as long as the parser."""

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()


def loads_strict(text: bytes) -> Any:
    """Decode a client's body by RFC 8259.

    Raises ValueError for all that is not JSON (NaN, Infinity, a byte order mark, bad UTF-8), and for what Python
    cannot hold: nesting beyond its stack, integers of more than 4,300 digits. Of a name that comes twice the last value
    counts; 1e400 is infinity; half a surrogate pair stays half.
    """
    try:
        decoded = text.decode("utf-8")
        if decoded.startswith("\ufeff"):
            raise json.JSONDecodeError("Unexpected UTF-8 BOM (decode using utf-8-sig)", decoded, 0)
        if not decoded.startswith("{"):  # else with blanks before it, or it is no object
            return _STRICT.decode(decoded)
        value, end = _STRICT.raw_decode(decoded)
        if rest := decoded[end:].lstrip(" \t\n\r"):
            raise json.JSONDecodeError("Extra data", decoded, len(decoded) - len(rest))
        return value
    except RecursionError as error:
        raise ValueError("too deeply nested") from error


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)  # `json.loads` would make one for each body
