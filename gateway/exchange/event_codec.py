"""Answer events ↔ JSON: how an answer travels from the gateway that reads it to the others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, get_args

from gateway import errors
from gateway.errors import GatewayError
from gateway.exchange.answer import AnswerEvent, FinishReason, Usage
from gateway.exchange.citation import Citation
from gateway.exchange.file_link import FileLink
from gateway.exchange.forms.form import Form, FormAction, FormField

_KINDS = {kind.__name__: kind for kind in get_args(AnswerEvent)}
_ERRORS = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, GatewayError)
}


def encode_events(events: Sequence[AnswerEvent]) -> str:
    """The events as one line of ASCII."""
    named = [
        [type(event).__name__, {field.name: getattr(event, field.name) for field in fields(event)}] for event in events
    ]
    return json.dumps(named, default=_plain, separators=(",", ":"))


def decode_events(text: str) -> list[AnswerEvent]:
    """What `encode_events` wrote. Raises ValueError for anything else, a newer version's events among it."""
    try:
        return [
            _KINDS[kind](**{name: _value(name, value) for name, value in of.items()}) for kind, of in json.loads(text)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not answer events: {error!r}") from error


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, GatewayError):
        return {"kind": type(value).__name__, **vars(value)}
    if isinstance(value, Usage | Citation | FileLink | Form):
        return asdict(value)
    raise TypeError(f"no JSON for {type(value)}")


def _value(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name == "error":
        return _ERRORS[value.pop("kind")](value.pop("message"), **value)
    if name == "usage":
        return Usage(**value)
    if name == "files":
        return tuple(FileLink(**one) for one in value)
    if name == "citations":
        return tuple(Citation(**one) for one in value)
    if name == "form":
        fields = tuple(FormField(**{**one, "options": tuple(one["options"])}) for one in value.pop("fields"))
        return Form(**value | {"fields": fields, "actions": tuple(FormAction(**one) for one in value["actions"])})
    if name == "questions":
        return tuple(value)
    return FinishReason(value) if name == "reason" else value
