"""Log lines: one event with fields each, as text or JSON, and never a key in them."""

from __future__ import annotations

import logging
import math
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from gateway.json_codec import dumps
from gateway.observability.journal import JournalFormatter, is_journal
from gateway.scrub import scrub

ACCESS_LOG = logging.getLogger("gateway.access")

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def set_up_logs(level: str, form: str) -> None:
    """Send every record to standard error in the chosen form."""
    handler = logging.StreamHandler(sys.stderr)
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


class TextFormatter(logging.Formatter):
    """`2026-11-22T10:00:00 INFO gateway.access request request_id=req_… status=200`."""

    def __init__(self, *, dated: bool = True) -> None:
        date = "%(asctime)s " if dated else ""
        super().__init__(f"{date}%(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The event in one line, whatever a client or Dify wrote into it; a traceback follows in lines of its own."""
        line = _LINE_BREAKS.sub(lambda found: repr(found[0])[1:-1], scrub(super().formatMessage(record)))
        return line + "".join(f" {name}={_one_word(value)}" for name, value in _fields(record).items())

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


class JSONFormatter(logging.Formatter):
    """One JSON object a line, for log collectors."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = scrub(self.formatException(record.exc_info))
        return dumps(entry).decode("ascii")


FORMATTERS: dict[str, Callable[[], logging.Formatter]] = {"text": TextFormatter, "json": JSONFormatter}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return {name: _clean(name, value) for name, value in fields.items()} if isinstance(fields, dict) else {}


def _clean(name: str, value: object) -> object:
    """What JSON can hold, and no key: scrubbed before it is quoted, because quoting hides keys from the scrubber."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return scrub(f"{name}={value}").removeprefix(f"{name}=")


def _one_word(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and " " not in text and '"' not in text and "=" not in text
    return text if plain and text else dumps(text).decode("ascii")
