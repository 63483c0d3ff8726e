"""Patience ends as asyncio's timeout does: once, with a TimeoutError, and nobody else's cancelling is taken for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from gateway.web.event_stream import Heartbeat
from gateway.web.patience import Patience


@pytest.mark.parametrize("seconds", [0.0, 0.1])
async def test_what_takes_too_long_ends_with_a_timeout(seconds: float) -> None:
    heartbeat = Heartbeat(time.monotonic)
    began = time.monotonic()
    with pytest.raises(TimeoutError), Patience(heartbeat, seconds):
        await asyncio.sleep(10)
    assert seconds <= time.monotonic() - began < 5
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # this task goes on


async def test_what_is_quick_is_left_alone() -> None:
    heartbeat = Heartbeat(time.monotonic)
    with Patience(heartbeat, 0.1):
        await asyncio.sleep(0)
    await asyncio.sleep(0.3)


async def test_an_error_goes_its_way() -> None:
    with pytest.raises(KeyError), Patience(Heartbeat(time.monotonic), 0.1):
        raise KeyError


@pytest.mark.parametrize("also_over", [True, False])
async def test_who_is_cancelled_by_another_stays_cancelled(also_over: bool) -> None:
    patience = Patience(Heartbeat(time.monotonic), 60.0)

    async def wait() -> None:
        with patience:
            await asyncio.sleep(10)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    if also_over:
        patience.beat(float("inf"))
    with pytest.raises(asyncio.CancelledError):
        await task
