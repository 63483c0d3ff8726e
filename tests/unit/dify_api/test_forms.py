"""Dify's forms, from the event and from their own route."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.forms import read_form
from gateway.exchange.forms.form import Form, FormAction, FormField

ACTIONS = [{"id": "approve", "title": "Approve", "button_style": "primary"}, {"id": "reject"}]
FIELDS = [
    {"type": "paragraph", "output_variable_name": "note", "default": {"type": "constant", "value": "none"}},
    {
        "type": "select",
        "output_variable_name": "priority",
        "option_source": {"type": "constant", "selector": [], "value": ["low", "high", 3]},
    },
    {"type": "paragraph", "output_variable_name": "old", "default": {"type": "variable", "selector": ["a", "b"]}},
    {"type": "file", "output_variable_name": "paper", "allowed_file_types": ["document"]},
    {"type": "paragraph"},
]
EVENT = {"form_token": "tok", "form_content": "Send?", "inputs": FIELDS, "actions": ACTIONS}
EVENT |= {"resolved_default_values": {"old": "what was"}, "expiration_time": 1767312000}
FORM = Form(
    "tok",
    "run",
    "Send?",
    (
        FormField("note", "paragraph", "none"),
        FormField("priority", "select", None, ("low", "high")),
        FormField("old", "paragraph", "what was"),
        FormField("paper", "file"),
    ),
    (FormAction("approve", "Approve"), FormAction("reject", "reject")),
)


def test_what_the_event_asks() -> None:
    assert read_form(EVENT, "run") == FORM


def test_what_the_route_tells() -> None:
    told = {name: value for name, value in EVENT.items() if name not in ("form_token", "actions")}
    assert read_form({**told, "user_actions": ACTIONS}, "run", "tok") == FORM


@pytest.mark.parametrize(
    ("data", "run"),
    [
        ({**EVENT, "form_token": None}, "run"),  # by e-mail
        (EVENT, None),
        ({**EVENT, "actions": []}, "run"),
        ({}, "run"),
        (None, "run"),
    ],
)
def test_what_cannot_be_answered_is_no_form(data: Any, run: str | None) -> None:
    assert read_form(data, run) is None


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*EVENT, *FIELDS[0], *ACTIONS[0], "option_source", "value"]), inner)
    ),
    max_leaves=12,
)


@given(JUNK)
def test_no_garbage_breaks_it(data: Any) -> None:
    read_form(data, "run", "tok")
