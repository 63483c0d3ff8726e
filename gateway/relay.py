"""One turn in flight: from the Turn to the last answer event, and nothing left running behind it."""

from __future__ import annotations

import secrets
from dataclasses import replace
from types import TracebackType

from gateway.conversations import recall_thread, settle
from gateway.dify_api import calls
from gateway.dify_api.app import App
from gateway.dify_api.file_plan import FilePlan, plan_files
from gateway.dify_api.forms import read_form
from gateway.dify_api.inputs import fill_inputs
from gateway.dify_api.messages import read_suggestions
from gateway.dify_api.system_text import move_system_text
from gateway.dify_run import FORM_CLOSED, ClientLeft, DifyRun, FormClosed
from gateway.errors import BodyTooLarge, ConversationNotFound, GatewayError, InvalidRequest, UnusableAnswer
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, Rejected, Started, TextDelta
from gateway.exchange.answer_form import instructed, with_words
from gateway.exchange.belonging import Belonging
from gateway.exchange.details import Details
from gateway.exchange.form import Form
from gateway.exchange.form_reply import UnclearReply, read_reply
from gateway.exchange.form_token import FormReference, FormSeal
from gateway.exchange.memory.thread import Outcome, Thread
from gateway.exchange.stages import answer_stages
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import JSONValue, Prompt, Turn
from gateway.observability.request_timeline import RequestTimeline
from gateway.services import Services


