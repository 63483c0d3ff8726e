"""Lateness is what goes beyond the period, and the worst is told once."""

from __future__ import annotations

import asyncio
import time

from gateway.observability.loop_lag import LoopLag


def test_lateness_by_a_clock_that_the_test_turns() -> None:
    now = 100.0
    lag = LoopLag(lambda: now)
    lag._looked_at = now
    for step in (0.1, 0.35, 0.1):
        now += step
        lag._look()
    assert round(lag.take_worst(), 6) == 0.25
    assert lag.take_worst() == 0.0


async def test_a_blocked_loop_is_noticed() -> None:
    lag = LoopLag(asyncio.get_running_loop().time)
    lag.start()
    await asyncio.sleep(0.15)
    time.sleep(0.4)  # noqa: ASYNC251 - that is the point
    await asyncio.sleep(0.15)
    lag.stop()
    assert lag.take_worst() > 0.2
