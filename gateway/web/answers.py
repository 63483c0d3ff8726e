"""POST for every endpoint that answers with text: parse, ask, answer."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace

from tornado.iostream import StreamClosedError

from gateway.dify_api.app import App
from gateway.dify_run import ClientLeft
from gateway.exchange.answer import (
    AnswerEvent,
    AnswerStamp,
    Failed,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    coalesced,
)
from gateway.exchange.side_calls import recognise
from gateway.exchange.turn import Turn
from gateway.idempotency.desk import AnswerDesk
from gateway.idempotency.identity import identify
from gateway.idempotency.shared_answer import AnswerSource, Listener
from gateway.json_codec import CollectorAtRest
from gateway.openai_api.endpoint import Endpoint, StreamRenderer
from gateway.policy.pacer import Pacer
from gateway.policy.smoothing import is_paced
from gateway.relay import LiveAnswer
from gateway.web.base import IGNORED_HEADER
from gateway.web.body_handler import BodyHandler
from gateway.web.client_watch import ClientWatch
from gateway.web.event_stream import EventStreamWriter, Heartbeat, until_taken
from gateway.web.paced_answer import PacedAnswer
from gateway.web.patience import Patience
from gateway.web.wishes import CONVERSATION_HEADER, belonging, choosing, smoothing, with_wishes

# What a stream waits for before it commits to a 200.
_COMMITS = (TextDelta, ReasoningDelta, ToolCallDelta, Finished, Failed)
_ENDS = (Finished, Failed)

_fits_a_header = re.compile(r"[!-~]{1,100}").fullmatch


class AnswerHandler(BodyHandler):
    """One request for an answer, streamed or whole."""

    def initialize(self, endpoint: Endpoint, desk: AnswerDesk, heartbeat: Heartbeat) -> None:  # type: ignore[override]
        self.endpoint_name = endpoint.name
        super().initialize()
        self.endpoint = endpoint
        self.desk = desk
        self.heartbeat = heartbeat
        self.answer: AnswerSource | None = None

    async def post(self) -> None:
        self.take_body()
        with CollectorAtRest():
            turn = self.endpoint.parse_request(self.json_body())
        turn, app, is_side_call = self._addressed(turn)
        self.timeline.chose(app.model_id, app.key.host, self.services.metrics)
        stamp = AnswerStamp(self.endpoint.id_prefix + secrets.token_hex(14), int(time.time()))
        headers = choosing(self.request.headers, self.services.settings)
        turn = with_wishes(turn, headers, self.client_key, app, self.services.settings)
        if turn.ignored:
            self.set_header(IGNORED_HEADER, ", ".join(turn.ignored))
        pacer = self._pacer(turn, app, headers)  # an unknown wish is refused before Dify is asked
        self.answer = self._ask(turn, app, headers, stamp, is_side_call)
        self.request.body = b""
        try:
            async with self.answer as answer:
                if isinstance(answer, Listener):
                    stamp = answer.stamp
                if turn.stream:
                    renderer = self.endpoint.stream_renderer(turn, stamp.id, stamp.created)
                    await self._stream(answer, renderer, pacer)
                else:
                    with ClientWatch(self, self.heartbeat, self.services.settings.keep_alive_seconds):
                        events = await self._collect(answer)
                    self.write_json(self.endpoint.document(turn, stamp.id, stamp.created, events))
                    await until_taken(self, self.finish(), self.services.settings.client_write_timeout)
        except (ClientLeft, StreamClosedError):
            self.timeline.client_left = True

    def _addressed(self, turn: Turn) -> tuple[Turn, App, bool]:
        """The app that answers, and whether it is a front end that asks it, not its user."""
        services = self.services
        app = services.registry.find(turn.model)
        task = recognise(turn) if services.settings.side_calls else None
        if task is None:
            return turn, app, False
        services.metrics.side_calls.labels(task).inc()
        cheap = services.registry.snapshot.find(services.settings.side_call_model)
        return (turn, app, True) if cheap is None else (replace(turn, inputs={}), cheap, True)

    def _ask(
        self, turn: Turn, app: App, headers: Mapping[str, str], stamp: AnswerStamp, is_side_call: bool
    ) -> AnswerSource:
        """The answer to this request: its own, or a place at one that it may share."""
        services, client, body = self.services, self.client_key, self.request.body
        whose = belonging(headers, client, app.key, services.settings, turn, is_side_call=is_side_call)

        def start() -> LiveAnswer:
            return LiveAnswer(turn, app, whose, services, self.timeline)

        identity = identify(headers, client.key, self.endpoint.name, app.model_id, turn, whose, body)
        return start() if identity is None else self.desk.listener(identity, stamp, start, self.timeline)

    async def _collect(self, answer: AnswerSource) -> list[AnswerEvent]:
        events: list[AnswerEvent] = []
        while batch := await answer.next_batch():
            self.timeline.received(batch, streamed=False)
            events += batch
        self._name_conversation(events)
        return events

    def _name_conversation(self, events: list[AnswerEvent]) -> None:
        """Tell in a header where the chat can go on, if Dify has told it by now."""
        named = events[0].conversation_id if events and isinstance(events[0], Started) else None
        if named and _fits_a_header(named):
            self.set_header(CONVERSATION_HEADER, named)

    def _pacer(self, turn: Turn, app: App, headers: Mapping[str, str]) -> Pacer | None:
        """What evens out this answer's bursts, if somebody reads along."""
        services = self.services
        wanted = smoothing(headers, self.client_key, app.key, services.settings)
        if not (turn.stream and is_paced(wanted, self.request.headers)):
            return None
        return Pacer(services.settings.smooth_max_delay, load=services.pacing)

    async def _stream(self, answer: AnswerSource, renderer: StreamRenderer, pacer: Pacer | None) -> None:
        settings = self.services.settings
        writer = EventStreamWriter(
            self,
            self.services.dify.lot,
            self.heartbeat,
            write_timeout=settings.client_write_timeout,
            silence=settings.keep_alive_seconds,
        )
        paced: PacedAnswer | None = None
        try:
            batch = await self._first_batches(answer, settings.commit_after)
            self._name_conversation(batch)
            if isinstance(answer, Listener):
                self.answer = answer = answer.committed()
            received = self.timeline.received
            if pacer is not None:
                paced = PacedAnswer(answer, pacer, self.services.clock, received)
                batch = paced.first(batch)
            await writer.start(renderer.begin() + renderer.render(coalesced(batch)), is_last=self._note_end(batch))
            if self.timeline.first_token_at is not None:
                self.timeline.first_write_at = self.services.clock()
            while batch := await (paced or answer).next_batch():
                if paced is None:
                    received(batch)
                if taken := writer.send(renderer.render(coalesced(batch)), is_last=self._note_end(batch)):
                    del batch  # a client that does not read costs one read, rendered, and not its events as well
                    await taken
            if paced is not None:
                self.timeline.paced_until = self.services.clock()
        except (ClientLeft, StreamClosedError):
            raise
        except Exception as fault:  # the gateway's own as well: a stream that just ends would pass for a whole answer
            if not writer.started:
                raise
            self.log_exception(type(fault), fault, fault.__traceback__)
            self.timeline.error = self._as_gateway_error(fault, 500)
            if taken := writer.send(renderer.render([Failed(self.timeline.error)]), is_last=True):
                await taken
        finally:
            writer.close()
            if paced is not None:
                paced.close()

    async def _first_batches(self, answer: AnswerSource, commit_after: float) -> list[AnswerEvent]:
        """Everything up to the first event that shows how the answer goes, so that an early failure is a true HTTP
        status; at most `commit_after` seconds."""
        events: list[AnswerEvent] = []
        try:
            with Patience(self.heartbeat, commit_after):
                while batch := await answer.next_batch():
                    self.timeline.received(batch)
                    events += batch
                    if any(isinstance(event, _COMMITS) for event in batch):
                        break
        except TimeoutError:
            return events
        if events and isinstance(events[-1], Failed) and not any(isinstance(event, TextDelta) for event in events):
            raise events[-1].error
        return events

    def _note_end(self, batch: list[AnswerEvent]) -> bool:
        """Whether nothing comes behind this; if it is a failure, the request's marks know it."""
        if not batch or type(end := batch[-1]) not in _ENDS:
            return False
        if type(end) is Failed:
            self.timeline.error = end.error
        return True

    def on_connection_close(self) -> None:
        """The client has closed its side: nobody reads the answer any more."""
        super().on_connection_close()  # ends the wait for a body that will not come
        self.timeline.client_left = True
        if self.answer is not None:
            self.answer.abandon()
