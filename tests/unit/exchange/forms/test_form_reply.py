"""How a form looks in a chat, and what answers to it say."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.forms.form import Form, FormAction, FormField
from gateway.exchange.forms.form_reply import FormReply, UnclearReply, read_reply, show_form
from gateway.exchange.turn import JSONValue

NOTE, PRIORITY = FormField("note"), FormField("priority", "select", "low", ("low", "high"))
YES, NO, LATER = (
    FormAction("approve", "Approve"),
    FormAction("reject", "Request changes"),
    FormAction("x", "Approve later"),
)


def form(*fields: FormField, actions: tuple[FormAction, ...] = (YES, NO, LATER), content: str = "Send it?") -> Form:
    return Form("tok", "run", content, fields, actions)


def test_a_form_without_fields() -> None:
    assert show_form(form()) == "Send it?\n\nAnswer with `Approve` or `Request changes` or `Approve later`."


def test_a_form_with_fields() -> None:
    shown = show_form(
        form(NOTE, PRIORITY, FormField("paper", "file"), actions=(YES,), content="Why? {{#$output.note#}}")
    )
    assert shown == (
        "Why? [note]\n\n"
        "- `note`: text\n"
        "- `priority`: `low` or `high` (default: low)\n"
        "- `paper`: a file, which cannot be sent from here\n\n"
        "Answer with `Approve`. Put fields on lines of their own, like `note: …`."
    )


@pytest.mark.parametrize(
    ("text", "action", "inputs"),
    [
        ("Approve", "approve", {"note": ""}),
        ("approve!", "approve", {"note": ""}),
        ("`Approve`", "approve", {"note": ""}),
        ("REJECT", "reject", {"note": ""}),
        ("Request changes: shorter, please", "reject", {"note": "shorter, please"}),
        ("Approve later", "x", {"note": ""}),
        ("approve, but later", "approve", {"note": "but later"}),
        ("Approve\nnote: fine: really", "approve", {"note": "fine: really"}),
        ("- `Note`: fine\n\nApprove", "approve", {"note": "fine"}),
        ("note: fine\nApprove\nand more", "approve", {"note": "fine"}),
        ('{"action": "approve", "inputs": {"note": "fine", "other": 1}}', "approve", {"note": "fine"}),
        ('{"action": "Request changes"}', "reject", {"note": ""}),
    ],
)
def test_what_an_answer_says(text: str, action: str, inputs: dict[str, JSONValue]) -> None:
    assert read_reply(form(NOTE), text) == FormReply(action, inputs)


@pytest.mark.parametrize("text", ["", "no", "I approve", "approved", "{}", '{"action": 3}', '{"action": "?"}', "[1]"])
def test_an_action_has_to_be_named(text: str) -> None:
    for asked in (form(), form(NOTE), form(actions=(YES,))):
        with pytest.raises(UnclearReply, match="Please answer with `Approve`"):
            read_reply(asked, text)


def test_a_choice_is_one_of_its_options() -> None:
    asked = form(PRIORITY)
    assert read_reply(asked, "Approve").inputs == {"priority": "low"}
    assert read_reply(asked, "priority: high\nApprove").inputs == {"priority": "high"}
    with pytest.raises(UnclearReply, match="`priority` is one of `low`, `high`"):
        read_reply(asked, "priority: urgent\nApprove")


def test_files_are_passed_on_and_never_made_up() -> None:
    asked = form(FormField("paper", "file"))
    assert read_reply(asked, "Approve").inputs == {}
    paper: JSONValue = {"transfer_method": "remote_url", "url": "https://a.org/p.pdf"}
    text = '{"action": "approve", "inputs": {"paper": {"transfer_method": "remote_url", "url": "https://a.org/p.pdf"}}}'
    assert read_reply(asked, text).inputs == {"paper": paper}


@given(st.text())
def test_any_answer_is_read_or_unclear(text: str) -> None:
    with suppress(UnclearReply):
        assert read_reply(form(NOTE, PRIORITY), text).action in ("approve", "reject", "x")
