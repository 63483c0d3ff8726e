"""Arguments that say the right thing in the wrong type: "3" for 3, JSON in a string, null for what may be left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from gateway.exchange.json_answers.json_text import read_strictly
from gateway.exchange.turn import JSONValue

_PYTHON = {"True": True, "False": False, "None": None}


def retype(value: JSONValue, schema: JSONValue | Mapping[str, JSONValue]) -> JSONValue:
    """The value in the types that the schema names; whether it fits then is the caller's question."""
    if not isinstance(schema, Mapping):
        return value
    types = _types(schema)
    if isinstance(value, str) and types and "string" not in types:
        value = _decode(value)
    if isinstance(value, list):
        return [retype(item, schema.get("items")) for item in value]
    properties = schema.get("properties")
    if not isinstance(value, dict) or not isinstance(properties, Mapping):
        return value
    required = schema.get("required")
    must = required if isinstance(required, list) else []
    return {
        name: retype(item, properties.get(name))
        for name, item in value.items()
        if item is not None or name in must or not _excludes_null(properties.get(name))
    }


def _types(schema: Mapping[str, JSONValue]) -> list[JSONValue]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind] if isinstance(kind, str) else []


def _excludes_null(schema: JSONValue) -> bool:
    types = _types(schema) if isinstance(schema, Mapping) else []
    return bool(types) and "null" not in types


def _decode(text: str) -> JSONValue:
    if text.strip() in _PYTHON:
        return _PYTHON[text.strip()]
    try:
        return read_strictly(text)
    except ValueError:
        return cast(JSONValue, text)
