"""Whoever is first asks for all, may leave at any moment, and takes nothing from the others."""

from __future__ import annotations

import asyncio
import gc
import traceback
import weakref
from types import TracebackType

import pytest

from gateway.dify_run import ClientLeft
from gateway.errors import GatewayError, InternalError, RateLimited, RunFailed
from gateway.exchange.answer import AnswerEvent, AnswerStamp, Failed, Finished, TextDelta
from gateway.idempotency.identity import Identity
from gateway.idempotency.shared_answer import AnswerSource, Listener, SharedAnswer
from gateway.observability.request_timeline import RequestTimeline


class Source:
    """Gives what the test puts into it."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[AnswerEvent] | Exception] = asyncio.Queue()
        self.waiting = 0
        self.most_waiting = 0
        self.entered = 0
        self.closed = 0

    async def __aenter__(self) -> Source:
        self.entered += 1
        return self

    async def next_batch(self) -> list[AnswerEvent]:
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        try:
            batch = await self.batches.get()
        finally:
            self.waiting -= 1
        if isinstance(batch, Exception):
            raise batch
        return batch

    def abandon(self) -> None:
        self.batches.put_nowait(ClientLeft())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.closed += 1


class Keeper:
    """Notes what a shared answer says."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.may_begin = asyncio.Event()
        self.may_begin.set()
        self.refusal: GatewayError | None = None
        self.said: list[str] = []
        self.lingering: list[asyncio.Task[None]] = []
        self.grace = 0.05
        self.followed = False

    async def begin(self, answer: SharedAnswer) -> AnswerSource:
        self.said.append("begin")
        await self.may_begin.wait()
        if self.refusal is not None:
            raise self.refusal
        assert answer.start is not None
        return await answer.start().__aenter__()

    def recorded(self, answer: SharedAnswer, batch: list[AnswerEvent]) -> None: ...

    def ended(self, answer: SharedAnswer) -> None:
        self.said.append("ended")

    def withdraw(self, answer: SharedAnswer) -> None:
        self.said.append("withdraw")

    def deserted(self, answer: SharedAnswer) -> None:
        self.said.append("deserted")
        self.lingering.append(asyncio.create_task(answer.linger(self.grace)))

    async def is_followed(self, answer: SharedAnswer) -> bool:
        return self.followed


@pytest.fixture
async def source() -> Source:
    return Source()


@pytest.fixture
async def keeper(source: Source) -> Keeper:
    return Keeper(source)


@pytest.fixture
async def answer(source: Source, keeper: Keeper) -> SharedAnswer:
    return new_answer(source, keeper)


def new_answer(source: Source, keeper: Keeper, *, keyed: bool = True) -> SharedAnswer:
    identity = Identity("name", "question", keyed=keyed, repeats=True)
    return SharedAnswer(identity, AnswerStamp("chatcmpl-1", 7), lambda: source, keeper=keeper)


def listener(answer: SharedAnswer) -> Listener:
    return Listener(answer, RequestTimeline(lambda: 0.0, "chat.completions", 0.0))


async def read(place: Listener) -> list[AnswerEvent]:
    async with place:
        events: list[AnswerEvent] = []
        while batch := await place.next_batch():
            events += batch
        return events


