"""Shows the form that a run waits for: as a call of the client's tool for that, if it has one, else as a message."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

from gateway.errors import RunFailed
from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, TextDelta, ToolCallDelta
from gateway.exchange.forms.form import Form
from gateway.exchange.forms.form_reply import show_form
from gateway.exchange.turn import Turn

SUBMIT_FORM = "submit_form"  # the tool's name; its result is the answer: {"action": "…", "inputs": {…}}


class FormStage:
    """Behind what the app has said so far comes what it asks. `call_id` signs a form for its tool call."""

    def __init__(self, turn: Turn, call_id: Callable[[Form], str]) -> None:
        choice = turn.tool_choice
        names = {tool.name for tool in choice.tools} if choice and not choice.as_functions else set()
        self._has_tool = SUBMIT_FORM in names
        self._takes_text = turn.response_format is None and not (choice and choice.required)
        self._call_id = call_id
        self._said = False
        self._calls = 0

    def lets_pass(self, text: str) -> bool:
        self._said = True
        return True

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        for event in events:
            self._said = self._said or type(event) is TextDelta
            self._calls += type(event) is ToolCallDelta and event.id is not None
        end = events[-1] if events else None
        if not isinstance(end, Finished) or end.form is None:
            return events
        if self._has_tool and (call := self._call(end.form)):
            return [*events[:-1], call, replace(end, reason=FinishReason.TOOL_CALLS)]
        if not self._takes_text:
            message = f"The app asks a person, and this request takes neither text nor calls of {SUBMIT_FORM}."
            return [*events[:-1], Failed(RunFailed(message, code="human_input_required"))]
        shown = ("\n\n" if self._said else "") + show_form(end.form)
        if end.text is not None:
            end = replace(end, text=end.text + shown)
        return [*events[:-1], TextDelta(shown), end]

    def _call(self, form: Form) -> ToolCallDelta | None:
        try:
            call_id = self._call_id(form)
        except ValueError:  # ids of no Dify that is known
            return None
        asked = {
            "content": form.content,
            "fields": [asdict(field) for field in form.fields],
            "actions": [asdict(action) for action in form.actions],
        }
        return ToolCallDelta(self._calls, json.dumps(asked, ensure_ascii=False), call_id, SUBMIT_FORM)
