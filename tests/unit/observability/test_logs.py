"""One event a line, readable by people and machines, and no key in it."""

from __future__ import annotations

import json
import logging
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.app import AppMode
from gateway.json_codec import dumps
from gateway.observability.access_log import AccessRecord
from gateway.observability.journal import JournalFormatter
from gateway.observability.logs import FORMATTERS, TextFormatter, set_up_logs
from gateway.scrub import scrub

KEYS = [
    "app-SECRETsecret0123456789",
    "sk-proj-SECRETsecret0123456789",
    "Bearer SECRETsecret0123456789",
    'Bearer SECRETsecret0123456789\\"x',
    '{"api_key": "SECRETsecret0123456789"}',
    "{'Authorization': 'Bearer SECRETsecret0123456789'}",
    "x-api-key: SECRETsecret0123456789",
    "http://user:SECRETsecret0123456789@proxy:3128",
    "https://host/v1?key=SECRETsecret0123456789&x=1",
    "app-SECRETsecret0123456789\nnext",
]


def record(message: str, *args: object, exc_info: Any = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("gateway.test", logging.WARNING, __file__, 1, message, args, exc_info)
    made.created = 1_800_000_000.25
    if fields:
        made.fields = fields
    return made


def text(message: str | logging.LogRecord, *args: Any, **kwargs: Any) -> str:
    made = message if isinstance(message, logging.LogRecord) else record(message, *args, **kwargs)
    return FORMATTERS["text"]().format(made)


def as_json(message: str | logging.LogRecord, *args: Any, **kwargs: Any) -> dict[str, Any]:
    made = message if isinstance(message, logging.LogRecord) else record(message, *args, **kwargs)
    line = FORMATTERS["json"]().format(made)
    assert line.isascii()
    assert "\n" not in line
    entry = json.loads(line)
    assert isinstance(entry, dict)
    return entry


# --- the two forms ----------------------------------------------------------------------------------------------------


def test_a_text_line_has_time_level_logger_message_and_fields() -> None:
    time, rest = text("asked %s", "Dify", status=200, model="Demo Chatbot", seconds=0.25).split(" ", 1)
    assert rest == 'WARNING gateway.test asked Dify status=200 model="Demo Chatbot" seconds=0.25'
    assert time == logging.Formatter().formatTime(record(""), "%Y-%m-%dT%H:%M:%S%z")
    assert time[-5] in "+-"


def test_a_json_line_has_the_same() -> None:
    entry = as_json("asked %s", "Dify", status=200, model="Demo Chatbot", error=None, seconds=0.25, left=True)
    assert list(entry) == ["time", "level", "logger", "message", "status", "model", "error", "seconds", "left"]
    time = entry.pop("time")
    assert time == logging.Formatter().formatTime(record(""), "%Y-%m-%dT%H:%M:%S%z")
    assert entry == {
        "level": "WARNING",
        "logger": "gateway.test",
        "message": "asked Dify",
        "status": 200,
        "model": "Demo Chatbot",
        "error": None,
        "seconds": 0.25,
        "left": True,
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("req_0123", "req_0123"),
        ("модель", "модель"),
        (AppMode.CHAT, "chat"),
        (200, "200"),
        (None, "None"),
        ("", '""'),
        ("two words", '"two words"'),
        ('a"b', r'"a\"b"'),
        ("a=b", '"a=b"'),
        ("a\nb\r\x1b[0m", r'"a\nb\r\u001b[0m"'),
        ("\u2028", r'"\u2028"'),
        ("\ud83d", r'"\ud83d"'),
    ],
)
def test_a_field_is_one_word(value: object, shown: str) -> None:
    assert text("m", name=value, after=1).endswith(f"gateway.test m name={shown} after=1")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (AppMode.CHAT, "chat"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        ((1, 2), "(1, 2)"),
        ({"a": 1}, "{'a': 1}"),
        (ValueError("bad"), "bad"),
        ("a\nb", "a\nb"),
        (10**30, 10**30),
    ],
)
def test_any_value_can_be_a_field_of_json(value: object, read: object) -> None:
    assert as_json("m", name=value)["name"] == read


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028", "\x85", "\x0b"])
def test_a_message_cannot_forge_a_second_line(end: str) -> None:
    forged = f"x{end}2026-01-01T00:00:00+0000 ERROR gateway forged"
    line = text("unknown model %s", forged, status=404)
    assert len(line.splitlines()) == 1
    assert line.endswith("forged status=404")
    assert as_json("unknown model %s", forged)["message"] == f"unknown model {forged}"


