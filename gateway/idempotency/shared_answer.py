"""One answer that several requests read: whoever has read everything asks Dify for more, once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, TypeVar

from gateway.dify_run import ClientLeft
from gateway.errors import GatewayError, InternalError
from gateway.exchange.answer import AnswerEvent, AnswerStamp, Failed, Finished
from gateway.idempotency.identity import Identity
from gateway.idempotency.recording import Link, Recording
from gateway.observability.request_timeline import RequestTimeline

Result = TypeVar("Result")
Start = Callable[[], "AnswerSource"]  # not entered yet

_LOOK_AGAIN_SECONDS = 1.0  # whether another gateway still reads


class AnswerSource(Protocol):
    """What events come from, once it is entered: a LiveAnswer, another gateway's answer, a place at a shared one."""

    async def __aenter__(self) -> AnswerSource: ...

    async def next_batch(self) -> list[AnswerEvent]:
        """Wait for more; the empty batch is the end. Raises the GatewayError that ends the answer, or ClientLeft."""

    def abandon(self) -> None:
        """The client has left: whoever waits in `next_batch` gets ClientLeft."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Keeper(Protocol):
    """What a shared answer needs from whoever hands out the places at it."""

    async def begin(self, answer: SharedAnswer) -> AnswerSource:
        """Ask for the answer; the source is entered. Raises GatewayError."""

    def recorded(self, answer: SharedAnswer, batch: list[AnswerEvent]) -> None:
        """The answer has grown."""

    def ended(self, answer: SharedAnswer) -> None:
        """The answer is over; a `failure` says how."""

    def withdraw(self, answer: SharedAnswer) -> None:
        """From now on nobody can join."""

    def deserted(self, answer: SharedAnswer) -> None:
        """The last listener has gone before the end: `linger` is to run now."""

    async def is_followed(self, answer: SharedAnswer) -> bool:
        """Whether another gateway reads this answer."""


class SharedAnswer(Recording):
    """A recording in the making. There is no task behind it: its listeners pull, and `linger` when there is none."""

    def __init__(self, identity: Identity, stamp: AnswerStamp, start: Start, *, keeper: Keeper) -> None:
        super().__init__(identity.name)
        self.identity = identity
        self.stamp = stamp
        self.start: Start | None = start  # knows the question, which is not kept longer than the run
        self.followed = False  # it is another gateway's
        self.listeners = 0
        self.end_was_read = False
        self.failure: GatewayError | None = None
        self._keeper = keeper
        self._source: AnswerSource | None = None
        self._turn = asyncio.Lock()
        self._lingering = False
        self._alone_since = 0.0

    async def open(self) -> None:
        """Ask for the answer, unless somebody has. Who asks may leave while he waits; then the next one asks."""
        async with self._turn:
            if self._source is None and not self.over:
                try:
                    self._source = await self._keeper.begin(self)
                except GatewayError as error:
                    self._record([Failed(error)])
                    await self._end()
                except Exception:
                    await self._end_by_fault()
                    raise

    async def after(self, link: Link) -> Link | None:
        """The link behind this one, None at the end."""
        if link.next is None and not self.over:
            async with self._turn:
                if link.next is None and not self.over:
                    await self._pull()
        return link.next

    async def leave(self) -> None:
        """One listener less; the last one closes the answer, or leaves it to `linger`."""
        self.listeners -= 1
        if self.listeners:
            return
        if self.over:
            await self._close()
            return
        self._alone_since = asyncio.get_running_loop().time()
        if not self._lingering:
            self._lingering = True
            self._keeper.deserted(self)

    def committed(self, link: Link) -> AnswerSource | None:
        """A listener's client is about to see the begin of its answer, up to `link`.

        Its SDK does not try again after that; a client with a key may. The source itself, if nobody else can want it.
        """
        if self.identity.keyed:
            return None
        self._keeper.withdraw(self)
        self.drop_start()
        if self.over or self.listeners > 1 or link.next is not None or self._turn.locked():
            return None
        self.over = True  # nothing passes here any more
        return self._source

    async def linger(self, grace: float) -> None:
        """Nobody listens. Go on for the grace, so that a retry finds the answer here, then stop it."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._alone_since + grace):
                        await self._read_alone()
                if self.over or self.listeners:
                    break
                if self.joinable and await self._keeper.is_followed(self):
                    self._alone_since, grace = clock(), max(grace, _LOOK_AGAIN_SECONDS)
                elif not self.listeners and clock() >= self._alone_since + (grace if self.joinable else 0):
                    await self._stop()
                    break  # else somebody has come, or has been here in the meantime
        finally:
            self._lingering = False

    async def _read_alone(self) -> None:
        await self.open()
        while self.joinable and not self.over and not self.listeners:
            await self.after(self.last)

    async def _pull(self) -> None:
        assert self._source is not None
        try:
            batch = await self._source.next_batch()
        except GatewayError as error:
            self._record([Failed(error)])
            batch = []
        except Exception:
            await self._end_by_fault()
            raise
        if batch:
            self._record(batch)
        else:
            await self._end()

    def _record(self, batch: list[AnswerEvent]) -> None:
        if isinstance(batch[-1], Failed):
            self.failure = batch[-1].error
        self.append(batch)
        self._keeper.recorded(self, batch)

    async def _end_by_fault(self) -> None:
        self._record([Failed(InternalError("The gateway failed to handle this answer; its log has the reason."))])
        await self._end()

    async def _end(self) -> None:
        self.end()
        self._keeper.ended(self)
        if not self.listeners:  # else the end of the process waits for them as for any answer in flight
            await self._close()

    async def _stop(self) -> None:
        self._keeper.withdraw(self)
        self.over = True
        await self._close()

    async def _close(self) -> None:
        self.start = None
        if self._source is not None:
            source, self._source = self._source, None
            await source.__aexit__(None, None, None)


