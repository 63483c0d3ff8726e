"""Chatflows and workflows: start, LLM, answer or end, with a run around them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from tests.simulator.failures import provider_error
from tests.simulator.node_values import answer_of, form_filled, made_file, pause_events, process_data
from tests.simulator.nodes import Nodes
from tests.simulator.producer import BlockingReply, Producer, new_id
from tests.simulator.speech import THOUGHTS, Failure, Token, answer_tokens, shows_reasoning_events, speak
from tests.simulator.steps import AwaitForm, Event, Send, SendPing, Silence, Step, Turn, Wait
from tests.simulator.usage import ZERO, usage_of

_STOPPED = "Stopped by user."
_ABORTED = "Aborted: User requested stop"
_DEFAULT_TEXT = "DEFAULT TEXT"
_QUEUE_SECONDS = 0.2  # until a worker takes a resumed run up


class FlowApp(Producer):
    """`advanced-chat` and `workflow`."""

    def __init__(self, turn: Turn, **options: Any) -> None:
        super().__init__(turn, **options)
        self.nodes = Nodes(turn, {"id": turn.end_user_id, "user": turn.user})
        self.outputs: Any = None
        self.form_reply: dict[str, Any] | None = None
        self.aborted = turn.script.stoprace  # somebody else's stop: the text goes on, the run fails
        self._is_chatflow = turn.app.mode == "advanced-chat"
        self._files: list[dict[str, Any]] = []

    def steps(self) -> Iterator[Step]:
        script = self.turn.script
        if script.hang:
            yield Silence(pings=False)
        if self.turn.profile.ping_first:
            yield SendPing()
        yield Send(self.nodes.workflow_started())
        yield from self._start_node()
        if self.turn.app.has_llm:
            yield Send(self.nodes.node_started("llm", "llm", new_id()))
            done = yield from (self._retried_text() if script.retry and self._is_chatflow else self._text())
            if not done:
                return
        if script.paused and self.turn.profile.reasoning_chunks:
            for event in pause_events(self.nodes, self.seconds, self._total_tokens()):
                yield Send(event)
            yield AwaitForm()
            yield Wait(_QUEUE_SECONDS)
            yield Send(form_filled(self.nodes, self.form_reply or {}))
            for text in ("\n", *answer_of(self.form_reply or {})):
                self.answer += text
                yield Send(self._chunk(text), tokens=1)
        yield from self._last_node()
        yield from self._finish()

    def stopped(self) -> Iterator[Step]:
        if self.aborted:
            yield from self._aborted_end()
            return
        self.status, self.error = "stopped", _STOPPED
        usage = usage_of(self.turn, ZERO, self.seconds, counted=False)
        yield from self._endings(self._finished(0), self.message_end(usage, files=[]))

    def blocking_reply(self) -> BlockingReply:
        if self._is_chatflow:
            return self.message_reply()
        turn, data = self.turn, self._finished(self._total_tokens())["data"]
        wanted = ("id", "workflow_id", "status", "outputs", "error", "elapsed_time", "total_tokens", "total_steps")
        document = {name: data[name] for name in (*wanted, "created_at", "finished_at")}
        ids = {"task_id": turn.task_id, "workflow_run_id": turn.workflow_run_id}
        return BlockingReply(200, {**ids, "data": document})

    def event(self, name: str, **fields: Any) -> Event:
        if self._is_chatflow:
            return super().event(name, **fields)
        return self.nodes.event(name, **fields)

    def interludes(self, count: int) -> Iterator[Step]:
        for step in super().interludes(count):
            if isinstance(step, Send) and not self._is_chatflow:
                step.event.pop("answer", None)
            yield step

    def _start_node(self) -> Iterator[Step]:
        yield Send(self.nodes.node_started("start", "start", new_id()))
        if not self.turn.app.has_llm and self.turn.profile.streams_every_output:
            yield from self._other_outputs(first=True)
        values = self.nodes.run_inputs(complete=True)
        yield Send(self.nodes.node_finished("start", "start", inputs=values, outputs=values, files=self.nodes.files()))

    def _text(self) -> Generator[Step, None, bool]:
        """The LLM's text; the generator's value says whether the run goes on."""
        yield from self._reasoning()
        for item in speak(self.turn):
            if isinstance(item, Failure):
                yield from self._failed(provider_error(self.turn).message)
                return False
            if isinstance(item, Token):
                yield from self.interludes(self.tokens)
                self.answer += item.text
                self.tokens += 1
                yield Send(self._chunk(item.text), tokens=1)
            else:
                yield item
        for _ in range(self.turn.profile.llm_empty_chunks):
            yield Send(self._chunk(""))
        if self.aborted and not self.turn.script.stoprace:
            yield from self._aborted_end()
            return False
        if self.turn.script.stopped:
            yield from self.stopped()
            return False
        if self.turn.profile.streams_every_output and not self._is_chatflow:
            yield from self._other_outputs(first=False)
        yield Send(self._llm_finished())
        return True

    def _other_outputs(self, first: bool) -> Iterator[Step]:
        """Outputs that are not the LLM's stream too, in order, with a newline between."""
        for _ in [name for name in self.turn.app.outputs if not self._is_llm_output(name)]:
            if not first:
                yield Send(self._chunk("\n", ["end", "answer"]))
            first = False
            source = self.turn.app.form[0].variable if self.turn.app.form else "sys.query"
            yield Send(self._chunk(str(self._plain_output()), ["start", source]))

    def _retried_text(self) -> Generator[Step, None, bool]:
        """Each attempt's text stays in the stream; only the run's outputs are right."""
        tokens = answer_tokens(self.turn)[:3]
        attempts = 1 if self.turn.profile.sequence_numbers else 3
        message = provider_error(self.turn).message
        for attempt in range(1, attempts + 1):
            for text in tokens:
                self.answer += text
                yield Send(self._chunk(text), tokens=1)
            if attempt < 3:
                retry = self.nodes.node_finished("llm", "llm", status="retry", error=message, retry_index=attempt)
                yield Send(retry)
        if self.turn.profile.sequence_numbers:
            self.stored_answer = ""
            yield Send(self._llm_finished(text="", error=message))
            return True
        self.stored_answer = _DEFAULT_TEXT
        self.status = "partial-succeeded"
        outputs = {"text": _DEFAULT_TEXT, "error_message": message, "error_type": "ValueError"}
        metadata = {"error_strategy": "default-value"}
        yield Send(
            self.nodes.node_finished(
                *("llm", "llm"), outputs=outputs, status="exception", error="Unknown error", execution_metadata=metadata
            )
        )
        return True

    def _last_node(self) -> Iterator[Step]:
        script = self.turn.script
        text = self.answer if self.stored_answer is None else self.stored_answer
        node = ("answer", "answer") if self._is_chatflow else ("end", "end")
        yield Send(self.nodes.node_started(*node, new_id()))
        if self.stored_answer == _DEFAULT_TEXT:
            self.answer += _DEFAULT_TEXT
            yield Send(self._chunk(_DEFAULT_TEXT))
        if script.replace is not None:
            text = script.replace
            yield Send(self._replacement(text))
        if script.file:
            self._files = [made_file(self.turn)]
        inputs: Any = None
        if self._is_chatflow:
            outputs: dict[str, Any] = {"answer": text, "files": self._files}
            self.outputs = {"answer": text.rstrip()} if self.turn.profile.sequence_numbers else outputs
        else:
            outputs = {name: text if self._is_llm_output(name) else self._plain_output() for name in self._output_names}
            self.outputs = inputs = outputs
        yield Send(self.nodes.node_finished(*node, inputs=inputs, outputs=outputs))

    def _finish(self) -> Iterator[Step]:
        if self.turn.script.partial:
            self.status = "partial-succeeded"
        finished = self._finished(self._total_tokens())
        finished["data"]["files"] = self._files
        yield from self._endings(finished, self.message_end(self.usage(), files=self._files))

    def _failed(self, message: str) -> Iterator[Step]:
        self.status, self.error, self.stored_answer = "failed", message, ""
        process = process_data(self.turn) if self.turn.profile.sequence_numbers else None
        yield Send(self.nodes.node_finished("llm", "llm", process_data=process, status="failed", error=message))
        yield from self._failed_run(message)

    def _aborted_end(self) -> Iterator[Step]:
        """A stop the engine takes for an abort. No node has failed, so none is counted."""
        self.status, self.error, self.stored_answer = "failed", _ABORTED, ""
        yield from self._failed_run(_ABORTED)

    def _failed_run(self, message: str) -> Iterator[Step]:
        yield Send(self._finished(0))
        if self._is_chatflow:
            yield Send(self.event("error", code="invalid_param", status=400, message=f"Run failed: {message}"))
        yield from self.tail()

    def _endings(self, finished: Event, message_end: Event) -> Iterator[Step]:
        """The terminal event or, in a chatflow, the two in the order of the release."""
        if not self._is_chatflow:
            yield Send(finished)
        elif self.turn.profile.flow_end_first:
            yield Send(finished)
            yield Send(message_end)
        else:
            yield Send(message_end)
            yield Send(finished)
        yield from self.tail()

    def _finished(self, tokens: int) -> Event:
        nothing: Any = None if self.turn.profile.null_outputs else {}
        outputs = nothing if self.outputs is None else self.outputs
        exceptions = 0
        if self.turn.profile.counts_exceptions:
            exceptions = 0 if self.error == _ABORTED else {"failed": 1, "partial-succeeded": 3}.get(self.status, 0)
        return self.nodes.workflow_finished(self.status, outputs, self.error, tokens, exceptions, self.seconds)

    def _llm_finished(self, text: str | None = None, error: str | None = None) -> Event:
        legacy = self.turn.profile.sequence_numbers
        usage = self.usage(timed=bool(self.tokens)) or usage_of(self.turn, ZERO, 0.0)
        if error is not None:
            usage = usage_of(self.turn, ZERO, 0.0, counted=False)
        outputs: dict[str, Any] = {"text": self.answer if text is None else text}
        if not legacy:
            outputs["reasoning_content"] = "".join(THOUGHTS) if self._reasons else ""
        outputs |= {"usage": usage, "finish_reason": "stop" if error is None else None}
        totals = {name: usage[name] for name in ("total_tokens", "total_price", "currency")}
        return self.nodes.node_finished(
            *("llm", "llm"),
            inputs={"#files#": self.nodes.files()} if self.turn.files else None,
            process_data=process_data(self.turn) if legacy else process_data(self.turn, usage),
            outputs=outputs,
            error=error,
            execution_metadata=totals,
            seconds=self.seconds,
        )

    @property
    def _reasons(self) -> bool:
        return self.turn.script.reasoning and shows_reasoning_events(self.turn)

    def _reasoning(self) -> Iterator[Step]:
        if not self._reasons:
            return
        message_id = self.turn.message_id if self._is_chatflow else None
        for text in (*THOUGHTS, ""):
            data = {"message_id": message_id, "reasoning": text, "node_id": "llm", "is_final": not text}
            yield Send(self.event("reasoning_chunk", data=data))

    def _chunk(self, text: str, selector: list[str] | None = None) -> Event:
        selector = selector or ["llm", "text"]
        if self._is_chatflow:
            return self.event("message", id=self.turn.message_id, answer=text, from_variable_selector=selector)
        return self.event("text_chunk", data={"text": text, "from_variable_selector": selector})

    def _replacement(self, text: str) -> Event:
        if self._is_chatflow:
            return self.message_replace(text, reason="output_moderation")
        return self.event("text_replace", data={"text": text})

    @property
    def _output_names(self) -> tuple[str, ...]:
        return self.turn.app.outputs

    def _is_llm_output(self, name: str) -> bool:
        return self.turn.app.has_llm and name == self.turn.app.outputs[0]

    def _plain_output(self) -> Any:
        return next(iter(self.turn.inputs.values()), self.turn.query)

    def _total_tokens(self) -> int:
        if not self.turn.app.has_llm or self.status == "failed":
            return 0
        usage = self.usage()
        return usage["total_tokens"] if usage else 0