def test_fields_that_are_no_fields_are_left_out() -> None:
    made = record("m")
    made.fields = "status=200"
    for formatter in FORMATTERS.values():
        assert "200" not in formatter().format(made)


def test_a_traceback_follows_its_line() -> None:
    exc_info = _raised("first\nsecond")
    first, *rest = text("request failed", exc_info=exc_info, status=500).splitlines()
    assert first.endswith("gateway.test request failed status=500")
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-2:] == ["RuntimeError: first", "second"]
    entry = as_json("request failed", exc_info=exc_info, status=500)
    assert entry["message"] == "request failed"
    assert entry["traceback"].splitlines() == rest


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATTERS)
@pytest.mark.parametrize("key", KEYS)
def test_no_key_reaches_a_line(form: str, key: str) -> None:
    records = [
        record(key.replace("%", "%%")),
        record("sent %s to %r", key, key),
        record("m", name=key),
        record("m", name={"inner": [key]}),
        record("m", exc_info=_raised(key)),
        record("m", exc_info=_raised("outer", cause=key)),
    ]
    for made in records:
        formatter = FORMATTERS[form]()
        for line in (formatter.format(made), formatter.format(made)):  # the second time from the record's own cache
            assert "SECRET" not in line
            if form == "json":
                json.loads(line)


@pytest.mark.parametrize("form", FORMATTERS)
def test_a_line_break_hides_no_key(form: str) -> None:
    header = "Authorization: Bearer\n SECRETsecret0123456789"
    for made in (record("sent %s", header), record("m", name=header)):
        assert "SECRET" not in FORMATTERS[form]().format(made)


def test_a_field_that_is_named_like_a_key_is_cut() -> None:
    assert text("m", api_key="SECRETsecret").endswith("m api_key=…")
    assert as_json("m", api_key="SECRETsecret")["api_key"] == "…"


@given(st.text(), st.dictionaries(st.sampled_from(["a", "b_c"]), st.text() | st.integers() | st.floats()))
def test_anything_can_be_logged(message: str, fields: dict[str, object]) -> None:
    assert len(text("%s", message, **fields).splitlines()) == 1
    assert as_json("%s", message, **fields)["level"] == "WARNING"


# --- quickly, and the same --------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["request_id", "trace_id", "address", "endpoint", "model", "client", "error", "memory", "seconds", "api_key"]
)
IDS = st.from_regex(r"\A(req_)?[0-9a-f]{8,32}\Z")
TEXTS = (
    IDS
    | st.sampled_from([*KEYS, "chat", "Demo Chatbot", "модель", "", "a=b", "1", "api", "app-", "Bearer"])
    | st.text()
)
VALUES = TEXTS | st.integers() | st.floats() | st.booleans() | st.none() | st.sampled_from(AppMode) | st.lists(TEXTS)


@given(st.dictionaries(NAMES, VALUES))
def test_a_requests_line_is_what_any_other_would_be(fields: dict[str, object]) -> None:
    """It is only not looked through once more as a whole, where one field's end and the next may look like a key."""
    quick = AccessRecord(fields)
    plain = logging.LogRecord(quick.name, quick.levelno, quick.pathname, quick.lineno, "request", (), None)
    plain.created, plain.fields = quick.created, fields
    for _ in range(2):  # the second time some of it is remembered
        assert FORMATTERS["json"]().format(quick) == FORMATTERS["json"]().format(plain)
        for formatter in (TextFormatter(), TextFormatter(dated=False)):
            assert scrub(formatter.format(quick)) == formatter.format(plain)
            assert scrub(JournalFormatter(formatter).format(quick)) == JournalFormatter(formatter).format(plain)


