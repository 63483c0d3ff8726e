"""What a model put in the wrong type comes out in the schema's, and nothing else changes."""

from __future__ import annotations

import pytest

from gateway.exchange.json_answers.retype import retype
from gateway.exchange.turn import JSONValue

SCHEMA: JSONValue = {
    "properties": {
        "n": {"type": "integer"},
        "s": {"type": "string"},
        "b": {"type": ["boolean", "null"]},
        "o": {"type": "object", "properties": {"n": {"type": "number"}}},
        "l": {"type": "array", "items": {"type": "integer"}},
        "must": {"type": "integer"},
        "any": {},
    },
    "required": ["must"],
}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"n": "3"}, {"n": 3}),
        ({"n": "three"}, {"n": "three"}),
        ({"s": "3", "any": "3", "else": "3"}, {"s": "3", "any": "3", "else": "3"}),
        ({"b": "true"}, {"b": True}),
        ({"b": " False "}, {"b": False}),
        ({"b": "None"}, {"b": None}),
        ({"o": '{"n": "1.5"}'}, {"o": {"n": 1.5}}),
        ({"l": '["1", 2]'}, {"l": [1, 2]}),
        ({"n": None, "s": None, "o": None}, {}),
        ({"b": None, "must": None, "any": None, "else": None}, {"b": None, "must": None, "any": None, "else": None}),
    ],
)
def test_the_schemas_types_are_what_is_meant(written: JSONValue, meant: JSONValue) -> None:
    assert retype(written, SCHEMA) == meant


@pytest.mark.parametrize("schema", [None, True, 5, {"type": 5}, {"properties": []}, {"properties": {"n": 3}}])
def test_a_schema_that_says_nothing_changes_nothing(schema: JSONValue) -> None:
    assert retype({"n": "3", "m": None}, schema) == {"n": "3", "m": None}
