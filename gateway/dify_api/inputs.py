"""A client's `inputs` and its text → the inputs of a Dify app.

Everything that Dify refuses is refused here first, with the variable's name as OpenAI clients expect it, and two
things are repaired that Dify lets through (measured on 0.15.3 and 1.12.1): unknown variables vanish without a word, and
an optional text that is missing becomes the word "None" in a basic app's prompt, whatever default /parameters shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from gateway.dify_api.app import App
from gateway.errors import AppUnavailable, InvalidRequest
from gateway.exchange.model import InputField
from gateway.exchange.turn import JSONValue

_TEXT_KINDS = frozenset({"text-input", "paragraph"})
_TEXT_NAMES = ("query", "text", "input", "question")  # what authors call the input for the user's text, likeliest first
_SHOWN = 100  # characters of a client's own words in an error


def fill_inputs(app: App, given: Mapping[str, JSONValue], text: str) -> dict[str, JSONValue]:
    """The complete inputs for one run: what the client gave, the text where it belongs, defaults for the rest.

    Raises InvalidRequest, whose `param` names the variable.
    """
    if not app.inputs and not given:
        return {}
    fields = {field.variable: field for field in app.inputs}
    for variable in given:
        if variable not in fields:
            raise InvalidRequest(
                f"The app has no input {variable[:_SHOWN]!r}; {list_of_inputs(app)}.",
                param=f"inputs.{variable[:_SHOWN]}",
            )
    text_goes_to = text_variable(app, given)
    filled: dict[str, JSONValue] = {}
    for variable, field in fields.items():
        value = text if variable == text_goes_to else given.get(variable)
        if value is None:
            value = _value_when_missing(field)
        elif problem := _problem(field, value):
            whose = ", which takes the message's text," if variable == text_goes_to else ""
            raise InvalidRequest(f"The app's input {variable!r}{whose} {problem}.", param=f"inputs.{variable}")
        if value is not None:  # a missing select is fine, an empty one is refused
            filled[variable] = value
    return filled


def text_variable(app: App, given: Mapping[str, JSONValue]) -> str | None:
    """The input that takes the user's text in completion and workflow apps; None: none needs it.

    What the client gave itself is never overwritten. Raises InvalidRequest when the text has no clear place.
    """
    if app.mode.takes_query or not app.inputs:
        return None
    configured = app.key.query_variable
    if configured:
        if configured not in {field.variable for field in app.inputs}:
            raise AppUnavailable(
                f"DIFY_API_KEYS names query={configured} for this app, which is not one of its inputs; "
                f"{list_of_inputs(app)}."
            )
        return configured if given.get(configured) is None else None
    texts = [field for field in app.inputs if field.kind in _TEXT_KINDS]
    free = {field.variable: field for field in texts if given.get(field.variable) is None}
    named = [name for name in _TEXT_NAMES if name in free]
    if named:
        return named[0]
    required = [field.variable for field in free.values() if field.required]
    if len(required) == 1:
        return required[0]
    if not required and len(texts) == 1 and free:
        return texts[0].variable  # optional, but the only place for text that the app has
    if not required and any(value is not None for value in given.values()):
        return None  # the client said itself what the app is to work on
    raise InvalidRequest(
        f"It is not clear which input of this app takes the message's text; send 'inputs' with your request: "
        f"{list_of_inputs(app)}.",
        param="inputs",
    )


def _value_when_missing(field: InputField) -> JSONValue:
    """None: send nothing."""
    default = field.default
    if default not in (None, "", [], {}) and not _problem(field, default):
        return default
    if field.kind == "external_data_tool":
        return None  # filled by Dify from an API, required or not
    if field.required:
        raise InvalidRequest(
            f"The app needs its input {field.variable!r} ({_wanted(field)}); send it in 'inputs'.",
            param=f"inputs.{field.variable}",
            code="missing_required_parameter",
        )
    return "" if field.kind in _TEXT_KINDS else None


# --- one check per kind of input: what is wrong with a value, or "" -------------------------------------------------


def _check_text(field: InputField, value: JSONValue) -> str:
    if not isinstance(value, str):
        return f"must be a string, not {_json_type(value)}"  # Dify does not turn numbers into text
    if field.max_length and len(value) > field.max_length:
        return f"must have at most {field.max_length} characters, not {len(value)}"
    return ""


def _check_select(field: InputField, value: JSONValue) -> str:
    if not field.options or (isinstance(value, str) and value in field.options):
        return ""  # without readable options the judgement is Dify's
    return f"must be one of {', '.join(map(repr, field.options))}"


def _check_number(field: InputField, value: JSONValue) -> str:
    if isinstance(value, str) and not value.strip():
        # Dify turns it into null, and would run the app without a number that it requires.
        return "must be a number, not empty" if field.required else ""
    return "" if _is_number(value) else f"must be a number, not {_json_type(value)}"


def _check_checkbox(field: InputField, value: JSONValue) -> str:
    # Dify 1.12.1 turns 1, "yes" and the like into true, and lets any other text through as it is.
    return f"must be true or false, not {_json_type(value)}" if isinstance(value, list | dict) else ""


def _check_object(field: InputField, value: JSONValue) -> str:
    # Dify 1.12.1 refuses lists and JSON in a string.
    return "" if isinstance(value, dict) else f"must be an object, not {_json_type(value)}"


def _check_file(field: InputField, value: JSONValue) -> str:
    return "" if isinstance(value, dict) else f"must be one file object, not {_json_type(value)}"


def _check_file_list(field: InputField, value: JSONValue) -> str:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return "must be an array of file objects"
    if field.max_length and len(value) > field.max_length:
        return f"must have at most {field.max_length} files, not {len(value)}"
    return ""


_CHECKS: dict[str, Callable[[InputField, JSONValue], str]] = {
    "text-input": _check_text,
    "paragraph": _check_text,
    "select": _check_select,
    "number": _check_number,  # max_length is there, but flows write 100000 into every kind
    "checkbox": _check_checkbox,
    "json_object": _check_object,
    "file": _check_file,
    "file-list": _check_file_list,
}


def _problem(field: InputField, value: JSONValue) -> str:
    check = _CHECKS.get(field.kind)
    return check(field, value) if check else ""  # a kind of a newer Dify: Dify judges


def _is_number(value: JSONValue) -> bool:
    if isinstance(value, bool):
        return False  # in Python True is a number, in JSON not
    if isinstance(value, str):
        try:  # as Dify reads it: 1e5 and 0x10 are no numbers
            value = float(value) if "." in value else int(value)
        except ValueError:
            return False
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _json_type(value: JSONValue) -> str:
    # bool before int, which it is in Python.
    names = {
        bool: "a boolean",
        str: "a string",
        list: "an array",
        dict: "an object",
        int: "a number",
        float: "a number",
    }
    return next(name for kind, name in names.items() if isinstance(value, kind))


def _wanted(field: InputField) -> str:
    return ": ".join(filter(None, [field.kind, ", ".join(map(repr, field.options))]))


def list_of_inputs(app: App) -> str:
    """What the app can be given, in words for an error."""
    if not app.inputs:
        return "it takes no inputs"
    listed = (f"{field.variable} ({field.kind}{', required' if field.required else ''})" for field in app.inputs)
    return f"its inputs are {', '.join(listed)}"
