"""What is remembered of one Dify run while its stream is read, and how its answer ends."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from gateway.dify_api.agent_steps import AgentSteps
from gateway.dify_api.app import AppMode
from gateway.dify_api.citations import together
from gateway.dify_api.failure import one_line
from gateway.dify_api.made_files import LINKED, MadeFiles
from gateway.dify_api.outputs import render_output, render_outputs, renders_as_dify
from gateway.dify_api.streamed_text import StreamedText, mend_surrogates
from gateway.dify_api.usage import UsageCount
from gateway.errors import GatewayError, RunFailed, UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, TextDelta
from gateway.exchange.citation import Citation
from gateway.exchange.forms.form import Form

_WORKFLOW, _STOP = AppMode.WORKFLOW, FinishReason.STOP  # by the enum's name each would cost a search

# Providers' words for a reached limit: OpenAI's, Anthropic's and Google's. Dify passes them on as they are.
_LIMIT_REACHED = frozenset({"length", "max_tokens"})


class Run:
    """The state of one stream; the rows of READERS call it, and their returns are the answer's events."""

    # What was not told is here, once for all runs.
    task_id: str | None = None
    conversation_id: str | None = None
    message_id: str | None = None
    workflow_run_id: str | None = None
    citations: tuple[Citation, ...] = ()  # message_end's
    node_citations: tuple[Citation, ...] = ()
    speaker: Any = None  # where the last text came from: [node id, variable]
    agent_spoke = False
    thinking_node: Any = None  # whose reasoning_chunk came last
    is_flow = False  # a workflow engine runs; moderation and annotations answer a chatflow without it
    retried = False  # what a failed attempt streamed is in the text
    iteration_spoke = False
    stopped = False
    text_lost = False  # the stream has a gap: what follows is not shown until the run tells its whole text
    form: Form | None = None  # what a person was asked, if it can be answered through the API
    complete = False
    _replacement: str | None = None  # the whole text, once Dify has taken back what it streamed
    _moderated = False
    _iteration_start: int | None = None  # the text's length when the open iteration began

    def __init__(
        self,
        mode: AppMode,
        output_variable: str | None,
        host: str = "",
        tells_progress: bool = False,
        cites: bool = True,
    ) -> None:
        self.mode = mode
        self.cites = cites
        self.tells_progress = tells_progress  # each node of a flow, as it begins
        self.output_variable = output_variable
        self.usage = UsageCount()
        self.text = StreamedText()
        self.files = MadeFiles(host)
        self.outputs: dict[str, Any] = {}
        self.asked: dict[str, Any] = {}  # what a person was asked, as Dify tells it
        self.terminals: set[str] = set()  # the events seen that can end the answer
        self._limits: dict[str, bool] = {}  # whether an LLM node reached its limit, in the order of their ends

    @cached_property
    def agent(self) -> AgentSteps:
        """What the app did for its answer."""
        return AgentSteps(thinks_apart=self.mode is AppMode.AGENT)

    def add_text(self, text: Any, selector: Any = None) -> list[AnswerEvent]:
        """Take more of the answer's text."""
        if not text or not isinstance(text, str):
            return []
        if selector:
            self.speaker = selector
        if self.text_lost:
            return []
        if LINKED in text:
            text = self.files.show(text)
        if self._replacement is not None:
            self._replacement += text
            return []
        text = self.text.add(text)
        return [TextDelta(text)] if text else []

    def add_agent_text(self, text: Any) -> list[AnswerEvent]:
        """Take more of an agent's text, parted from what it said before the tool that it ran."""
        events = self.add_text(text)
        if not events:
            return []
        self.agent_spoke = True
        gap = self.agent.say(text)
        return [TextDelta(gap), *events] if gap else events

    def add_file(self, file: Any) -> list[AnswerEvent]:
        """Show a file that the app has made as a link; Dify's own text does not speak of it."""
        link = self.files.note(file, shown=True)
        gap = "\n\n" if self.text.length else ""
        return [TextDelta(f"{gap}{link.markdown}\n\n")] if link else []

    def replace_text(self, text: Any, moderated: bool) -> list[AnswerEvent]:
        """Take a text that stands for all before it; 0.15 sends it on every turn of a moderated app, mostly equal."""
        if not isinstance(text, str) or self.output_variable is not None:
            return []
        text = self.files.show(text)
        unsaid = not self.text.length
        missing = self.text.missing_from(text) if self._replacement is None else None
        if text and (unsaid or missing is None):
            self._moderated = self._moderated or moderated
        if missing is None:
            self._replacement = text
            return []
        return self.add_text(missing)

    def note_finish_reason(self, node: Any, reason: Any) -> None:
        """Take how an LLM node ended. In a loop it ends several times: the last time counts, and comes last."""
        if isinstance(node, str) and isinstance(reason, str):
            self._limits.pop(node, None)
            self._limits[node] = reason.lower() in _LIMIT_REACHED

    def begin_iteration(self) -> None:
        """Text from now on is said inside of an iteration."""
        self._iteration_start = self.text.length

    def end_iteration(self) -> None:
        """Text from now on is not."""
        if self._iteration_start is not None and self.text.length > self._iteration_start:
            self.iteration_spoke = True
        self._iteration_start = None

    def end(self, terminal: str) -> list[AnswerEvent]:
        """An event that can end the answer has come: finish, or let the caller wait for its twin.

        A chatflow's run ends with two: <= 1.12 sends workflow_finished first, >= 1.13.1 message_end, and 1.13.0 never
        sends message_end.
        """
        self.terminals.add(terminal)
        twin_expected = self.is_flow and self.mode is not _WORKFLOW
        return [] if twin_expected and len(self.terminals) == 1 else self.finish()

    def finish(self) -> list[AnswerEvent]:
        """Give the answer its end."""
        said = self.text.length or self._replacement or self.files.links
        if self.stopped and not said:
            return self.fail(RunFailed("The run was stopped in Dify before it said anything.", code="run_stopped"))
        if "human_input_required" in self.terminals and self.form is None:
            return self.fail(_unanswerable(self.asked))
        try:
            settled, is_better = self._settled_text()
        except GatewayError as error:
            return self.fail(error)
        # Half a character before a gap is no broken one: the settled text has it whole.
        held = "" if self.text_lost else self.text.end()
        events: list[AnswerEvent] = [TextDelta(held)] if held else []
        text = None if self._replacement is None else mend_surrogates(self._replacement)
        missing = None if settled is None else self.text.missing_from(settled)
        if self.text_lost and missing is None:
            return self.fail(UpstreamTruncated("The connection to Dify broke, and what was said meanwhile is lost."))
        if text is None and settled is not None:
            if missing:
                events.append(TextDelta(missing))
            elif missing is None and is_better and not self.text.begins_with(mend_surrogates(settled.rstrip())):
                text = mend_surrogates(settled)
        if links := self._missing_links():
            events.append(TextDelta(links))
            text = None if text is None else text + links
        self.complete = True
        end = Finished(
            self._finish_reason(),
            self.usage.result(),
            text,
            files=self.files.links,
            citations=self._cited(),
            workflow_run_id=self.workflow_run_id,
            form=self.form,
        )
        return [*events, end]

    def _cited(self) -> tuple[Citation, ...]:
        """message_end's, which follow the app's switch for citations by themselves; those of a workflow do not."""
        if self.mode is _WORKFLOW:
            return together(self.node_citations) if self.cites else ()
        return self.citations

    def fail(self, error: GatewayError) -> list[AnswerEvent]:
        """Give the answer its end: it is none."""
        self.complete = True
        return [Failed(error)]

    def _missing_links(self) -> str:
        """A chatflow's text shows its files only where its author has put them; a workflow's outputs all do."""
        if self.mode is _WORKFLOW or self._moderated or not self.files.links:
            return ""
        if isinstance(answer := self.outputs.get("answer"), str):
            self.files.show(answer)
        links = "\n\n".join(link.markdown for link in self.files.not_shown)
        return f"\n\n{links}" if links and self.text.length else links

    def _settled_text(self) -> tuple[str | None, bool]:
        """The text that the run settled on, if it tells, and whether it is better than a stream that differs.

        Workflow: all outputs, joined as Dify >= 1.9 streams them. Where nothing or only the beginning of that was
        streamed (0.15 streams LLM nodes alone) the rest follows at the end. Where the stream differs, the outputs are
        better: a retry repeats text in the stream, parallel branches shuffle it, separated reasoning stays in it. But
        that is sure only if all of them are rendered as Dify does. Of a list or an object Dify streams another, equally
        good text, so then the stream stands.

        Chatflow: the stream. outputs.answer is no measure, as 1.12 leaves out what was said inside of an iteration and
        orders parallel branches in another way; it is better where a retry has repeated text and no iteration spoke,
        and where nothing was streamed or something was lost. (A settled text that the stream only goes beyond is never
        better: 0.15 forgets there what a node said before its retry.)
        """
        if self.stopped or self.form is not None:
            return None, False
        if self.mode is not _WORKFLOW:
            answer = self.outputs.get("answer")
            better = not self.text.length or self.text_lost or (self.retried and not self.iteration_spoke)
            told = isinstance(answer, str) and better
            return (self.files.show(str(answer)), True) if told else (None, False)
        if self.output_variable is not None:
            return self._configured_output(self.output_variable), True
        if not self.outputs:
            return None, False
        return self.files.show(render_outputs(self.outputs)), self.retried or all(
            map(renders_as_dify, self.outputs.values())
        )

    def _configured_output(self, variable: str) -> str:
        if variable in self.outputs:
            return self.files.show(render_output(self.outputs[variable]))
        names = ", ".join(map(repr, self.outputs)) or "none"
        raise RunFailed(one_line(f"The workflow has no output {variable!r}. Its outputs: {names}."))

    def _finish_reason(self) -> FinishReason:
        if self._moderated:
            return FinishReason.CONTENT_FILTER
        if self.stopped:
            return FinishReason.LENGTH
        if not self._limits:
            return _STOP
        # Of the node that spoke last if it is an LLM; else of the last LLM, whose text may be in what was said last.
        speaker = self.speaker[0] if isinstance(self.speaker, list) and self.speaker else None
        last = next(reversed(self._limits.values()), False)
        limit_reached = self._limits.get(speaker, last) if isinstance(speaker, str) else last
        return FinishReason.LENGTH if limit_reached else _STOP


def _unanswerable(asked: dict[str, Any]) -> RunFailed:
    """A person is asked elsewhere: by e-mail, or by a Dify (1.13) whose API has no way to answer."""
    node = next((title for name in ("node_title", "node_id") if isinstance(title := asked.get(name), str)), "")
    at_node = f" at its node {one_line(node, 100)!r}" if node else ""
    message = f"The app waits for a human's input{at_node}, which cannot be given through this API."
    return RunFailed(message, code="human_input_required")
