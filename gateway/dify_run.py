"""One run at Dify: from the question to its last event, and nothing left running behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from gateway.dify_api import calls
from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import App
from gateway.dify_api.calls import DifyCall
from gateway.errors import GatewayError, UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, Started
from gateway.observability.request_timeline import RequestTimeline
from gateway.services import Services
from gateway.upstream.doorbell import Doorbell
from gateway.upstream.transfer import Transfer

log = logging.getLogger(__name__)

_TWIN_GRACE_SECONDS = 1.5  # a chatflow has two terminal events; the second one follows at once or never
_LAST_EVENTS_SECONDS = 10.0  # a stopped run ends within 2 s, one that ignores the stop is not waited for


class ClientLeft(Exception):
    """Nobody reads this answer any more."""


class FormClosed(Exception):
    """A form was answered before, or its time is over."""


FORM_CLOSED = (404, 412)  # statuses that say so


class DifyRun:
    """Hands out a run's events in batches; `end` stops it if it is not over.

    A batch is everything that one read of the socket brought; the empty batch means that the run is over.
    """

    def __init__(
        self, app: App, user: str, services: Services, timeline: RequestTimeline, *, collected: bool = False
    ) -> None:
        """`collected`: nobody sees the answer grow, so its pieces may come in larger batches."""
        self.started: Started | None = None  # once Dify has told the run's ids
        self.sent = False  # Dify may have the question
        self._app = app
        self._user = user
        self._collected = collected
        self._services = services
        self._timeline = timeline
        self._trace = timeline.trace
        self._reader = AnswerReader(
            app.mode,
            app.key.output_variable,
            app.key.host,
            services.settings.workflow_progress,
            app.cites,
            self._trace.heard if self._trace else None,
        )
        self._asking: asyncio.Task[None]  # from `begin` on
        self._doorbell = Doorbell()  # rings when it is done; two rounds of the loop sooner than asyncio.wait
        self._transfer: Transfer | None = None  # once Dify answers with a stream
        self._left = False
        self._following: asyncio.Task[None] | None = None  # once the stream has broken
        self._again: Transfer | None = None  # once Dify goes on with the run
        self._told: list[AnswerEvent] | None = None  # what is answered without Dify

    def begin(self, asking: Coroutine[Any, Any, None]) -> None:
        """Start the work that ends in `ask`.

        A task of its own: a caller that waits for a batch only for so long must not take the question back.
        """
        self._asking = asyncio.get_running_loop().create_task(asking)
        self._asking.add_done_callback(self._asked)

    def _asked(self, asking: asyncio.Task[None]) -> None:
        if not asking.cancelled():
            asking.exception()  # nobody's when the client has left before it
        self._doorbell.ring()

    async def ask(self, call: DifyCall) -> None:
        """Put the question. Raises GatewayError when no stream begins; it may be put again then. Raises ClientLeft."""
        if self._left:
            raise ClientLeft
        dify = self._services.dify
        slot = await dify.take_slot(self._app.key)
        self.sent = True
        if traceparent := self._timeline.traceparent:
            call = calls.traced(call, traceparent.trace_id, str(traceparent))
        if self._trace is not None:
            self._trace.asked(call.method, call.path, call.body)
        sent_at = self._services.clock()
        try:
            self._transfer = await dify.ask(self._app.key, call, slot, lambda: not self._left)
        finally:
            transfer = self._transfer
            marks = (transfer.answered_at, transfer.connect_seconds) if transfer else (None, None)
            self._timeline.asked(slot.waited_seconds(sent_at), sent_at, *marks)

    async def resume(self, submission: DifyCall, run_id: str) -> None:
        """Answer the form that a paused run waits for, and listen to what it does then.

        Raises FormClosed when it waits no longer, GatewayError when no stream begins.
        """
        dify = self._services.dify
        self.sent = True
        answer = await dify.fetch(self._app.key, submission)
        if answer.head.status in FORM_CLOSED:
            raise FormClosed
        if answer.head.status >= 400:
            raise answer.error()
        self._transfer = await dify.follow(self._app.key, calls.follow(run_id, self._user))

    def tell(self, events: list[AnswerEvent]) -> None:
        """Answer without Dify."""
        self._told = events

    async def next_batch(self) -> list[AnswerEvent]:
        """Wait for more. Raises the GatewayError that ends the run without an event, or ClientLeft."""
        if self._transfer is None:
            while not self._asking.done():
                await self._doorbell
            if self._asking.cancelled():
                raise ClientLeft
            self._asking.result()
            if self._told is not None:
                told, self._told = self._told, []
                return told
        reader = self._reader
        while not reader.complete:
            if self._left and self.started:
                raise ClientLeft
            assert self._transfer is not None
            seen = reader.events_seen
            try:
                data = await (self._read_settling(self._transfer) if reader.settling else self._transfer.read())
            except UpstreamTruncated:
                if await self._follow(self._transfer):
                    continue
                raise
            if data:
                events = reader.receive(data)
            elif not reader.settling and await self._follow(self._transfer):
                continue
            else:
                events = reader.receive_eof()
            if reader.events_seen != seen:
                self._transfer.note_progress()
            if self.started is None:
                self._note_start(events)
            if events:
                if self._collected and type(events[-1]) is not Started:  # ids and first text are told at once
                    self._transfer.patient = True
                return events
        return []

    def abandon(self) -> None:
        """The client has left: whoever waits in `next_batch` gets ClientLeft.

        At once if Dify has told its task id; else with the first event, since without that id the run cannot be
        stopped and the model would go on unseen.
        """
        self._left = True
        if not self.sent:
            self._asking.cancel()
        elif self._transfer is not None and self.started:
            self._transfer.interrupt(ClientLeft())
            if not self._services.settings.keep_partial_answers:
                self._transfer.cancel()  # before anything else is done for those that may have left together
            if self._following is not None:
                self._following.cancel()

    def end(self, *, is_answered: bool = False) -> None:
        """Close the connection, and stop the run, in the background, if it is not over.

        `is_answered`: what it has said is the client's answer. Dify saves it only for those who listen to the end, and
        without it the next turn would not know what was said.
        """
        if self._reader.unknown_events:
            self._services.metrics.unknown_events.inc(self._reader.unknown_events)
        if self._transfer is not None and self._transfer.pauses:
            self._services.metrics.backpressure_pauses.inc(self._transfer.pauses)
        if self.sent and self._told is None and not self._reader.run_is_over:
            self._services.background.start(self._end_early(is_answered))
        else:
            self._let_go()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def _read_settling(self, transfer: Transfer) -> bytes:
        """What comes behind the first terminal event, if it comes soon."""
        try:
            return await asyncio.wait_for(transfer.read(), _TWIN_GRACE_SECONDS)
        except (TimeoutError, GatewayError):
            return b""  # the first terminal event was enough

    def _note_start(self, events: list[AnswerEvent]) -> None:
        if events and isinstance(events[0], Started):
            self.started = events[0]
            self._timeline.first_event_at = self._services.clock()

    async def _follow(self, broken: Transfer) -> bool:
        """The stream broke before its end: take up a workflow's run again, once, where Dify can (>= 1.14)."""
        if self._following is None:
            if (run_id := self._reader.workflow_run_id) is None:
                return False
            # A task of its own, as the question: the caller's patience may end before Dify has answered.
            self._following = asyncio.get_running_loop().create_task(self._take_up(run_id))
        await asyncio.wait([self._following])
        if self._following.cancelled():
            raise ClientLeft
        self._following.result()
        if self._again is None or self._again is broken:
            return False
        self._transfer = self._again
        self._reader.lose_text()
        return True

    async def _take_up(self, run_id: str) -> None:
        try:
            self._again = await self._services.dify.follow(self._app.key, calls.follow(run_id, self._user))
        except GatewayError as error:
            log.info("run not taken up again model=%s error=%s", self._app.model_id, error.code)
            self._services.metrics.followed_runs.labels("failed").inc()
        else:
            self._services.metrics.followed_runs.labels("ok").inc()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def _end_early(self, is_answered: bool) -> None:
        """Nobody listens any more: close the connection and stop the run, or hear it out."""
        try:
            task_id = self.started.task_id if self.started else await self._learn_task_id()
            if task_id is None or self._transfer is None:
                return
            if not (is_answered or self._services.settings.keep_partial_answers):
                self._transfer.cancel()
            await self._stop(task_id)
            async with asyncio.timeout(_LAST_EVENTS_SECONDS):
                while await self._transfer.read():
                    pass
        except (TimeoutError, GatewayError, ClientLeft) as error:
            error.with_traceback(None)  # it is kept with the question, whose frames know this run
        finally:
            self._let_go()

    async def _learn_task_id(self) -> str | None:
        """Read on until Dify tells it: a write to a client that has vanished can fail before that."""
        self._left = True
        try:
            while await self.next_batch():
                pass
        except ClientLeft:
            return self.started.task_id if self.started else None
        return None  # the run ended by itself

    def _let_go(self) -> None:
        for task in (self._asking, self._following):
            if task is not None:
                task.cancel()
        for transfer in (self._transfer, self._again):
            if transfer is not None:
                transfer.cancel()

    async def _stop(self, task_id: str) -> None:
        """Dify runs on when its client leaves (0.15 to 1.16), so it has to be told."""
        call = calls.stop(self._app, task_id, self._user)
        if self._trace is not None:
            self._trace.asked(call.method, call.path, call.body)
        outcome = "failed"
        for _ in range(2):
            try:
                answer = await self._services.dify.fetch(self._app.key, call)
            except GatewayError as error:
                log.warning("stop call failed model=%s error=%s", self._app.model_id, error.code)
                continue
            outcome = "ok" if answer.head.status == 200 else "refused"
            break
        self._services.metrics.stop_calls.labels(outcome).inc()
