"""Waiting for a slot, in a loop: admitted, refused, given up."""

from __future__ import annotations

import asyncio
import math

import pytest

from gateway.errors import Overloaded, UpstreamBusy
from gateway.policy.admission import AdmissionLimits
from gateway.upstream.slots import Slots


def slots(process: int = 10, host: int = 1, queue: int = 2, seconds: float = 5.0) -> Slots:
    limits = AdmissionLimits(
        process_streams=process,
        host_streams=host,
        host_queue=queue,
        queue_seconds=seconds,
        starts_per_second=math.inf,
        start_burst=1,
    )
    return Slots(limits, asyncio.get_running_loop().time)


async def test_a_freed_slot_goes_to_the_first_who_waits() -> None:
    desk = slots()
    first = await desk.take("dify")
    second = asyncio.create_task(desk.take("dify"))
    third = asyncio.create_task(desk.take("dify"))
    await asyncio.sleep(0.01)
    assert not second.done()
    desk.release(first)
    ticket = await second
    assert not third.done()
    desk.release(ticket)
    desk.release(await third)
    assert desk.load() == {}


async def test_a_full_queue_refuses_at_once() -> None:
    desk = slots(queue=0)
    ticket = await desk.take("dify")
    with pytest.raises(UpstreamBusy) as refused:
        await desk.take("dify")
    assert refused.value.retry_after
    desk.release(ticket)


async def test_a_full_process_is_the_gateways_own_business() -> None:
    desk = slots(process=1, host=5, queue=0)
    ticket = await desk.take("one")
    with pytest.raises(Overloaded):
        await desk.take("other")
    desk.release(ticket)


async def test_waiting_ends_at_its_deadline() -> None:
    desk = slots(seconds=0.05)
    ticket = await desk.take("dify")
    with pytest.raises(UpstreamBusy):
        await asyncio.wait_for(desk.take("dify"), 2)
    desk.release(ticket)
    assert desk.load() == {}


async def test_who_gives_up_leaves_nothing_behind() -> None:
    desk = slots()
    ticket = await desk.take("dify")
    waiter = asyncio.create_task(desk.take("dify"))
    await asyncio.sleep(0.01)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert desk.load()["dify"].waiting == 0
    desk.release(ticket)
    assert desk.load() == {}


async def test_who_is_admitted_while_giving_up_gives_the_slot_back() -> None:
    desk = slots()
    ticket = await desk.take("dify")
    waiter = asyncio.create_task(desk.take("dify"))
    await asyncio.sleep(0.01)
    desk.release(ticket)  # wakes the waiter …
    waiter.cancel()  # … which is cancelled before it runs
    await asyncio.gather(waiter, return_exceptions=True)
    assert desk.load() == {}


async def test_a_reload_lets_waiters_in() -> None:
    desk = slots()
    tickets = [await desk.take("dify")]
    waiter = asyncio.create_task(desk.take("dify"))
    await asyncio.sleep(0.01)
    desk.use(
        AdmissionLimits(
            process_streams=10,
            host_streams=2,
            host_queue=2,
            queue_seconds=5,
            starts_per_second=math.inf,
            start_burst=1,
        )
    )
    tickets.append(await asyncio.wait_for(waiter, 2))
    for ticket in tickets:
        desk.release(ticket)
    assert desk.load() == {}
