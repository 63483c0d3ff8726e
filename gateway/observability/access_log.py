"""The access line: one for each request, when it is over."""

from __future__ import annotations

import logging
import time

_LOG = logging.getLogger("gateway.access")

# What all its records have in common: who logs, from where, in which process.
_ANY = logging.LogRecord(_LOG.name, logging.INFO, __file__, 0, "request", (), None, "log_request")
_COMMON = {**vars(_ANY), "fields": {}}


class AccessRecord(logging.LogRecord):
    """`Logger.info` would make the same, but find out again what is common to all: half of what a line cost."""

    fields: dict[str, object]

    def __init__(self, fields: dict[str, object]) -> None:
        self.__dict__ = _COMMON.copy()  # as large as it will be, which is half of the time that `update` takes
        self.created = now = time.time()
        self.msecs = now % 1 * 1000 // 1
        self.relativeCreated += (now - _COMMON["created"]) * 1000
        self.fields = fields


def is_wanted() -> bool:
    """Whether the log's level lets the line through; else nothing of it need be made."""
    return _LOG.isEnabledFor(logging.INFO)


def log_request(fields: dict[str, object]) -> None:
    """Write the line."""
    _LOG.handle(AccessRecord(fields))
