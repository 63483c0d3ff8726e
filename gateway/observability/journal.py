"""Log lines for systemd's journal: it keeps the time itself, and takes a line's priority from a prefix."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import IO

# syslog's numbers, by Python's (sd-daemon(3)); what lies between counts as the lower one.
_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def is_journal(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Whether what is written there goes to the journal: systemd names the socket's device and inode."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # closed, or no file at all
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalFormatter(logging.Formatter):
    """Another formatter's lines, each with its priority: the journal takes every line for an entry of its own."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelno
        if (priority := _PRIORITIES.get(level)) is None:
            priority = next((number for lower, number in _PRIORITIES.items() if level >= lower), 7)
        prefix = f"<{priority}>"
        return prefix + self._inner.format(record).replace("\n", f"\n{prefix}")
