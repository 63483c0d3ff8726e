"""A form finds its way through a client's history, and nobody else's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.forms.form import Form
from gateway.exchange.forms.form_token import FormReference, FormSeal
from gateway.exchange.memory import zero_width
from gateway.exchange.turn import Message, Role, ToolCall

RUN = "fb000000-1111-2222-3333-444444444444"
FORM = Form("tok_1", RUN, "Send it?")
SEAL = FormSeal("app-key", "ann")
ASKED = Message(Role.ASSISTANT, "Send it?" + SEAL.hidden(FORM))
SAID = Message(Role.USER, "Approve")


def test_a_form_is_found_behind_the_text_that_shows_it() -> None:
    assert zero_width.strip(SEAL.hidden(FORM)) == " "
    system = Message(Role.SYSTEM, "Be brief.")
    found = SEAL.find((system, Message(Role.USER, "Draft it."), ASKED, SAID, system, Message(Role.USER, "note: fine")))
    assert found == FormReference("tok_1", RUN, "Approve\nnote: fine")


def test_a_form_is_found_in_a_tool_call() -> None:
    call = Message(
        Role.ASSISTANT, "", tool_calls=tuple(ToolCall("x", "{}", one) for one in ("call_1", SEAL.call_id(FORM)))
    )
    assert SEAL.call_id(FORM).replace("_", "").replace("-", "").isalnum()
    result = Message(Role.TOOL, '{"action": "approve"}', tool_call_id=SEAL.call_id(FORM))
    found = FormReference("tok_1", RUN, '{"action": "approve"}')
    assert SEAL.find((call, result)) == found
    assert SEAL.find((call, Message(Role.TOOL, "noon", tool_call_id="call_1"), result)) == found
    assert SEAL.find((call, Message(Role.USER, "Approve"))) == FormReference("tok_1", RUN, "Approve")


@pytest.mark.parametrize("seal", [FormSeal("app-other", "ann"), FormSeal("app-key", "eve")])
def test_no_other_app_and_no_other_user_finds_it(seal: FormSeal) -> None:
    assert seal.find((ASKED, SAID)) is None
    call = ToolCall("submit_form", "{}", SEAL.call_id(FORM))
    assert seal.find((Message(Role.ASSISTANT, "", tool_calls=(call,)), SAID)) is None


def test_only_the_last_answer_counts() -> None:
    assert SEAL.find(()) is None
    assert SEAL.find((SAID,)) is None
    assert SEAL.find((ASKED, SAID, Message(Role.ASSISTANT, "Done."), SAID)) is None


@pytest.mark.parametrize("form", [Form("tok", "r-1", ""), Form("tök", RUN, ""), Form("t" * 200, RUN, "")])
def test_ids_of_another_form_are_not_hidden(form: Form) -> None:
    assert SEAL.hidden(form) == ""
    with pytest.raises(ValueError):  # noqa: PT011 - the caller takes any
        SEAL.call_id(form)


@given(st.text(st.characters(max_codepoint=127), min_size=1, max_size=100), st.uuids().map(str))
def test_any_ids_come_back(token: str, run: str) -> None:
    asked = Message(Role.ASSISTANT, SEAL.hidden(Form(token, run, "")))
    assert SEAL.find((asked,)) == FormReference(token, run, "")


@given(st.binary(min_size=1, max_size=150))
def test_nothing_else_opens(data: bytes) -> None:
    assert SEAL.find((Message(Role.ASSISTANT, zero_width.hide(data)), SAID)) is None
