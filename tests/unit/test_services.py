"""Background work is kept alive, its faults are logged, and the end waits for it, but not for ever."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.services import Background


async def test_the_end_waits_for_all_work() -> None:
    background = Background()
    done = []

    async def work() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        done.append(True)

    background.start(work())
    background.start(work())
    assert len(background._tasks) == 2  # the loop itself holds tasks weakly
    await background.finish(seconds=5)
    assert done == [True, True]
    assert not background._tasks


async def test_finish_without_work_returns_at_once() -> None:
    await Background().finish(seconds=5)


async def test_late_work_is_cancelled_and_may_clean_up() -> None:
    background = Background()
    left = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            left.append(True)

    background.start(work())
    await background.finish(seconds=0.01)
    assert left == [True]
    assert not background._tasks


async def test_a_fault_is_logged_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    done = []

    async def fail() -> None:
        raise RuntimeError("broken work")

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.append(True)

    background.start(fail())
    background.start(work())
    with caplog.at_level(logging.ERROR):
        await background.finish(seconds=5)
    assert done == [True]
    (record,) = caplog.records
    assert record.message == "background work failed"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "broken work"


async def test_late_work_that_fails_while_it_cleans_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("broken cleaning")

    background.start(work())
    with caplog.at_level(logging.ERROR):
        await background.finish(seconds=0.01)
        await asyncio.sleep(0)
    assert [record.message for record in caplog.records] == ["background work failed"]
