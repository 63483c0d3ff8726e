"""What one turn asks of its app: in which conversation, with which files and inputs; and how it is put to Dify."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from gateway.conversations import recall_thread, settle
from gateway.dify_api import calls
from gateway.dify_api.app import App
from gateway.dify_api.calls import DifyCall
from gateway.dify_api.file_plan import NO_FILES, FilePlan, plan_files
from gateway.dify_api.inputs import fill_inputs
from gateway.dify_api.system_text import move_system_text
from gateway.dify_run import DifyRun
from gateway.errors import BodyTooLarge, ConversationNotFound, GatewayError, InvalidRequest
from gateway.exchange.answer import Rejected
from gateway.exchange.answer_form import instructed, with_words
from gateway.exchange.belonging import Belonging
from gateway.exchange.forms.form_token import FormSeal
from gateway.exchange.memory.thread import Outcome
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.turn import JSONValue, Prompt, Turn
from gateway.form_replies import reply_to_form
from gateway.observability.request_timeline import RequestTimeline
from gateway.services import Services


class Question:
    """One turn on its way to Dify. Raises InvalidRequest, when made or by `asking`, before anything is sent."""

    def __init__(
        self,
        turn: Turn,
        syntax: CallSyntax,
        app: App,
        belonging: Belonging,
        services: Services,
        timeline: RequestTimeline,
    ) -> None:
        self._messages = turn.messages  # as the client wrote them
        self._syntax = syntax
        self._turn, pinned = move_system_text(app, with_words(turn, syntax))
        self._app = app
        self._belonging = belonging
        self._services = services
        self._timeline = timeline
        self._files = NO_FILES  # what is at Dify
        self.thread = recall_thread(self._turn, app, belonging, pinned, services)
        self.user = self.thread.user
        self.forms = FormSeal(app.key.key, self.user)

    def asking(self, run: DifyRun) -> Coroutine[Any, Any, None]:
        """The work that starts `run`, or goes on with one that waits for the client's answer."""
        if asked := self.forms.find(self._messages):
            return reply_to_form(asked, run, self._app, self.user, self._services)
        return self._ask(run, *self._check())

    def again(self, rejected: Rejected, conversation_id: str | None) -> DifyCall:
        """The call for a second answer, in the same conversation if there is one. Raises InvalidRequest."""
        app, given = self._app, {**self._turn.inputs, **self._files.inputs()}
        files = self._files.message_files()
        if app.mode.has_conversations and conversation_id:
            prompt, files = Prompt(rejected.question, conversation_id), []
        else:
            prompt = Prompt(f"{self._prompt().query}\n\n{rejected.question}")
        return calls.ask(app, prompt, fill_inputs(app, given, prompt.query), self.user, files)

    def blame_files(self, error: GatewayError) -> None:
        """Say which file Dify refused; if it has lost one, the next attempt must not trip over it again."""
        if self._files.blame(error):
            self._services.uploads.forget(self._app, self.user, self._files)

    async def _ask(self, run: DifyRun, plan: FilePlan, inputs: dict[str, JSONValue]) -> None:
        recalled = self.thread
        try:
            self.thread = await settle(recalled, self._turn, self._app, self._services)
            await self._put(run, *((plan, inputs) if self.thread is recalled else self._check()))
        except ConversationNotFound:
            if self.thread.prompt.conversation_id is None:
                raise
            self.thread = self.thread.anew(Outcome.HEALED)
            await self._put(run, *self._check())
        finally:
            self._timeline.memory = str(self.thread.outcome)
        self._turn.let_files_go()

    def _check(self) -> tuple[FilePlan, dict[str, JSONValue]]:
        """What the app is to get besides the text. Raises InvalidRequest, BodyTooLarge."""
        prompt, given = self._prompt(), self._turn.inputs
        plan = plan_files(self._app, self._belonging.user, prompt, given)
        return plan, fill_inputs(self._app, {**given, **plan.inputs()}, prompt.query)

    def _prompt(self) -> Prompt:
        return instructed(self.thread.prompt, self._turn, self._syntax)

    async def _put(self, run: DifyRun, plan: FilePlan, inputs: dict[str, JSONValue]) -> None:
        """Bring the files to Dify, then ask."""
        app, user, uploads = self._app, self.user, self._services.uploads
        if plan.files:
            began = self._services.clock()
            plan = await uploads.bring(app, user, plan)
            self._timeline.upload_seconds = self._services.clock() - began
        self._files = plan
        call = calls.ask(app, self._prompt(), {**inputs, **plan.inputs()}, user, plan.message_files())
        try:
            await run.ask(call)
        except (InvalidRequest, BodyTooLarge) as error:
            self.blame_files(error)
            raise