class Listener:
    """One request's place at a shared answer; it has LiveAnswer's face."""

    def __init__(self, answer: SharedAnswer, timeline: RequestTimeline) -> None:
        assert answer.first is not None  # else it cannot be joined
        self._answer = answer
        self._link = answer.first
        self._timeline = timeline
        self._loop = asyncio.get_running_loop()
        self._left = False
        self._waiting: asyncio.Task[Any] | None = None
        self._waking: asyncio.Handle | None = None  # from when it is to be woken until it has noticed
        self._woken = False

    @property
    def stamp(self) -> AnswerStamp:
        """Under which id this answer goes, for everybody; known once entered."""
        return self._answer.stamp

    async def __aenter__(self) -> Listener:
        self._answer.listeners += 1
        try:
            await self._unless_left(self._answer.open())
        except BaseException:
            await self._answer.leave()
            raise
        return self

    async def next_batch(self) -> list[AnswerEvent]:
        """Wait for more of the answer; the empty batch is the end. Raises ClientLeft."""
        link = await self._unless_left(self._answer.after(self._link))
        if link is None:
            return []
        self._link = link
        if isinstance(end := link.batch[-1], Finished):
            self._timeline.replayed, self._answer.end_was_read = self._answer.end_was_read, True
        elif isinstance(end, Failed):
            end.error.with_traceback(None)  # each listener raises it, and each raise would lengthen the traceback
        return link.batch

    def committed(self) -> AnswerSource:
        """What to read on from, now that the client is about to see the begin of its answer."""
        return self._answer.committed(self._link) or self

    def abandon(self) -> None:
        """The client has left: whoever waits in `next_batch` gets ClientLeft; the answer is not its own to end."""
        self._left = True
        if self._waiting is not None and self._waking is None:
            self._wake_soon(self._waiting)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._answer.leave()

    async def _unless_left(self, work: Awaitable[Result]) -> Result:
        """What asyncio.timeout does, with `abandon` in the place of a time. Raises ClientLeft."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        cancelling = task.cancelling()
        self._waiting = task
        if self._left:
            self._wake_soon(task)
        try:
            return await work
        except asyncio.CancelledError:
            if self._woken and task.cancelling() <= cancelling + 1:  # else it was cancelled from outside, too
                raise ClientLeft from None
            raise
        finally:
            self._waiting = None
            if self._waking is not None:
                self._rest(task, self._waking)
            del task  # a task that is cancelled keeps its error, whose traceback keeps this frame

    def _wake_soon(self, task: asyncio.Task[Any]) -> None:
        self._waking = self._loop.call_soon(self._wake, task)  # not at once: what has come is still told

    def _wake(self, task: asyncio.Task[Any]) -> None:
        self._woken = True
        task.cancel()

    def _rest(self, task: asyncio.Task[Any], waking: asyncio.Handle) -> None:
        waking.cancel()
        if self._woken:
            task.uncancel()
        self._waking, self._woken = None, False
