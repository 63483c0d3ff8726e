"""The W3C's traceparent header: which trace a request belongs to (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re

from gateway.frozen import frozen

# Later versions may append fields; ff is none.
_HEADER = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


@frozen
class TraceParent:
    """A trace, the step of it that called, and whether it is recorded."""

    trace_id: str  # 32 hexadecimal digits
    span_id: str  # 16
    flags: str = "00"  # 2; the last bit: sampled

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"


def read_traceparent(header: str | None) -> TraceParent | None:
    """What the header says; None where it is missing or wrong, as if it had not been sent."""
    if not header or len(header) > 200 or not (found := _HEADER.fullmatch(header.strip())):
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "00" and more:
        return None
    return TraceParent(trace_id, span_id, f"{int(flags, 16) & 1:02x}")
