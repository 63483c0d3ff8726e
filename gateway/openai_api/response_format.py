"""`response_format` → what the answer's text has to be."""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.exchange.json_answers.json_schema import root_type, schema_problem
from gateway.exchange.turn import ResponseFormat
from gateway.openai_api.parameters import pick, read_inputs, read_object, require

_KINDS = {"text": "text", "json_object": "json_object", "json_schema": "json_schema"}


def read_response_format(value: object) -> ResponseFormat | None:
    """None: prose. Raises InvalidRequest with the parameter's path, also for a schema that is none."""
    if value is None:
        return None
    fields = read_object(value, "response_format")
    kind = pick(_KINDS, require(fields.get("type"), "response_format.type"), "response_format.type")
    if kind != "json_schema":
        return None if kind == "text" else ResponseFormat()
    path = "response_format.json_schema"
    described = read_object(require(fields.get("json_schema"), path), path)
    if described.get("schema") is None:
        return ResponseFormat()
    path = f"{path}.schema"
    schema = read_inputs(described["schema"], path)
    problem = schema_problem(schema)
    if not problem and root_type(schema) not in (None, "object", "array"):
        problem = "the answer is an object or an array, so the schema's type has to be one of them."
    if problem:
        raise InvalidRequest(f"Invalid schema for '{path}': {problem}", param=path, code="invalid_json_schema")
    return ResponseFormat(schema)