class LiveAnswer:
    """Asks Dify when entered, hands out the answer in batches, stops the run when left early.

    A batch is everything that one read of the socket brought; the empty batch means that the answer is over.
    """

    def __init__(
        self, turn: Turn, app: App, belonging: Belonging, services: Services, timeline: RequestTimeline
    ) -> None:
        self._syntax = CallSyntax(secrets.token_hex(4))
        self._messages = turn.messages  # as the client wrote them
        self._turn = with_words(turn, self._syntax)
        self._app = app
        self._belonging = belonging
        self._services = services
        self._timeline = timeline
        self._stages = answer_stages(turn, self._syntax, self._new_call_id, self._form_call_id)
        self._thread: Thread  # from __aenter__ on
        self._forms: FormSeal
        self._run: DifyRun
        self._files: FilePlan  # once they are at Dify
        self._rejected: Rejected | None = None  # the first answer, once a second one is asked for
        self._complete = False  # Finished or Failed was handed out
        self._left = False

    async def __aenter__(self) -> LiveAnswer:
        self._turn, pinned = move_system_text(self._app, self._turn)
        self._thread = recall_thread(self._turn, self._app, self._belonging, pinned, self._services)
        self._user = self._thread.user
        self._forms = FormSeal(self._app.key.key, self._user)
        form = self._forms.find(self._messages)
        asking = self._reply(form) if form else self._ask(*self._check())  # checked before anything is sent
        self._run = DifyRun(self._app, self._user, self._services, self._timeline)
        self._run.begin(asking)
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
                return await self._suggest(events) if type(events[-1]) is Finished else events
        return []

    def abandon(self) -> None:
        """The client has left: whoever waits in `next_batch` gets ClientLeft as soon as the run can be stopped."""
        self._left = True
        self._run.abandon()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._services.answers_in_flight -= 1
        self._run.end()
        self._stages = ()  # one of them refers back here, and the garbage collector comes rarely

    # --- the question -------------------------------------------------------------------------------------------------

    async def _ask(self, plan: FilePlan, inputs: dict[str, JSONValue]) -> None:
        recalled = self._thread
        try:
            self._thread = await settle(recalled, self._turn, self._app, self._services)
            await self._put(*((plan, inputs) if self._thread is recalled else self._check()))
        except ConversationNotFound:
            if self._thread.prompt.conversation_id is None:
                raise
            self._thread = self._thread.anew(Outcome.HEALED)
            await self._put(*self._check())
        finally:
            self._timeline.memory = self._thread.outcome
        self._turn.let_files_go()

    async def _reply(self, asked: FormReference) -> None:
        """Hand the client's words to the run that waits for them; ask again where they do not say what to do."""
        form = await self._open_form(asked)
        try:
            if form is None:
                raise FormClosed
            reply = read_reply(form, asked.reply)
            call = calls.submit_form(form.token, reply.action, reply.inputs, self._user)
            await self._run.resume(call, form.run_id)
        except UnclearReply as unclear:
            self._run.tell([TextDelta(str(unclear)), Finished(form=form)])
        except FormClosed:  # told in the chat, so that the chat can go on: the next turn finds no form
            self._run.tell([TextDelta("This form was answered before, or its time is over."), Finished()])

    async def _open_form(self, asked: FormReference) -> Form | None:
        answer = await self._services.dify.fetch(self._app.key, calls.form(asked.token))
        if answer.head.status >= 400 and answer.head.status not in FORM_CLOSED:
            raise answer.error()
        return read_form(answer.json(), asked.run_id, asked.token)

    def _check(self) -> tuple[FilePlan, dict[str, JSONValue]]:
        """What the app is to get besides the text. Raises InvalidRequest, BodyTooLarge."""
        prompt, given = self._prompt(), self._turn.inputs
        plan = plan_files(self._app, self._belonging.user, prompt, given)
        return plan, fill_inputs(self._app, {**given, **plan.inputs()}, prompt.query)

    def _prompt(self) -> Prompt:
        return instructed(self._thread.prompt, self._turn, self._syntax)

    async def _put(self, plan: FilePlan, inputs: dict[str, JSONValue]) -> None:
        """Bring the files to Dify, then ask."""
        app, user, uploads = self._app, self._user, self._services.uploads
        if plan.files:
            began = self._services.clock()
            plan = await uploads.bring(app, user, plan)
            self._timeline.upload_seconds = self._services.clock() - began
        self._files = plan
        call = calls.ask(app, self._prompt(), {**inputs, **plan.inputs()}, user, plan.message_files())
        try:
            await self._run.ask(call)
        except (InvalidRequest, BodyTooLarge) as error:
            self._blame_files(error)
            raise

    def _blame_files(self, error: GatewayError) -> None:
        """Say which file Dify refused; if it has lost one, the next attempt must not trip over it again."""
        if self._files.blame(error):
            self._services.uploads.forget(self._app, self._user, self._files)

    def _ask_again(self, rejected: Rejected) -> list[AnswerEvent]:
        """Ask the app once more, in the same conversation if it has one; not a second time."""
        if self._rejected is not None:
            return [Failed(rejected.error)]
        if self._left:
            raise ClientLeft
        self._rejected = rejected
        app, given = self._app, {**self._turn.inputs, **self._files.inputs()}
        files = self._files.message_files()
        if app.mode.has_conversations and self._ids()[0]:
            prompt, files = Prompt(rejected.question, self._ids()[0]), []
        else:
            prompt = Prompt(f"{self._prompt().query}\n\n{rejected.question}")
        try:
            call = calls.ask(app, prompt, fill_inputs(app, given, prompt.query), self._user, files)
        except InvalidRequest:  # too long for the app now, which is no fault of the client
            return [Failed(rejected.error)]
        self._run.end()
        # The times of a request are those of its first answer.
        timeline = RequestTimeline(self._services.clock, self._timeline.endpoint, self._timeline.arrived_at)
        self._run = DifyRun(app, self._user, self._services, timeline)
        self._run.begin(self._run.ask(call))
        return []

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _pass_stages(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        if self._rejected is not None:  # the client has been told of a beginning
            events = [event for event in events if not isinstance(event, Started)]
        for stage in self._stages:
            events = stage.feed(events)
        if not events:
            return events
        end = events[-1]
        if type(end) is Rejected:
            return events[:-1] + self._ask_again(end)
        if type(end) is Finished and self._rejected is not None:
            # Where it is unknown what one of them took, it is unknown what both took.
            first = self._rejected.usage
            return [*events[:-1], replace(end, usage=first.plus(end.usage) if first and end.usage else None)]
        return events

    def _form_call_id(self, form: Form) -> str:
        return self._forms.call_id(form)

    def _new_call_id(self, number: int) -> str:
        return self._thread.call_id(*self._ids(), number) or f"call_{secrets.token_hex(12)}"

    def _ids(self) -> tuple[str | None, str | None]:
        """The conversation's and the message's, as far as Dify has told them."""
        started = self._run.started
        return (started.conversation_id, started.message_id) if started else (None, None)

    async def _suggest(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        """Ask, where the client wants it, what could be asked next."""
        end, started = events[-1], self._run.started
        if self._turn.details is not Details.SUGGESTIONS or not isinstance(end, Finished):
            return events
        if started is None or started.message_id is None or not self._app.mode.has_conversations:
            return events
        try:
            call = calls.suggestions(started.message_id, self._user)
            answer = await self._services.dify.fetch(self._app.key, call)
        except GatewayError:
            return events  # the answer itself is whole
        questions = read_suggestions(answer.json()) if answer.head.status == 200 else ()
        return [*events[:-1], replace(end, questions=questions)]

    def _remember(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        """Let memory read what is shown, and write behind its end."""
        for event in events:
            if type(event) is TextDelta:
                self._thread.feed(event.text)
        end = events[-1]
        if type(end) is TextDelta:
            return events
        self._complete = isinstance(end, Finished | Failed)
        if self._complete:
            self._count(end)
        if isinstance(end, Failed):
            self._blame_files(end.error)  # since 1.13 a flow's files are looked at in its stream
        if not isinstance(end, Finished):
            return events
        whole = None if self._turn.stream else end.text
        if end.reason is FinishReason.TOOL_CALLS or self._turn.response_format:
            return events  # the ids of calls carry what the next turn needs; JSON is for a parser
        tail = self._forms.hidden(end.form) if end.form else ""
        tail += self._thread.tail(*self._ids(), whole)
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
