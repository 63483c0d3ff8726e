"""What each of Dify's events says, in the answer's words; of any app mode and of 0.15 to 1.16.

READERS has a row for every event that Dify's service API documents or sends.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gateway.dify_api import citations
from gateway.dify_api.errors import error_from_event
from gateway.dify_api.failure import one_line
from gateway.dify_api.forms import read_form
from gateway.dify_api.run import Run
from gateway.dify_api.streamed_text import mend_surrogates
from gateway.exchange.answer import AnswerEvent, ReasoningDelta

Event = dict[str, Any]

# A failure that is a stop. Since 1.9 two stop signals race; if the engine's wins, the run calls itself failed.
_STOP_REQUESTED = re.compile(r"\bAborted: User requested stop\b", re.IGNORECASE)


# --- text -------------------------------------------------------------------------------------------------------------


def _say_message(run: Run, text: Any, selector: Any) -> list[AnswerEvent]:
    if run.agent_spoke:  # the New Agent repeats its whole answer in one closing message
        return []
    return run.add_text(text, selector)


def _say_agent_message(run: Run, text: Any, selector: Any) -> list[AnswerEvent]:
    return run.add_agent_text(text)


def _say_chunk(run: Run, text: Any, selector: Any) -> list[AnswerEvent]:
    if run.output_variable is not None:  # chunks do not tell which output they belong to
        return []
    return run.add_text(text, selector)


def _read_message(run: Run, event: Event) -> list[AnswerEvent]:
    return _say_message(run, event.get("answer"), event.get("from_variable_selector"))


def _read_agent_message(run: Run, event: Event) -> list[AnswerEvent]:
    return _say_agent_message(run, event.get("answer"), None)


def _read_text_chunk(run: Run, event: Event) -> list[AnswerEvent]:
    data = _data(event)
    return _say_chunk(run, data.get("text"), data.get("from_variable_selector"))


def _read_message_file(run: Run, event: Event) -> list[AnswerEvent]:
    # 1.7.2 to 1.12 give this name to the text of a turn with a file; an event without `answer` is a generated file.
    if "answer" in event:
        return _read_message(run, event)
    return [] if event.get("belongs_to") == "user" else run.add_file(event)


def _read_message_replace(run: Run, event: Event) -> list[AnswerEvent]:
    return run.replace_text(event.get("answer"), moderated=True)


def _read_text_replace(run: Run, event: Event) -> list[AnswerEvent]:
    return run.replace_text(_data(event).get("text"), moderated=False)


def _read_reasoning_chunk(run: Run, event: Event) -> list[AnswerEvent]:
    data = _data(event)
    reasoning = text_or_none(data.get("reasoning"))
    if not reasoning:
        return []
    begins, run.thinking_node = run.thinking_node != data.get("node_id"), data.get("node_id")
    return [ReasoningDelta(reasoning, begins)]


def _read_agent_thought(run: Run, event: Event) -> list[AnswerEvent]:
    return [*run.agent.take_thought(event)]


def _read_agent_log(run: Run, event: Event) -> list[AnswerEvent]:
    return [*run.agent.take_log(_data(event))]


# --- flows ------------------------------------------------------------------------------------------------------------


def _read_workflow_started(run: Run, event: Event) -> list[AnswerEvent]:
    run.is_flow = True
    run.workflow_run_id = text_or_none(event.get("workflow_run_id")) or run.workflow_run_id
    return []


def _read_node_started(run: Run, event: Event) -> list[AnswerEvent]:
    title = text_or_none(_data(event).get("title")) if run.tells_progress else None
    return [ReasoningDelta(f"\n• {one_line(title, 100)}")] if title else []


def _read_node_finished(run: Run, event: Event) -> list[AnswerEvent]:
    data = _data(event)
    run.usage.add_node(data)
    run.node_citations += citations.read_node(data)
    outputs = data.get("outputs")
    if isinstance(outputs, dict):
        run.note_finish_reason(data.get("node_id"), outputs.get("finish_reason"))
    return []


def _read_node_retry(run: Run, event: Event) -> list[AnswerEvent]:
    run.retried = True
    return []


def _read_iteration_started(run: Run, event: Event) -> list[AnswerEvent]:
    run.begin_iteration()
    return _read_node_started(run, event)


def _read_iteration_completed(run: Run, event: Event) -> list[AnswerEvent]:
    run.end_iteration()
    return []


def _read_form(run: Run, event: Event) -> list[AnswerEvent]:
    """The run asks a person; workflow_paused follows and repeats it, and either may be empty or missing."""
    data = _data(event)
    run.asked = run.asked or data
    run.form = run.form or read_form(data, run.workflow_run_id or text_or_none(event.get("workflow_run_id")))
    run.terminals.add("human_input_required")
    return []


def _read_resumption(run: Run, event: Event) -> list[AnswerEvent]:
    """A run goes on, and its stream does not say again that it has started."""
    run.is_flow = True
    return []


def _read_pause(run: Run, event: Event) -> list[AnswerEvent]:
    """The run waits, and the stream ends here. Of several forms the first is shown; the next pause has the others."""
    data = _data(event)
    run.usage.add_run_total(data.get("total_tokens"))
    reasons = data.get("reasons")
    for reason in reasons if isinstance(reasons, list) else []:
        _read_form(run, {**event, "data": reason})
    run.asked = run.asked or data
    run.terminals.add("human_input_required")
    return run.finish()


# --- ends -------------------------------------------------------------------------------------------------------------


def _read_message_end(run: Run, event: Event) -> list[AnswerEvent]:
    metadata = event.get("metadata")
    if isinstance(metadata, dict):
        run.usage.add_answer(metadata.get("usage"))
        run.citations = citations.read_resources(metadata.get("retriever_resources"))
    run.files.note_all(event.get("files"))
    return run.end("message_end")


def _read_workflow_finished(run: Run, event: Event) -> list[AnswerEvent]:
    data = _data(event)
    status, outputs = data.get("status"), data.get("outputs")
    if status == "failed":  # not in every version followed by an `error`
        return _fail(run, "", None, data.get("error"))
    if status == "paused":
        return _read_pause(run, event)
    run.usage.add_run_total(data.get("total_tokens"))
    run.stopped = status == "stopped"
    run.outputs = outputs if isinstance(outputs, dict) else {}
    run.files.note_all(data.get("files"))
    return run.end("workflow_finished")


def _read_error(run: Run, event: Event) -> list[AnswerEvent]:
    status = event.get("status")
    return _fail(
        run, text_or_none(event.get("code")) or "", status if type(status) is int else None, event.get("message")
    )


def _fail(run: Run, code: str, status: int | None, message: Any) -> list[AnswerEvent]:
    message = message if isinstance(message, str) else ""
    if _STOP_REQUESTED.search(message):
        run.stopped = True
        return run.finish()
    return run.fail(error_from_event(code, status, message))


def _skip(run: Run, event: Event) -> list[AnswerEvent]:
    return []


def _data(event: Event) -> Event:
    data = event.get("data")
    return data if isinstance(data, dict) else {}


def text_or_none(value: Any) -> str | None:
    return mend_surrogates(value) if isinstance(value, str) and value else None


READERS: dict[str, Callable[[Run, Event], list[AnswerEvent]]] = {
    "message": _read_message,  # chat, chatflow, completion; agent: the closing repetition
    "agent_message": _read_agent_message,  # agent-chat, agent
    "agent_thought": _read_agent_thought,  # a state, not a delta
    "message_file": _read_message_file,
    "message_replace": _read_message_replace,
    "message_end": _read_message_end,
    "text_chunk": _read_text_chunk,  # workflow
    "text_replace": _read_text_replace,
    "reasoning_chunk": _read_reasoning_chunk,  # >= 1.15
    "workflow_started": _read_workflow_started,
    "workflow_finished": _read_workflow_finished,
    "workflow_paused": _read_pause,  # >= 1.13
    "human_input_required": _read_form,  # >= 1.14
    "human_input_form_filled": _read_resumption,
    "human_input_form_timeout": _read_resumption,
    "node_started": _read_node_started,
    "node_finished": _read_node_finished,
    "node_retry": _read_node_retry,
    "iteration_started": _read_iteration_started,
    "iteration_next": _skip,
    "iteration_completed": _read_iteration_completed,
    "loop_started": _read_node_started,  # unlike an iteration's, a loop's text is in outputs.answer
    "loop_next": _skip,
    "loop_completed": _skip,
    "parallel_branch_started": _skip,  # 0.8 to 1.8
    "parallel_branch_finished": _skip,
    "agent_log": _read_agent_log,
    "tts_message": _skip,
    "tts_message_end": _skip,
    "error": _read_error,
}

# The rows of text_template.TEXT_EVENTS, for a text that was found there.
SAYERS: dict[str, Callable[[Run, Any, Any], list[AnswerEvent]]] = {
    "message": _say_message,
    "agent_message": _say_agent_message,
    "text_chunk": _say_chunk,
}
