"""Models → the model list, and one model's document with what its Dify app asks for."""

from __future__ import annotations

from collections.abc import Iterable

from gateway import json_codec
from gateway.exchange.model import FileRules, InputField, Model


def model_list(models: Iterable[Model]) -> bytes:
    """GET /v1/models: plain entries, as pickers of front ends expect them."""
    return json_codec.dumps({"object": "list", "data": [_entry(model) for model in models]})


def model_document(model: Model) -> bytes:
    """GET /v1/models/{id}: the entry, and in `dify` the app's description, and the inputs and files that it takes."""
    app = {
        "name": model.name,
        "mode": model.mode,
        "description": model.description,
        "inputs": [_input_object(field) for field in model.inputs],
        "files": model.files and _rules_object(model.files),
    }
    return json_codec.dumps({**_entry(model), "dify": app})


def _entry(model: Model) -> dict[str, object]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": "dify"}


def _input_object(field: InputField) -> dict[str, object]:
    """In the words of Dify's /parameters, under which the client sends the value back."""
    return {
        "variable": field.variable,
        "type": field.kind,
        "label": field.label,
        "required": field.required,
        "max_length": field.max_length,
        "options": list(field.options),
        "default": field.default,
        **({"files": _rules_object(field.files)} if field.files else {}),
    }


def _rules_object(rules: FileRules) -> dict[str, object]:
    return {
        "allowed_file_types": list(rules.types),
        "allowed_file_extensions": list(rules.extensions),
        "allowed_file_upload_methods": list(rules.methods),
        "number_limits": rules.number,
    }