def one_line(text: str) -> str:
    return re.sub("[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda found: repr(found[0])[1:-1], text)


def one_word(value: object) -> str:
    word = str(value)
    return word if word and word.isprintable() and not set(word) & set(' "=') else dumps(word).decode()


@given(TEXTS, st.dictionaries(NAMES, VALUES))
def test_a_line_is_made_of_clean_parts(message: str, fields: dict[str, object]) -> None:
    made = record("%s", message, **fields)
    clean = {
        name: value
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
        else scrub(f"{name}={value}").removeprefix(f"{name}=")
        for name, value in fields.items()
    }
    words = [f" {name}={one_word(value)}" for name, value in clean.items()]
    line = scrub(f"WARNING gateway.test {one_line(scrub(message))}{''.join(words)}")
    for _ in range(2):
        assert text(made).partition(" ")[2] == line
        assert TextFormatter(dated=False).format(made) == line
        entry = as_json(made)
        assert set(entry) == {"time", "level", "logger", "message", *fields}
        assert entry | {"message": scrub(message)} | clean == entry


@pytest.mark.parametrize("key", KEYS)
def test_no_key_reaches_a_requests_line(key: str) -> None:
    for name in ("request_id", "address", "model", "client", "error"):
        for formatter in (FORMATTERS["text"](), FORMATTERS["json"](), JournalFormatter(TextFormatter())):
            assert "SECRET" not in formatter.format(AccessRecord({name: key}))


def test_each_second_has_its_own_time() -> None:
    formatter = FORMATTERS["text"]()
    for created in (1_800_000_000.9, 1_800_000_001.0, 1_800_000_001.5, 1_799_999_999.0):
        made = record("m")
        made.created = created
        assert formatter.format(made).split()[0] == logging.Formatter().formatTime(made, "%Y-%m-%dT%H:%M:%S%z")


# --- set-up -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def loggers() -> Iterator[None]:
    """Loggers as they were, afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    tornado = {name: logging.getLogger(name).level for name in ("tornado.access", "tornado.general")}
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    for name, former in tornado.items():
        logging.getLogger(name).setLevel(former)


@pytest.mark.usefixtures("loggers")
def test_records_go_to_standard_error_once(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("warning", "text")
    set_up_logs("info", "json")  # as a reload or the command line does
    logging.getLogger("gateway.x").info("hello", extra={"fields": {"status": 200}})
    logging.getLogger("gateway.x").debug("not this")
    logging.getLogger("tornado.access").error("nor this")
    logging.getLogger("tornado.general").info("nor this")
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert json.loads(line)["status"] == 200


def test_a_line_is_out_at_once() -> None:
    program = """
import logging, os
from gateway.observability.logs import set_up_logs
set_up_logs("info", "text")
logging.getLogger("gateway.x").info("hello")
os._exit(0)  # nothing that waits is written
"""
    done = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, check=True, text=True)
    assert done.stderr.endswith(" INFO gateway.x hello\n")


@pytest.mark.usefixtures("loggers")
def test_a_line_that_cannot_be_written_ends_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    set_up_logs("info", "text")
    logging.getLogger("gateway.x").info("%d", "no number")
    logging.getLogger("gateway.x").info("more")
    assert capsys.readouterr().err.endswith(" more\n")


def _raised(message: str, cause: str | None = None) -> Any:
    try:
        if cause is None:
            raise RuntimeError(message)
        try:
            raise ValueError(cause)
        except ValueError as error:
            raise RuntimeError(message) from error
    except RuntimeError:
        return sys.exc_info()
