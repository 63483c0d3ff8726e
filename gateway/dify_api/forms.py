"""Dify's human-input forms (1.14 and newer) → Form: from the event that asks, or from GET /form/human_input/{token}."""

from __future__ import annotations

from typing import Any

from gateway.dify_api.streamed_text import mend_surrogates
from gateway.exchange.forms.form import Form, FormAction, FormField


def read_form(data: Any, run_id: str | None, token: str | None = None) -> Form | None:
    """The form; None where nobody can answer it through the API: Dify gives no token then (delivery by e-mail)."""
    if not isinstance(data, dict):
        return None
    token = token or _text(data.get("form_token"))
    actions = tuple(_read_actions(data.get("actions") or data.get("user_actions")))
    if not token or not run_id or not actions:
        return None
    defaults = data.get("resolved_default_values")
    fields = _read_fields(data.get("inputs"), defaults if isinstance(defaults, dict) else {})
    return Form(token, run_id, _text(data.get("form_content")), tuple(fields), actions)


def _read_actions(value: Any) -> list[FormAction]:
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict) and (action_id := _text(item.get("id"))):
            found.append(FormAction(action_id, _text(item.get("title")) or action_id))
    return found


def _read_fields(value: Any, defaults: dict[str, Any]) -> list[FormField]:
    found = []
    for item in value if isinstance(value, list) else []:
        if isinstance(item, dict) and (name := _text(item.get("output_variable_name"))):
            options = _constant(item.get("option_source"))
            default = defaults.get(name, _constant(item.get("default")))
            found.append(
                FormField(
                    name,
                    _text(item.get("type")) or "paragraph",
                    _text(default) or None,
                    tuple(filter(None, map(_text, options))) if isinstance(options, list) else (),
                )
            )
    return found


def _constant(source: Any) -> Any:
    """The value in {"type": "constant", "selector": [], "value": …}; what a variable holds, the app alone knows."""
    return source.get("value") if isinstance(source, dict) and source.get("type") == "constant" else None


def _text(value: Any) -> str:
    return mend_surrogates(value) if isinstance(value, str) else ""
