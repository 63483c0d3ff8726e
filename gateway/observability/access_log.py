"""The access line: one for each request, when it is over."""

from __future__ import annotations

import logging
import time

_LOG = logging.getLogger("gateway.access")
_EVENT = "request"

# What all its records have in common: who logs, from where, in which process.
_COMMON = vars(logging.LogRecord(_LOG.name, logging.INFO, __file__, 0, _EVENT, (), None, "log_request"))


class AccessRecord(logging.LogRecord):
    """`Logger.info` would make the same, but find out again what is common to all: half of what a line cost."""

    fields: dict[str, object]

    def __init__(self, fields: dict[str, object]) -> None:
        now = time.time()
        vars(self).update(
            _COMMON,
            created=now,
            msecs=now % 1 * 1000 // 1,
            relativeCreated=_COMMON["relativeCreated"] + (now - _COMMON["created"]) * 1000,
            fields=fields,
        )


def is_wanted() -> bool:
    """Whether the log's level lets the line through; else nothing of it need be made."""
    return _LOG.isEnabledFor(logging.INFO)


def log_request(fields: dict[str, object]) -> None:
    """Write the line."""
    _LOG.handle(AccessRecord(fields))
