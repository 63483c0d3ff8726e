"""When an open answer has taken too long, and which of its timers says so.

libcurl's own timers do not serve: its total time-out is no use for streams, and its low-speed limit fires late, never
before headers, and between any two slow tokens.
"""

from __future__ import annotations

from gateway.errors import UpstreamTimeout
from gateway.settings import Settings
from gateway.upstream.transfer import Transfer


def overdue(transfer: Transfer, limits: Settings, now: float) -> UpstreamTimeout | None:
    """The timer that has run out, as the error for the client.

    Dify is not to blame for the silence of a transfer that its reader has paused. Its whole time runs on: a client that
    takes a byte now and then must not hold a place at Dify for ever.
    """
    if now - transfer.started_at > limits.answer_timeout:
        return UpstreamTimeout(f"The answer took longer than {limits.answer_timeout:g} s.", code="answer_timeout")
    if transfer.paused:
        return None
    if not transfer.answered:
        if now - transfer.started_at > limits.first_byte_timeout:
            return UpstreamTimeout(
                f"Dify sent nothing for {limits.first_byte_timeout:g} s; it may have no free worker.",
                code="upstream_first_byte_timeout",
            )
    elif now - transfer.last_byte_at > limits.stream_idle_timeout:
        return UpstreamTimeout(
            f"Dify fell silent for {limits.stream_idle_timeout:g} s in its answer.", code="upstream_idle_timeout"
        )
    if now - transfer.progress_at > limits.stream_stall_timeout:
        return UpstreamTimeout(f"Dify made no progress for {limits.stream_stall_timeout:g} s.", code="upstream_stalled")
    return None


def sweep_seconds(limits: Settings) -> float:
    """How often to look: once a second, more often where a timer is short."""
    return min(1.0, min(limits.first_byte_timeout, limits.stream_idle_timeout, limits.stream_stall_timeout) / 4)
