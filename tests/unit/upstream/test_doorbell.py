"""A task at a door, and everything that can make it go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

import pytest

from gateway.upstream.doorbell import Doorbell


class Guest:
    """Waits at the door again and again, and counts."""

    def __init__(self, bell: Doorbell) -> None:
        self.bell = bell
        self.entered = 0

    async def __call__(self) -> None:
        while True:
            await self.bell
            self.entered += 1


@pytest.fixture
async def bell() -> Doorbell:
    return Doorbell()


async def in_a_callback(ring: Callable[[], None]) -> None:
    """Call it as the loop calls what it has been told to call."""
    asyncio.get_running_loop().call_soon(ring)
    await asyncio.sleep(0)


async def test_the_task_runs_before_the_ring_returns(bell: Doorbell) -> None:
    guest = Guest(bell)
    task = asyncio.create_task(guest())
    await asyncio.sleep(0)
    seen = []

    def ring() -> None:
        bell.ring()
        seen.append(guest.entered)
        bell.ring()
        seen.append(guest.entered)

    await in_a_callback(ring)
    assert seen == [1, 2]
    task.cancel()


async def test_a_ring_from_another_task_is_heard_in_the_next_round(bell: Doorbell) -> None:
    guest = Guest(bell)
    task = asyncio.create_task(guest())
    await asyncio.sleep(0)
    assert bell.awaited
    bell.ring_soon()
    bell.ring_soon()
    assert (guest.entered, bell.awaited) == (0, False)
    await asyncio.sleep(0)
    assert (guest.entered, bell.awaited) == (1, True)
    task.cancel()


async def test_without_a_guest_a_ring_is_nothing(bell: Doorbell) -> None:
    bell.ring()
    bell.ring_soon()
    waiting = asyncio.create_task(Guest(bell)())
    await asyncio.sleep(0.01)
    assert bell.awaited
    waiting.cancel()


@pytest.mark.parametrize("rung", [False, True], ids=["waiting", "already called in"])
async def test_a_guest_can_be_cancelled_and_another_one_comes(bell: Doorbell, rung: bool) -> None:
    first = asyncio.create_task(Guest(bell)())
    await asyncio.sleep(0)
    if rung:
        bell.ring_soon()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    guest = Guest(bell)
    second = asyncio.create_task(guest())
    await asyncio.sleep(0)
    await in_a_callback(bell.ring)
    assert guest.entered == 1
    second.cancel()


async def test_waiting_can_have_its_time(bell: Doorbell) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await bell
    async with asyncio.timeout(5):
        asyncio.get_running_loop().call_later(0.01, bell.ring)
        await bell


async def test_the_task_runs_in_its_own_context(bell: Doorbell) -> None:
    name: ContextVar[str] = ContextVar("name")
    seen = []

    async def guest() -> None:
        name.set("guest")
        await bell
        seen.append(name.get())

    task = asyncio.create_task(guest())
    await asyncio.sleep(0)
    name.set("host")
    await in_a_callback(bell.ring)
    await task
    assert (seen, name.get()) == (["guest"], "host")
