"""The traceparent header: the standard's examples, and whatever else arrives."""

from __future__ import annotations

import pytest

from gateway.observability.trace_context import TraceParent, read_traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (f"00-{TRACE}-{SPAN}-01", "01"),
        (f"00-{TRACE}-{SPAN}-00", "00"),
        (f" 00-{TRACE}-{SPAN}-01 ", "01"),
        (f"00-{TRACE}-{SPAN}-ff", "01"),  # flags that version 00 does not know
        (f"cc-{TRACE}-{SPAN}-01", "01"),  # a later version
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", "01"),
    ],
)
def test_a_proper_header(header: str, flags: str) -> None:
    parsed = read_traceparent(header)
    assert parsed == TraceParent(TRACE, SPAN, flags)
    assert str(parsed) == f"00-{TRACE}-{SPAN}-{flags}"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{32 * '0'}-{SPAN}-01",
        f"00-{TRACE}-{16 * '0'}-01",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\r\nX-Evil: 1",
        f"00-{TRACE}-{SPAN}-01,00-{TRACE}-{SPAN}-01",  # two headers
        f"cc-{TRACE}-{SPAN}-01-" + 1000 * "x",
    ],
)
def test_any_other_is_as_if_not_sent(header: str | None) -> None:
    assert read_traceparent(header) is None
