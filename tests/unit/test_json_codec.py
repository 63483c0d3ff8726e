"""Clients' bodies are read by the letter of RFC 8259, Dify's events leniently; what is written is plain ASCII."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.json_codec import dumps, loads, loads_strict

DEEP = 100_000

REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "blanks": b" \n ",
    "NaN": b'{"a": NaN}',
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "bad UTF-8": b'"\xff"',
    "a surrogate in UTF-8": b'"\xed\xa0\x80"',
    "an overlong form": b'"\xc0\xaf"',
    "bad UTF-8 outside of strings": b"\xff",
    "too deep arrays": b"[" * DEEP,
    "too deep closed arrays": b"[" * DEEP + b"]" * DEEP,
    "too deep objects": b'{"a":' * DEEP,
    "an integer of 5,000 digits": b"9" * 5000,
    "a leading zero": b"01",
    "a plus": b"+1",
    "a bare point": b"1.",
    "a raw line break": b'"\n"',
    "a NUL": b'"\x00"',
    "single quotes": b"{'a': 1}",
    "a trailing comma": b"[1,]",
    "a comment": b"[1] // one",
    "two documents": b"{} {}",
    "half a document": b'{"a": [1, "x',
    "a bad escape": rb'"\x41"',
}
ACCEPTED: dict[str, tuple[bytes, Any]] = {
    "the last of two": (b'{"a": 1, "a": 2}', {"a": 2}),
    "a scalar": (b" true ", True),
    "half a surrogate pair": (rb'"\ud83d"', "\ud83d"),
    "a whole one": (rb'"\ud83d\ude00"', "\U0001f600"),
    "an integer beyond 64 bits": (b"123456789012345678901234567890", 123456789012345678901234567890),
    "too large for a float": (b"1e400", math.inf),
    "raw separators": ('"\u2028\u0085"'.encode(), "\u2028\u0085"),
    "no name": (b'{"": null}', {"": None}),
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads_strict(body)


@pytest.mark.parametrize(("body", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_body_that_is_json_is_read(body: bytes, value: Any) -> None:
    assert loads_strict(body) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for read in (loads, loads_strict):
        with contextlib.suppress(ValueError):
            read(body)


@given(st.lists(st.sampled_from([*'{}[]:,"a1 \t\n\r\v', '{"a":1}', "é"])).map("".join))
@example('{"a":1} \n')
@example('{"a":1} {')
@example("{} \n x")
@example("{} \v")
def test_a_body_is_read_as_the_standard_library_reads_it(body: str) -> None:
    read: list[Any] = []
    for reader in (loads_strict, json.loads):
        try:
            read.append(reader(body.encode()))
        except ValueError as error:
            read.append(str(error))
    assert read[0] == read[1]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 2000, b'"\xff"', b"9" * 5000, b"<html>"])
def test_what_dify_cannot_mean_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [(b"1e400", math.inf), (b'"a\nb"', "a\nb"), (b'{"a":1,"a":2}', {"a": 2}), (rb'"\ud83d"', "\ud83d")],
)
def test_what_dify_may_send_is_read(body: bytes, value: Any) -> None:
    assert loads(body) == value
    assert loads(body.decode()) == value


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, {"a": [math.nan]}, _nested(5000)],
    ids=["nan", "inf", "-inf", "within", "nested"],
)
def test_what_json_cannot_hold_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        dumps(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": [1, "x", None, True, 0.5]}, b'{"a":[1,"x",null,true,0.5]}'),
        ("\u2028\u2029\u0085é", rb'"\u2028\u2029\u0085\u00e9"'),
        ("\U0001f600", rb'"\ud83d\ude00"'),
        ("\ud83d", rb'"\ud83d"'),
        ("https://a/b", b'"https://a/b"'),
        ("<&>", b'"<&>"'),
        (10**30, b"1" + b"0" * 30),
    ],
)
def test_json_is_written_as_plain_ascii_in_one_line(value: Any, written: bytes) -> None:
    assert dumps(value) == written


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_written_is_read_again(value: Any) -> None:
    written = dumps(value)
    assert json.loads(written) == value
    assert loads(written) == value
    assert loads_strict(written) == value
    assert b"\n" not in written
