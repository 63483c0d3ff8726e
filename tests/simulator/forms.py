"""user_input_form: how an app describes its inputs, and how it refuses wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tests.simulator.apps import FLOW_MODES, App, FormField

_FILE_KINDS = ("file", "file-list")


class InvalidInput(ValueError):
    """Its text is the API's."""


def describe_form(app: App) -> list[dict[str, Any]]:
    """The form as /parameters shows it: flows repeat their variables, basic apps have defaults."""
    describe = _describe_flow_field if app.mode in FLOW_MODES else _describe_basic_field
    return [{field.kind: describe(field)} for field in app.form]


def read_inputs(app: App, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The declared inputs, converted; keys the form does not know are dropped."""
    return dict(_read_fields(app.form, inputs))


def _read_fields(form: Iterable[FormField], inputs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for field in form:
        value = inputs.get(field.variable)
        if value is None:
            if field.required:
                raise InvalidInput(f"{field.variable} is required in input form")
            continue
        yield field.variable, _READERS[field.kind](field, value)


def _read_text(field: FormField, value: Any) -> Any:
    if not isinstance(value, str):
        raise InvalidInput(f"(type '{field.kind}') {field.variable} in input form must be a string")
    if field.max_length and len(value) > field.max_length:
        raise InvalidInput(f"{field.variable} in input form must be less than {field.max_length} characters")
    return value


def _read_select(field: FormField, value: Any) -> Any:
    if value not in field.options:
        raise InvalidInput(f"{field.variable} in input form must be one of the following: {list(field.options)}")
    return value


def _read_number(field: FormField, value: Any) -> Any:
    if value == "":
        return None
    if isinstance(value, int | float):
        return value
    try:
        return float(value) if "." in value else int(value)
    except (TypeError, ValueError):
        raise InvalidInput(f"{field.variable} in input form must be a valid number") from None


def _read_file(field: FormField, value: Any) -> Any:
    """The shape alone: which file it is, the workspace knows."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{field.variable} in input form must be a file")
    return value


def _read_files(field: FormField, value: Any) -> Any:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidInput(f"{field.variable} in input form must be a list of files")
    if field.max_length and len(value) > field.max_length:
        raise InvalidInput(f"{field.variable} in input form must be less than {field.max_length} files")
    return value


def _read_object(field: FormField, value: Any) -> Any:
    if not isinstance(value, dict):
        raise InvalidInput(f"{field.variable} in input form must be a dict")
    return value


_READERS: dict[str, Callable[[FormField, Any], Any]] = {
    "text-input": _read_text,
    "paragraph": _read_text,
    "select": _read_select,
    "number": _read_number,
    "checkbox": lambda field, value: value,
    "file": _read_file,
    "file-list": _read_files,
    "json_object": _read_object,
}


def _describe_basic_field(field: FormField) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "label": field.variable.capitalize(),
        "variable": field.variable,
        "required": field.required,
    }
    if field.max_length:
        shown["max_length"] = field.max_length
    if field.options:
        shown["options"] = list(field.options)
    return shown | {"default": field.default}


def _describe_flow_field(field: FormField) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "variable": field.variable,
        "label": field.variable,
        "type": field.kind,
        "required": field.required,
        "max_length": field.max_length or 100_000,
        "options": list(field.options),
    }
    if field.kind in _FILE_KINDS:
        shown |= {
            "allowed_file_types": list(field.file_types),
            "allowed_file_upload_methods": ["local_file", "remote_url"],
            "allowed_file_extensions": list(field.file_extensions),
        }
    return shown
