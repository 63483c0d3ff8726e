"""What the journal gets, and when."""

from __future__ import annotations

import io
import logging
import os
import sys
from pathlib import Path

import pytest

from gateway.observability.journal import JournalFormatter, is_journal


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    with (tmp_path / "socket").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not is_journal(stream, {})
    assert not is_journal(stream, {"JOURNAL_STREAM": "8:1"})  # closed
    assert not is_journal(io.StringIO(), {"JOURNAL_STREAM": "8:1"})


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, 7),
        (logging.INFO, 6),
        (logging.INFO + 5, 6),
        (logging.WARNING, 4),
        (logging.ERROR, 3),
        (logging.CRITICAL, 2),
        (1, 7),
    ],
)
def test_a_line_has_its_priority(level: int, priority: int) -> None:
    record = logging.LogRecord("x", level, "", 1, "said", (), None)
    assert JournalFormatter(logging.Formatter("%(message)s")).format(record) == f"<{priority}>said"


def test_every_line_of_a_traceback_has_it() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", (), sys.exc_info())
    lines = JournalFormatter(logging.Formatter()).format(record).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)
