"""What a client may demand of the answer's text."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.turn import ResponseFormat
from gateway.openai_api.response_format import read_response_format

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}


def schema_format(**described: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", **described}}


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, ResponseFormat()),
        (schema_format(schema=SCHEMA, strict=True), ResponseFormat(SCHEMA)),
        (schema_format(schema=SCHEMA, strict=None, description=None), ResponseFormat(SCHEMA)),
        (schema_format(), ResponseFormat()),
        (schema_format(schema={}), ResponseFormat({})),
        (schema_format(schema={"type": "array"}), ResponseFormat({"type": "array"})),
    ],
)
def test_the_format_is_what_the_request_says(value: object, wanted: ResponseFormat | None) -> None:
    assert read_response_format(value) == wanted


@pytest.mark.parametrize(
    ("value", "param", "code"),
    [
        ({}, "response_format.type", "missing_required_parameter"),
        ({"type": "yaml"}, "response_format.type", "invalid_value"),
        ({"type": "json_schema"}, "response_format.json_schema", "missing_required_parameter"),
        (schema_format(schema=[]), "response_format.json_schema.schema", "invalid_type"),
        (schema_format(schema={"type": "objct"}), "response_format.json_schema.schema", "invalid_json_schema"),
        (schema_format(schema={"type": "string"}), "response_format.json_schema.schema", "invalid_json_schema"),
        (schema_format(schema={"a": "\ud800"}), "response_format.json_schema.schema.a", "invalid_value"),
    ],
)
def test_what_cannot_be_names_its_place(value: object, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_response_format(value)
    assert (caught.value.param, caught.value.code) == (param, code)
