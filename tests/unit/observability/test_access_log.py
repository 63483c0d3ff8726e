"""The access line's record is what logging itself would have made."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from unittest import mock

import pytest

from gateway.observability import access_log

FIELDS: dict[str, object] = {"request_id": "req_1", "status": 200}
# Where the line is written from, which nothing shows.
CALLER = {"pathname", "filename", "module", "lineno", "funcName"}


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """Everything that reaches a handler of the root logger, at the level INFO."""
    found: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield found
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("now", [1_800_000_000.0, 1_800_000_000.25, 1_800_000_000.9996])
def test_the_record_is_loggings_own(records: list[logging.LogRecord], now: float) -> None:
    with mock.patch("time.time", return_value=now):
        access_log.log_request(FIELDS)
        logging.getLogger("gateway.access").info("request", extra={"fields": FIELDS})
    ours, theirs = (vars(record) for record in records)
    assert list(ours) == list(theirs)
    assert ours.pop("relativeCreated") == pytest.approx(theirs.pop("relativeCreated"))
    assert {name: ours[name] for name in ours.keys() - CALLER} == {
        name: theirs[name] for name in theirs.keys() - CALLER
    }
    assert ours["filename"] == "access_log.py"


def test_one_record_knows_nothing_of_another(records: list[logging.LogRecord]) -> None:
    access_log.log_request({"status": 200})
    access_log.log_request({"status": 404})
    assert [vars(record)["fields"] for record in records] == [{"status": 200}, {"status": 404}]


@pytest.mark.parametrize(("level", "wanted"), [("DEBUG", True), ("INFO", True), ("WARNING", False)])
def test_the_level_decides(records: list[logging.LogRecord], level: str, wanted: bool) -> None:
    logging.getLogger().setLevel(level)
    assert access_log.is_wanted() is wanted
