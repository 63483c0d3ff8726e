"""One turn in flight: from the Turn to the last answer event, and nothing left running behind it."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType

from gateway.dify_api import calls
from gateway.dify_api.answer_reader import AnswerReader
from gateway.dify_api.app import App
from gateway.dify_api.inputs import fill_inputs
from gateway.errors import GatewayError
from gateway.exchange.answer import AnswerEvent, Started
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.turn import Turn
from gateway.observability.request_timeline import RequestTimeline
from gateway.services import Services
from gateway.sse import SSEDecoder
from gateway.upstream.dify_client import stream_error
from gateway.upstream.transfer import Transfer

log = logging.getLogger(__name__)

_TWIN_GRACE_SECONDS = 1.5  # a chatflow has two terminal events; the second one follows at once or never


class ClientLeft(Exception):
    """Nobody reads this answer any more."""


class LiveAnswer:
    """Asks Dify when entered, hands out the answer in batches, stops the run when left early.

    A batch is everything that one read of the socket brought; the empty batch means that the answer is over.
    """

    def __init__(self, turn: Turn, app: App, user: str, services: Services, timeline: RequestTimeline) -> None:
        self._turn = turn
        self._app = app
        self._user = user
        self._services = services
        self._timeline = timeline
        self._decoder = SSEDecoder()
        self._reader = AnswerReader(app.mode, app.key.output_variable)
        self._transfer: Transfer | None = None
        self._task_id: str | None = None
        self._run_over = False  # as far as Dify has told
        self._left = False

    async def __aenter__(self) -> LiveAnswer:
        settings = self._services.settings
        mode = settings.conversation_memory_mode if self._app.key.memory_mode is None else self._app.key.memory_mode
        prompt = MEMORY_MODES[mode].recall(self._turn)
        inputs = fill_inputs(self._app, self._turn.inputs, prompt.query)
        call = calls.ask(self._app, prompt, inputs, self._user)
        self._transfer = self._services.dify.ask(self._app.key, call)
        self._timeline.asked()
        self._services.answers_in_flight += 1
        return self

    async def next_batch(self) -> list[AnswerEvent]:
        """Wait for more of the answer. Raises the GatewayError that ends it without an event, or ClientLeft."""
        transfer = self._transfer
        assert transfer is not None
        if not transfer.answered:
            head = await transfer.head()
            self._timeline.answered()
            if head.status != 200 or head.content_type != "text/event-stream":
                self._run_over = True
                raise await stream_error(head, transfer)
        while not self._reader.complete:
            if self._left and self._task_id:
                raise ClientLeft
            if events := self._receive(await self._read(transfer)):
                return events
        return []

    def abandon(self) -> None:
        """The client has left: whoever waits in `next_batch` gets ClientLeft.

        At once if Dify has told its task id; else with the first event, since without that id the run cannot be
        stopped and the model would go on unseen.
        """
        self._left = True
        if self._transfer is not None and self._task_id:
            self._transfer.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._services.answers_in_flight -= 1
        if self._reader.unknown_events:
            self._services.metrics.unknown_events.inc(self._reader.unknown_events)
        if self._transfer is not None:
            self._transfer.cancel()
        if self._task_id and not self._run_over:
            self._services.background.start(self._stop(self._task_id))

    async def _read(self, transfer: Transfer) -> bytes:
        """The next bytes; none when the stream is over or need not be waited for."""
        if not self._reader.settling:
            return await transfer.read()
        try:
            return await asyncio.wait_for(transfer.read(), _TWIN_GRACE_SECONDS)
        except (TimeoutError, GatewayError):
            return b""  # the first terminal event was enough

    def _receive(self, data: bytes) -> list[AnswerEvent]:
        reader, seen = self._reader, self._reader.events_seen
        frames = self._decoder.feed(data) if data else self._decoder.finish()
        events = [event for frame in frames for event in reader.receive_data(frame)]
        if self._task_id is None and events and isinstance(events[0], Started):
            self._task_id = events[0].task_id
        if reader.complete or reader.settling:
            self._run_over = True
        if not data and not (self._left and self._task_id):
            events += reader.receive_eof()
        if reader.events_seen != seen and self._transfer is not None:
            self._transfer.note_progress()
        return events

    async def _stop(self, task_id: str) -> None:
        """Dify runs on when its client leaves (0.15 to 1.16), so it has to be told."""
        call = calls.stop(self._app, task_id, self._user)
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
