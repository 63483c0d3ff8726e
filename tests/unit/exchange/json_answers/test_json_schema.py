"""Values against clients' schemas: what is found, and what a hostile schema cannot do."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exchange.json_answers.json_schema import root_type, schema_problem, value_problem

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^[A-Z]"},
        "days": {"type": "array", "items": {"$ref": "#/$defs/day"}},
    },
    "patternProperties": {"^x-": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"day": {"enum": [1, 2]}},
}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"city": "Oslo", "days": [1, 2], "x-a": "b"}, ""),
        ({}, "'city' is a required property"),
        ({"city": "oslo"}, "city: 'oslo' does not match '^[A-Z]'"),
        ({"city": "Oslo", "days": [1, 3]}, "days[1]: 3 is not one of [1, 2]"),
        ({"city": "Oslo", "zip": 5}, "'zip' is not one of the properties"),
        ({"city": "Oslo", "x-a": 5}, "x-a: 5 is not of type 'string'"),
        ([], "[] is not of type 'object'"),
    ],
)
def test_a_problem_names_its_place(value: Any, problem: str) -> None:
    assert value_problem(value, SCHEMA) == problem


def test_other_names_can_have_a_schema_of_their_own() -> None:
    schema: dict[str, Any] = {"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}
    assert value_problem({"a": "x", "b": 1}, schema) == ""
    assert value_problem({"b": "x"}, schema) == "b: 'x' is not of type 'integer'"


def test_older_drafts_are_read_as_such() -> None:
    old: dict[str, Any] = {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 5, "exclusiveMinimum": True}
    assert "5" in value_problem(5, old)
    assert value_problem(6, old) == ""


def test_a_problem_is_short() -> None:
    assert len(value_problem({"city": "x" * 10_000}, SCHEMA)) == 300


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        (SCHEMA, ""),
        ({}, ""),
        ({"type": "objct"}, "type: 'objct' is not valid"),
        ({"properties": []}, "properties: [] is not of type 'object'"),
        ({"$schema": 5}, "cannot be read"),
    ],
)
def test_a_schema_that_is_none_is_told(schema: dict[str, Any], says: str) -> None:
    assert schema_problem(schema).startswith(says) if says != "cannot be read" else says in schema_problem(schema)
    assert bool(schema_problem(schema)) == bool(says)


@pytest.mark.parametrize(
    ("schema", "type_"),
    [
        ({"type": "array"}, "array"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, "object"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b~1c"}, "b/c": {"type": "array"}}}, "array"),
        ({}, None),
        ({"type": ["object", "null"]}, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": []}}}, None),
        ({"$ref": "#/$defs/a"}, None),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}, None),
        ({"$ref": "https://example.com/a"}, None),
        ({"$ref": "#"}, None),
    ],
)
def test_the_type_of_the_whole_is_found_behind_references(schema: dict[str, Any], type_: str | None) -> None:
    assert root_type(schema) == type_


def _branching() -> dict[str, Any]:
    """A tree of 2 to the power of 40 checks in a few lines."""
    steps: dict[str, Any] = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    return {"$ref": "#/$defs/d0", "$defs": steps | {"d40": {"type": "string"}}}


HOSTILE: dict[str, dict[str, Any]] = {
    "circle": {"$ref": "#"},
    "branches": _branching(),
    "network": {"$ref": "http://127.0.0.1:9/schema"},
    "file": {"$ref": "file:///etc/passwd"},
    "dangling": {"$ref": "#/$defs/none"},
    "slow pattern": {"propertyNames": {"pattern": "^(a+)+$"}},
    "slow pattern of names": {"patternProperties": {"^(a|aa)+$": False}, "additionalProperties": False},
    "no pattern": {"patternProperties": {"(": False}},
    "wrong types": {"type": 5, "properties": [], "required": True},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_schema_costs_little_and_raises_nothing(schema: dict[str, Any]) -> None:
    value_problem({"a" * 60 + "!": 1}, schema)


def test_a_circle_ends_wherever_pythons_stack_does() -> None:
    """The library's part in Rust panics there, which is no Exception."""

    def called_deeply(frames: int) -> str:
        return called_deeply(frames - 1) if frames else value_problem({"a": 1}, {"$ref": "#"})

    for frames in range(0, 850, 7):
        assert called_deeply(frames) == ""


def test_a_deep_schema_is_none_that_can_be_read() -> None:
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"not": schema}
    assert schema_problem(schema).startswith("it ")
    assert value_problem({"a": 1}, schema) == ""


def test_a_gateway_that_meets_no_schema_loads_no_library() -> None:
    program = "import sys, gateway.app; print([name for name in ('jsonschema', 'json_repair') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"[]\n"


def test_no_schema_reaches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *arguments, **options: asked.append(arguments))
    assert value_problem({}, HOSTILE["network"]) == ""
    assert asked == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner)))
@settings(max_examples=50, deadline=None)
def test_any_keyword_may_hold_anything(junk: Any) -> None:
    keywords = ("type", "properties", "required", "items", "enum", "anyOf", "$ref", "pattern", "$schema", "minimum")
    schema = dict.fromkeys(keywords, junk)
    value_problem({"a": ["b"]}, schema)
    schema_problem(schema)
