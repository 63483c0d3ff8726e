"""One turn in flight: from the Turn to the last answer event, and nothing left running behind it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from types import TracebackType

from gateway.dify_api import calls
from gateway.dify_api.app import App
from gateway.dify_api.messages import read_suggestions
from gateway.dify_run import ClientLeft, DifyRun
from gateway.errors import GatewayError, InvalidRequest, UnusableAnswer
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, Rejected, Started, TextDelta
from gateway.exchange.belonging import Belonging
from gateway.exchange.details import Details
from gateway.exchange.forms.form import Form
from gateway.exchange.stages import answer_stages, pass_stages
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import Turn
from gateway.observability.request_timeline import RequestTimeline
from gateway.question import Question
from gateway.services import Services


class LiveAnswer:
    """Asks Dify when entered, hands out the answer in batches, stops the run when left early.

    A batch is everything that one read of the socket brought; the empty batch means that the answer is over.
    """

    def __init__(
        self, turn: Turn, app: App, belonging: Belonging, services: Services, timeline: RequestTimeline
    ) -> None:
        self._syntax = CallSyntax(secrets.token_hex(4) if turn.tool_choice else "")
        self._turn = turn
        self._app = app
        self._belonging = belonging
        self._services = services
        self._timeline = timeline
        self._stages = answer_stages(turn, self._syntax, self._new_call_id, self._form_call_id)
        self._question: Question  # from __aenter__ on
        self._run: DifyRun
        self._rejected: Rejected | None = None  # the first answer, once a second one is asked for
        self._complete = False  # Finished or Failed was handed out, or is in `_held`
        self._held: list[AnswerEvent] = []  # the last batch, until suggestions are there
        self._left = False

    async def __aenter__(self) -> LiveAnswer:
        question = Question(self._turn, self._syntax, self._app, self._belonging, self._services, self._timeline)
        run = self._new_run(question.user, self._timeline)
        run.begin(question.asking(run))
        self._question, self._run = question, run
        self._services.answers_in_flight += 1
        return self

    async def next_batch(self) -> list[AnswerEvent]:
        """Wait for more of the answer. Raises the GatewayError that ends it without an event, or ClientLeft."""
        while not self._complete and (events := await self._run.next_batch()):
            events = self._pass_stages(events)
            if self._belonging.is_side_call:
                events = _unnamed(events)
            if events:
                events = self._remember(events)
                if not self._complete:
                    return events
                self._held = events
        return await self._let_go()

    def abandon(self) -> None:
        """The client has left: whoever waits in `next_batch` gets ClientLeft as soon as the run can be stopped."""
        self._left = True
        self._run.abandon()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._services.answers_in_flight -= 1
        self._run.end(is_answered=self._complete and self._app.mode.has_conversations)
        self._stages = ()  # one of them refers back here, and the garbage collector comes rarely

    def _new_run(self, user: str, timeline: RequestTimeline) -> DifyRun:
        return DifyRun(self._app, user, self._services, timeline, collected=not self._turn.stream)

    def _ask_again(self, rejected: Rejected) -> list[AnswerEvent]:
        """Ask the app once more; not a second time."""
        if self._rejected is not None:
            return [Failed(rejected.error)]
        if self._left:
            raise ClientLeft
        self._rejected = rejected
        try:
            call = self._question.again(rejected, self._ids()[0])
        except InvalidRequest:  # too long for the app now, which is no fault of the client
            return [Failed(rejected.error)]
        self._run.end()
        # The times of a request are those of its first answer.
        timeline = RequestTimeline(self._services.clock, self._timeline.endpoint, self._timeline.arrived_at)
        self._run = self._new_run(self._question.user, timeline)
        self._run.begin(self._run.ask(call))
        return []

    def _pass_stages(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        if self._rejected is not None:  # the client has been told of a beginning
            events = [event for event in events if not isinstance(event, Started)]
        events = pass_stages(self._stages, events)
        if not events or type(end := events[-1]) is TextDelta:
            return events
        if type(end) is Rejected:
            return events[:-1] + self._ask_again(end)
        if type(end) is Finished and self._rejected is not None:
            # Where it is unknown what one of them took, it is unknown what both took.
            first = self._rejected.usage
            return [*events[:-1], replace(end, usage=first.plus(end.usage) if first and end.usage else None)]
        return events

    def _form_call_id(self, form: Form) -> str:
        return self._question.forms.call_id(form)

    def _new_call_id(self, number: int) -> str:
        return self._question.thread.call_id(*self._ids(), number) or f"call_{secrets.token_hex(12)}"

    def _ids(self) -> tuple[str | None, str | None]:
        """The conversation's and the message's, as far as Dify has told them."""
        started = self._run.started
        return (started.conversation_id, started.message_id) if started else (None, None)

    async def _let_go(self) -> list[AnswerEvent]:
        """What is held, with suggestions behind the end; a caller whose patience ends meanwhile can ask again."""
        if self._held and type(end := self._held[-1]) is Finished and (questions := await self._suggestions()):
            self._held[-1] = replace(end, questions=questions)
        events, self._held = self._held, []
        return events

    async def _suggestions(self) -> tuple[str, ...]:
        """What could be asked next, where the client wants to know it and Dify tells."""
        if self._turn.details is not Details.SUGGESTIONS or not self._app.mode.has_conversations:
            return ()
        if (message_id := self._ids()[1]) is None:
            return ()
        try:
            call = calls.suggestions(message_id, self._question.user)
            answer = await self._services.dify.fetch(self._app.key, call)
        except GatewayError:
            return ()  # the answer itself is whole
        return read_suggestions(answer.json()) if answer.head.status == 200 else ()

    def _remember(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        """Let memory read what is shown, and write behind its end."""
        for event in events:
            if type(event) is TextDelta:
                self._question.thread.feed(event.text)
        end = events[-1]
        if type(end) is TextDelta:
            return events
        self._complete = type(end) in (Finished, Failed)
        if self._complete:
            self._count(end)
        if isinstance(end, Failed):
            self._question.blame_files(end.error)  # since 1.13 a flow's files are looked at in its stream
        if not isinstance(end, Finished):
            return events
        whole = None if self._turn.stream else end.text
        if end.reason is FinishReason.TOOL_CALLS or self._turn.response_format:
            return events  # the ids of calls carry what the next turn needs; JSON is for a parser
        tail = self._question.forms.hidden(end.form) if end.form else ""
        tail += self._question.thread.tail(*self._ids(), whole)
        if not tail:
            return events
        if end.text is not None:
            end = replace(end, text=end.text + tail)
        return [*events[:-1], TextDelta(tail), end]

    def _count(self, end: AnswerEvent) -> None:
        """What the model made of tools and formats, once the answer is over."""
        metrics, model = self._services.metrics, self._app.model_id
        unusable = isinstance(end, Failed) and isinstance(end.error, UnusableAnswer)
        if self._turn.tool_choice and (unusable or isinstance(end, Finished)):
            called = isinstance(end, Finished) and end.reason is FinishReason.TOOL_CALLS
            metrics.tool_calls.labels(model, "malformed" if unusable else "called" if called else "text").inc()
        if self._rejected is not None:
            outcome = "ok" if isinstance(end, Finished) else "failed"
            metrics.second_answers.labels(model, self._rejected.error.code, outcome).inc()


def _unnamed(events: list[AnswerEvent]) -> list[AnswerEvent]:
    """No client is to go on in the conversation of a side call."""
    return [replace(event, conversation_id=None) if isinstance(event, Started) else event for event in events]
