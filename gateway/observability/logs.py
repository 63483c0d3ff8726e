"""Log lines: one event with fields each, as text or JSON, and never a key in them."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TextIO

from gateway.json_codec import dumps
from gateway.observability.access_log import AccessRecord
from gateway.observability.journal import JournalFormatter, is_journal
from gateway.scrub import scrub

# Fields that come again and again with the same few values: how they look is worked out once.
_RECURRING = frozenset({"address", "endpoint", "model", "client", "memory", "error"})

# The ids of requests and traces come once each, but in a form that can hold no key and needs no quotes.
_IDS = frozenset({"request_id", "trace_id"})
_ID = re.compile("(req_)?[0-9a-f]+")

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def set_up_logs(level: str, form: str) -> None:
    """Send every record to standard error in the chosen form."""
    handler = LineHandler(sys.stderr)
    formatter = FORMATTERS[form]()
    if is_journal(sys.stderr, os.environ):
        formatter = JournalFormatter(TextFormatter(dated=False) if form == "text" else formatter)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Tornado's own access line would be a second one; its notes on malformed HTTP are the clients' noise.
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)
    # At debug level it lets libcurl tell every header, keys included, and breaks on bytes that are no text.
    logging.getLogger("tornado.curl_httpclient").setLevel(logging.INFO)
    logging.getLogger("tornado.general").setLevel(logging.WARNING)


class LineHandler(logging.StreamHandler[TextIO]):
    """Standard error, which sends on each line by itself; the library's handler tells it to, which is a lock more."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.stream.write(f"{self.format(record)}\n")
        except RecursionError:
            raise
        except Exception:
            self.handleError(record)


class _DatedFormatter(logging.Formatter):
    """Writes the time once a second, as it is told in whole seconds."""

    _second: int | None = None
    _time = ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """When it happened."""
        if (second := int(record.created)) != self._second:
            self._second, self._time = second, super().formatTime(record, "%Y-%m-%dT%H:%M:%S%z")
        return self._time


class TextFormatter(_DatedFormatter):
    """`2026-11-22T10:00:00+0000 INFO gateway.access request request_id=req_… status=200`."""

    def __init__(self, *, dated: bool = True) -> None:
        date = "%(asctime)s " if dated else ""
        super().__init__(f"{date}%(levelname)s %(name)s %(message)s")
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        """The event in one line; a traceback follows in lines of its own."""
        if type(record) is AccessRecord:  # no words but the gateway's own, and each field is clean
            date = f"{self.formatTime(record)} " if self._dated else ""
            return f"{date}{record.levelname} {record.name} {record.msg}{_words(record.fields)}"
        return scrub(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """One line, whatever a client or Dify wrote into it."""
        line = _LINE_BREAKS.sub(lambda found: repr(found[0])[1:-1], scrub(super().formatMessage(record)))
        return line + _words(_fields(record))


class JSONFormatter(_DatedFormatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": self.formatTime(record),
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
        }
        for name, value in _fields(record).items():
            entry[name] = (_recurring_clean if type(value) is str and name in _RECURRING else _clean)(name, value)
        if record.exc_info:
            entry["traceback"] = scrub(self.formatException(record.exc_info))
        return dumps(entry).decode("ascii")


FORMATTERS: dict[str, Callable[[], logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return fields if isinstance(fields, dict) else {}


def _words(fields: dict[str, Any]) -> str:
    words = [""]
    for name, value in fields.items():
        kind = type(value)
        if kind is int or kind is float:
            words.append(f"{name}={value!r}")  # the same as without `!r`, which asks a float for its format first
        elif kind is str and name in _RECURRING:
            words.append(_recurring_word(name, value))
        elif kind is str and name in _IDS and _ID.fullmatch(value):
            words.append(f"{name}={value}")
        else:
            words.append(_word(name, value))
    return " ".join(words)


def _word(name: str, value: object) -> str:
    text = str(_clean(name, value))
    plain = text.isprintable() and " " not in text and '"' not in text and "=" not in text
    return f"{name}={text if plain and text else dumps(text).decode('ascii')}"


def _clean(name: str, value: object) -> object:
    """What JSON can hold, and no key: scrubbed before it is quoted, because quoting hides keys from the scrubber."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return scrub(f"{name}={value}").removeprefix(f"{name}=")


# A thousand values of recurring fields: more than most gateways have models and clients.
_recurring_word = lru_cache(maxsize=1024)(_word)
_recurring_clean = lru_cache(maxsize=1024)(_clean)
