"""The decoder: any bytes, cut anywhere, give the data of whole events, in time linear in the bytes."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gateway.sse
from gateway.errors import UpstreamProtocolError
from gateway.sse import SSEDecoder, encode_data


def decode(data: bytes, size: int | None = None) -> list[bytes]:
    decoder = SSEDecoder()
    step = size or max(len(data), 1)
    events = [event for start in range(0, len(data), step) for event in decoder.feed(data[start : start + step])]
    return events + decoder.finish()


@pytest.mark.parametrize("size", [1, 2, 3, 7, None])
@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"", []),
        (b'data: {"a":1}\n\n', [b'{"a":1}']),
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\n\n\n\n\ndata: b\n\n\n", [b"a", b"b"]),
        (b"\n\ndata: a\n\n", [b"a"]),
        (b"data:a\n\ndata:  b\n\n", [b"a", b" b"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\ndata\ndata:\n\ndata\n\n", [b"a\n\n", b""]),
        (b"event: ping\n\n", []),
        (b"event: ping\n\ndata: a\n\nevent: ping\n\n", [b"a"]),
        (b": comment\n\nid: 5\nretry: 9\ndata: a\nevent: x\n\n", [b"a"]),
        (b"database: a\n\n Data: a\n\n", []),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\ndata: b\rdata: c\ndata: d\r\n\n", [b"a\nb\nc\nd"]),
        (b"data: a\r:\ndata: b\r:\r\n\r", [b"a\nb"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
        (b"\xefdata: a\n\ndata: b\n\n", [b"b"]),
        (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"]),
        (b"data: a", [b"a"]),
        (b"data: a\n", [b"a"]),
        (b"data: a\r", [b"a"]),
        (b"data: a\n\ndata: b\ndata: c", [b"a", b"b\nc"]),
        ("data: a\u2028b\u0085c\x0bd\x0ce\x1cf\n\n".encode(), ["a\u2028b\u0085c\x0bd\x0ce\x1cf".encode()]),
        (b"data: \x00\xff\n\n", [b"\x00\xff"]),
    ],
)
def test_events_are_found_however_the_bytes_are_cut(data: bytes, events: list[bytes], size: int | None) -> None:
    assert decode(data, size) == events


def test_an_event_is_given_as_soon_as_its_last_byte_is_there() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n") == []
    assert decoder.feed(b"\ndata: b\r\n\r") == [b"a", b"b"]
    assert decoder.feed(b"\ndata: c\n") == []
    assert decoder.feed(b"") == []
    assert decoder.finish() == [b"c"]
    assert decoder.finish() == []


@given(
    st.lists(st.binary().filter(lambda data: b"\n" not in data and b"\r" not in data), max_size=8),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.integers(1, 40),
    st.booleans(),
)
def test_whatever_is_encoded_is_decoded(payloads: list[bytes], eol: bytes, size: int, pings: bool) -> None:
    ping = b"event: ping\n\n" if pings else b""
    data = b"".join(encode_data(payload) + ping for payload in payloads).replace(b"\n", eol)
    assert decode(data, size) == payloads


@settings(max_examples=300)
@given(st.lists(st.sampled_from([b"data: a", b"data", b":", b"x: y", b"\r", b"\n", b"\n\n", b"\r\n"]), max_size=30))
def test_cuts_never_matter(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert decode(data, 1) == decode(data, 5) == decode(data)


@given(st.binary(max_size=300), st.integers(1, 20))
def test_garbage_is_no_error(data: bytes, size: int) -> None:
    assert all(isinstance(event, bytes) for event in decode(data, size))


@pytest.mark.parametrize("size", [1, 10, None])
@pytest.mark.parametrize(
    "data",
    [b"data: " + b"x" * 120 + b"\n\n", b"x" * 120, b"data: " + b"x" * 50 + b"\ndata: " + b"x" * 60, b"data\n" * 120],
)
def test_an_endless_event_is_refused(data: bytes, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.sse, "MAX_EVENT_BYTES", 100)
    with pytest.raises(UpstreamProtocolError):
        decode(data, size)


def test_many_small_events_may_come_in_one_large_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.sse, "MAX_EVENT_BYTES", 100)
    assert len(decode(b"data: " + b"x" * 80 + b"\n\n" + b"event: ping\n\ndata: a\n\n" * 500)) == 501


def test_a_long_line_in_small_pieces_takes_linear_time() -> None:
    line = encode_data(b"x" * 20_000_000)
    began = time.perf_counter()
    (event,) = decode(line, 16 * 1024)
    assert len(event) == 20_000_000
    assert time.perf_counter() - began < 2  # joining at each piece would move 12 GB
