"""A form in a chat: how it is shown, and what a person's answer says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from gateway.exchange.forms.form import Form, FormAction, FormField
from gateway.exchange.turn import JSONValue
from gateway.frozen import frozen

_PLACE = re.compile(r"\{\{#\$output\.(\w+)#\}\}")  # where Dify's own page shows a field
_FILES = ("file", "file-list")


@frozen
class FormReply:
    """A person's answer."""

    action: str  # an id
    inputs: Mapping[str, JSONValue]


class UnclearReply(ValueError):
    """The answer does not say what to do; its words tell the person what is missing."""


def show_form(form: Form) -> str:
    """The form as a message: its content, its fields, and how to answer."""
    titles = [f"`{action.title}`" for action in form.actions]
    choice = f"Answer with {' or '.join(titles)}."
    lines = [_show_field(field) for field in form.fields]
    if lines:
        choice += f" Put fields on lines of their own, like `{form.fields[0].name}: …`."
    return "\n\n".join(part for part in (_PLACE.sub(r"[\1]", form.content).strip(), "\n".join(lines), choice) if part)


def read_reply(form: Form, text: str) -> FormReply:
    """Read what a person wrote, or a program as JSON: `{"action": "…", "inputs": {…}}`. Raises UnclearReply.

    The action has to be named, by its id or its title, even where there is only one: `no` must not approve.
    """
    if (told := _read_json(text)) is not None:
        action, given = told.get("action"), told.get("inputs")
        inputs: dict[str, JSONValue] = dict(given) if isinstance(given, dict) else {}
        rest = action if isinstance(action, str) else ""
    else:
        inputs, rest = _read_lines(form, text)
    chosen, comment = _read_action(form, rest)
    free = [field for field in form.fields if field.kind == "paragraph" and field.name not in inputs]
    if comment and free:
        inputs[free[0].name] = comment
    return FormReply(chosen.id, _checked(form, inputs))


def _show_field(field: FormField) -> str:
    if field.kind in _FILES:
        return f"- `{field.name}`: a file, which cannot be sent from here"
    hint = " or ".join(f"`{option}`" for option in field.options) if field.options else "text"
    return f"- `{field.name}`: {hint}" + (f" (default: {field.default})" if field.default else "")


def _read_json(text: str) -> dict[str, JSONValue] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_lines(form: Form, text: str) -> tuple[dict[str, JSONValue], str]:
    """Fields from lines like `name: value`; and the other lines."""
    names = {field.name.casefold(): field.name for field in form.fields}
    inputs: dict[str, JSONValue] = {}
    rest = []
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon and (known := names.get(name.strip(" \t`*-").casefold())):
            inputs[known] = value.strip()
        else:
            rest.append(line)
    return inputs, "\n".join(rest).strip()


def _read_action(form: Form, text: str) -> tuple[FormAction, str]:
    """The action that a text begins with, longest title first, and what follows it."""
    written = text.strip(" \t\n`*\"'")
    words = {word: action for action in form.actions for word in (action.id, action.title) if word}
    for word in sorted(words, key=len, reverse=True):
        begins, after = written[: len(word)], written[len(word) :]
        if begins.casefold() == word.casefold() and not after[:1].isalnum():
            return words[word], after.strip(" \t\n`*\"'.,:;!–-")
    raise UnclearReply(f"Please answer with {' or '.join(f'`{action.title}`' for action in form.actions)}.")


def _checked(form: Form, inputs: Mapping[str, JSONValue]) -> dict[str, JSONValue]:
    checked: dict[str, JSONValue] = {}
    for field in form.fields:
        value = inputs.get(field.name)
        if value is None and field.kind not in _FILES:
            value = field.default if field.default is not None else "" if field.kind == "paragraph" else None
        if field.options and value is not None and value not in field.options:
            raise UnclearReply(f"`{field.name}` is one of {', '.join(f'`{option}`' for option in field.options)}.")
        if value is not None:
            checked[field.name] = value
    return checked