def texts(events: list[AnswerEvent]) -> str:
    return " ".join(event.text for event in events if isinstance(event, TextDelta))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_read_what_one_asked_for(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    reading = [asyncio.create_task(read(listener(answer))) for _ in range(5)]
    await settle()
    for batch in ([TextDelta("w1")], [TextDelta("w2"), Finished()], []):
        source.batches.put_nowait(batch)
        await settle()
    late = await read(listener(answer))
    for events in [await one for one in reading] + [late]:
        assert texts(events) in ("w1 w2", "w1w2")
    assert source.most_waiting == source.entered == source.closed == 1
    assert keeper.said == ["begin", "ended"]
    assert answer.start is None  # it knows the question


async def test_who_asks_for_all_may_leave(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    first, second = listener(answer), listener(answer)
    reading = asyncio.create_task(read(first)), asyncio.create_task(read(second))
    await settle()
    first.abandon()
    await settle()
    with pytest.raises(ClientLeft):
        await reading[0]
    source.batches.put_nowait([TextDelta("w1"), Finished()])
    source.batches.put_nowait([])
    assert texts(await reading[1]) == "w1"
    assert "deserted" not in keeper.said


async def test_a_wait_that_ends_early_takes_nothing_back(answer: SharedAnswer, source: Source) -> None:
    async with listener(answer) as first, listener(answer) as second:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await first.next_batch()
        waiting = asyncio.create_task(second.next_batch())
        await settle()
        source.batches.put_nowait([TextDelta("w1")])
        assert await waiting == [TextDelta("w1")] == await first.next_batch()
        source.batches.put_nowait([])
        assert await first.next_batch() == []


async def test_who_begins_may_leave_before_it_has_begun(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    keeper.may_begin.clear()
    first, second = listener(answer), listener(answer)
    reading = asyncio.create_task(read(first)), asyncio.create_task(read(second))
    await settle()
    first.abandon()
    await settle()
    keeper.may_begin.set()
    source.batches.put_nowait([TextDelta("w1"), Finished()])
    source.batches.put_nowait([])
    assert texts(await reading[1]) == "w1"
    with pytest.raises(ClientLeft):
        await reading[0]
    assert keeper.said == ["begin", "begin", "ended"]
    assert source.entered == 1
    assert answer.listeners == 0


async def test_who_leaves_alone_before_it_has_begun_leaves_nothing(
    answer: SharedAnswer, source: Source, keeper: Keeper
) -> None:
    keeper.may_begin.clear()
    place = listener(answer)
    reading = asyncio.create_task(read(place))
    await settle()
    place.abandon()
    with pytest.raises(ClientLeft):
        await reading
    await keeper.lingering[0]
    assert keeper.said == ["begin", "deserted", "begin", "withdraw"]
    assert source.entered == 0


async def test_a_client_that_has_left_gets_nothing(answer: SharedAnswer, source: Source) -> None:
    async with listener(answer) as place:
        place.abandon()
        with pytest.raises(ClientLeft):
            await place.next_batch()
        source.batches.put_nowait([])


async def test_who_has_left_is_told_so_and_not_cancelled(answer: SharedAnswer) -> None:
    counts = []

    async def leave() -> None:
        place = listener(answer)
        task = asyncio.current_task()
        assert task is not None
        async with place:
            asyncio.get_running_loop().call_later(0.01, place.abandon)
            for _ in range(3):
                with pytest.raises(ClientLeft):
                    await place.next_batch()
                counts.append(task.cancelling())
            await asyncio.sleep(0)  # nothing is left that would cancel it here

    await asyncio.create_task(leave())
    assert counts == [0, 0, 0]


@pytest.mark.parametrize("abandoned", [False, True])
async def test_a_cancellation_from_outside_stays_one(answer: SharedAnswer, abandoned: bool) -> None:
    place = listener(answer)
    async with place, listener(answer):
        waiting = asyncio.create_task(place.next_batch())
        await settle()
        if abandoned:
            place.abandon()
            asyncio.get_running_loop().call_soon(waiting.cancel)
        else:
            waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_a_cancelled_wait_leaves_nothing_for_the_garbage_collector(answer: SharedAnswer) -> None:
    place = listener(answer)
    gc.disable()
    try:
        async with place, listener(answer):
            waiting = asyncio.create_task(place.next_batch())
            await settle()
            waiting.cancel()
            await asyncio.wait([waiting])
            gone = weakref.ref(waiting)
            del waiting
            await settle()
            assert gone() is None
    finally:
        gc.enable()


async def test_to_be_told_twice_that_it_has_left_changes_nothing(answer: SharedAnswer) -> None:
    place = listener(answer)
    async with place, listener(answer):
        waiting = asyncio.create_task(place.next_batch())
        await settle()
        place.abandon()
        place.abandon()
        asyncio.get_running_loop().call_soon(place.abandon)
        with pytest.raises(ClientLeft):
            await waiting
        assert waiting.cancelling() == 0


async def test_what_has_come_before_it_left_is_still_told(answer: SharedAnswer, source: Source) -> None:
    async with listener(answer) as place:
        waiting = asyncio.create_task(place.next_batch())
        await settle()
        source.batches.put_nowait([TextDelta("w1")])
        place.abandon()
        assert await waiting == [TextDelta("w1")]
        with pytest.raises(ClientLeft):
            await place.next_batch()


@pytest.mark.parametrize("error", [RateLimited("later"), RunFailed("broken")])
async def test_an_error_is_everybodys(answer: SharedAnswer, source: Source, error: GatewayError) -> None:
    reading = [asyncio.create_task(read(listener(answer))) for _ in range(3)]
    await settle()
    source.batches.put_nowait([TextDelta("w1")])
    source.batches.put_nowait(error)
    for one in reading:
        assert (await one)[-1] == Failed(error)
    assert answer.failure is error
    assert source.closed == 1


async def test_a_refusal_is_everybodys_and_has_no_source(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    keeper.refusal = RateLimited("later")
    assert await read(listener(answer)) == [Failed(keeper.refusal)] == await read(listener(answer))
    assert keeper.said == ["begin", "ended"]
    assert source.entered == source.closed == 0


async def test_a_fault_is_raised_once_and_an_error_for_the_others(answer: SharedAnswer, source: Source) -> None:
    reading = [asyncio.create_task(read(listener(answer))) for _ in range(3)]
    await settle()
    source.batches.put_nowait(ZeroDivisionError())
    ends = await asyncio.gather(*reading, return_exceptions=True)
    assert sum(isinstance(end, ZeroDivisionError) for end in ends) == 1
    assert sum(isinstance(end, list) and isinstance(end[-1].error, InternalError) for end in ends) == 2
    assert source.closed == 1


async def test_a_remembered_error_does_not_grow(answer: SharedAnswer, source: Source) -> None:
    source.batches.put_nowait([Failed(RunFailed("broken"))])
    source.batches.put_nowait([])
    depths = []
    for _ in range(5):
        events = await read(listener(answer))
        assert isinstance(events[-1], Failed)
        with pytest.raises(RunFailed) as caught:
            raise events[-1].error
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(depths)) == 1


async def test_only_the_first_at_the_end_counts_the_tokens(answer: SharedAnswer, source: Source) -> None:
    places = [listener(answer) for _ in range(3)]
    source.batches.put_nowait([TextDelta("w1"), Finished()])
    source.batches.put_nowait([])
    for place in places:
        await read(place)
    assert [place._timeline.replayed for place in places] == [False, True, True]


# --- nobody listens ---------------------------------------------------------------------------------------------------


async def leave_alone(answer: SharedAnswer, source: Source) -> None:
    async with listener(answer) as place:
        source.batches.put_nowait([TextDelta("w1")])
        await place.next_batch()


async def test_after_the_grace_it_is_stopped(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    await leave_alone(answer, source)
    await settle()
    assert source.closed == 0
    await keeper.lingering[0]
    assert source.closed == 1
    assert keeper.said == ["begin", "deserted", "withdraw"]


async def test_in_the_grace_it_goes_on_and_may_end(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    await leave_alone(answer, source)
    source.batches.put_nowait([TextDelta("w2"), Finished()])
    source.batches.put_nowait([])
    await keeper.lingering[0]
    assert keeper.said == ["begin", "deserted", "ended"]
    assert texts(await read(listener(answer))) == "w1w2"
    assert source.closed == 1


async def test_each_that_leaves_last_begins_a_new_grace(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    keeper.grace = 0.2
    loop = asyncio.get_running_loop()
    began = loop.time()
    await leave_alone(answer, source)
    await asyncio.sleep(0.1)
    async with listener(answer) as place:
        assert await place.next_batch() == [TextDelta("w1")]
    while source.closed == 0:
        await asyncio.sleep(0.01)
    assert loop.time() - began >= 0.3
    assert source.closed == 1
    await asyncio.gather(*keeper.lingering)


async def test_while_another_gateway_reads_it_goes_on(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    keeper.followed, keeper.grace = True, 0.01
    await leave_alone(answer, source)
    await asyncio.sleep(0.1)
    source.batches.put_nowait([TextDelta("w2"), Finished()])
    source.batches.put_nowait([])
    await keeper.lingering[0]
    assert keeper.said == ["begin", "deserted", "ended"]


async def test_what_nobody_can_join_is_not_waited_for(answer: SharedAnswer, source: Source, keeper: Keeper) -> None:
    keeper.followed, keeper.grace = True, 60
    async with listener(answer) as place:
        source.batches.put_nowait([TextDelta("w1")])
        await place.next_batch()
        answer.drop_start()
    await asyncio.wait_for(keeper.lingering[0], 1)
    assert source.closed == 1


# --- SDKs -------------------------------------------------------------------------------------------------------------


async def test_after_the_commit_a_lone_client_has_the_source_for_itself(source: Source, keeper: Keeper) -> None:
    answer = new_answer(source, keeper, keyed=False)
    async with listener(answer) as place:
        source.batches.put_nowait([TextDelta("w1")])
        await place.next_batch()
        assert place.committed() is source  # type: ignore[comparison-overlap]
        assert not answer.joinable
    assert keeper.said == ["begin", "withdraw"]
    assert source.closed == 1


async def test_after_the_commit_two_clients_read_on_together(source: Source, keeper: Keeper) -> None:
    answer = new_answer(source, keeper, keyed=False)
    async with listener(answer) as first, listener(answer) as second:
        source.batches.put_nowait([TextDelta("w1")])
        await first.next_batch()
        assert first.committed() is first
        source.batches.put_nowait([TextDelta("w2")])
        assert [await second.next_batch(), await second.next_batch()] == [[TextDelta("w1")], [TextDelta("w2")]]
        assert await first.next_batch() == [TextDelta("w2")]
        source.batches.put_nowait([])
        assert await first.next_batch() == await second.next_batch() == []
    assert source.closed == 1


async def test_with_a_key_the_commit_changes_nothing(answer: SharedAnswer, source: Source) -> None:
    async with listener(answer) as place:
        source.batches.put_nowait([TextDelta("w1")])
        await place.next_batch()
        assert place.committed() is place
        assert answer.joinable
        source.batches.put_nowait([])
        await place.next_batch()
