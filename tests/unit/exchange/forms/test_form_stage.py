"""A form is shown behind what was said, or asked for by a call of the client's tool."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.exchange.answer import AnswerEvent, Failed, Finished, FinishReason, TextDelta, ToolCallDelta
from gateway.exchange.forms.form import Form, FormAction, FormField
from gateway.exchange.forms.form_stage import FormStage
from gateway.exchange.turn import Message, ResponseFormat, Role, ToolChoice, ToolSpec, Turn

FORM = Form("tok", "run", "Send it?", (FormField("note"),), (FormAction("yes", "Yes"),))
SHOWN = "Send it?\n\n- `note`: text\n\nAnswer with `Yes`. Put fields on lines of their own, like `note: …`."
TURN = Turn("writer", (Message(Role.USER, "Hello"),))
CLOCK, SUBMIT = ToolSpec("clock"), ToolSpec("submit_form")


def stage(turn: Turn = TURN) -> FormStage:
    return FormStage(turn, lambda form: f"call_form_{form.token}")


def with_tools(*tools: ToolSpec, required: bool = False, as_functions: bool = False) -> Turn:
    return replace(TURN, tool_choice=ToolChoice(tools, required=required, as_functions=as_functions))


def test_an_answer_without_a_form_is_as_it_is() -> None:
    events: list[AnswerEvent] = [TextDelta("Hi"), Finished()]
    assert stage().feed(events) is events
    assert stage().feed([]) == []


def test_a_form_comes_behind_the_text() -> None:
    one = stage()
    one.feed([TextDelta("Draft")])
    assert one.feed([Finished(form=FORM)]) == [TextDelta("\n\n" + SHOWN), Finished(form=FORM)]
    together: list[AnswerEvent] = [TextDelta("Draft"), Finished(form=FORM)]
    assert stage().feed(together) == [TextDelta("Draft"), TextDelta("\n\n" + SHOWN), Finished(form=FORM)]
    assert stage().feed([Finished(form=FORM)]) == [TextDelta(SHOWN), Finished(form=FORM)]


def test_the_settled_text_has_it_too() -> None:
    (_, end) = stage().feed([Finished(text="Draft", form=FORM)])
    assert end == Finished(text="Draft" + SHOWN, form=FORM)


def test_a_client_with_a_tool_for_it_gets_a_call() -> None:
    one = stage(with_tools(CLOCK, SUBMIT, required=True))
    one.feed([ToolCallDelta(0, "{}", "call_0", "clock"), ToolCallDelta(0, " ")])
    call, end = one.feed([Finished(form=FORM)])
    assert isinstance(call, ToolCallDelta)
    assert (call.index, call.id, call.name) == (1, "call_form_tok", "submit_form")
    assert json.loads(call.arguments) == {
        "content": "Send it?",
        "fields": [{"name": "note", "kind": "paragraph", "default": None, "options": []}],
        "actions": [{"id": "yes", "title": "Yes"}],
    }
    assert end == Finished(FinishReason.TOOL_CALLS, form=FORM)


@pytest.mark.parametrize("turn", [with_tools(CLOCK), with_tools(SUBMIT, as_functions=True)])
def test_a_client_without_one_gets_text(turn: Turn) -> None:
    assert stage(turn).feed([Finished(form=FORM)]) == [TextDelta(SHOWN), Finished(form=FORM)]


def test_ids_that_cannot_be_signed_are_shown_as_text() -> None:
    def refuse(form: Form) -> str:
        raise ValueError

    assert FormStage(with_tools(SUBMIT), refuse).feed([Finished(form=FORM)])[0] == TextDelta(SHOWN)


@pytest.mark.parametrize("turn", [with_tools(CLOCK, required=True), replace(TURN, response_format=ResponseFormat())])
def test_where_neither_fits_the_answer_fails(turn: Turn) -> None:
    (failed,) = stage(turn).feed([Finished(form=FORM)])
    assert isinstance(failed, Failed)
    assert failed.error.code == "human_input_required"
