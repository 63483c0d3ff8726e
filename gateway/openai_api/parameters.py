"""Types of request parameters: one table, one way to say what was expected and what came.

Strict about the types of what OpenAI's reference documents, since a wrong type is a client's bug; silent about
parameters it does not know, since every front end sends a few of its own. Ranges are not checked: nothing here uses
the numbers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TypeVar

from gateway.errors import InvalidRequest
from gateway.exchange.turn import JSONValue
from gateway.frozen import frozen

T = TypeVar("T")

MAX_STOPS, MAX_STOP_CHARS = 32, 1024  # OpenAI takes 4; other servers take more, and their clients send them
MAX_INPUT_DEPTH = 100  # far below what the JSON encoder and Python's stack can carry, far above any app's variables


@frozen
class JSONType:
    """A type as OpenAI's error messages call it."""

    words: str
    kinds: frozenset[type]  # exactly these are what a JSON decoder makes; in Python True is an int as well
    is_whole: bool = False  # some clients write 256.0, and JSON Schema calls that an integer

    def accepts(self, value: object) -> bool:
        """Whether a decoded value is of this type."""
        return type(value) in self.kinds and not (self.is_whole and isinstance(value, float) and value % 1)


STRING = JSONType("a string", frozenset({str}))
NUMBER = JSONType("a number", frozenset({int, float}))
INTEGER = JSONType("an integer", NUMBER.kinds, is_whole=True)
BOOLEAN = JSONType("a boolean", frozenset({bool}))
OBJECT = JSONType("an object", frozenset({dict}))
ARRAY = JSONType("an array", frozenset({list}))
STRING_OR_ARRAY = JSONType("a string or an array", STRING.kinds | ARRAY.kinds)
STRING_OR_OBJECT = JSONType("a string or an object", STRING.kinds | OBJECT.kinds)

# Every parameter of POST /chat/completions in OpenAI's API reference; null is fine for each of them.
CHAT_PARAMETERS: dict[str, JSONType] = {
    "model": STRING,
    "messages": ARRAY,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "n": INTEGER,
    "user": STRING,
    "inputs": OBJECT,  # not OpenAI's: Dify's input variables
    "metadata": OBJECT,
    "tools": ARRAY,
    "tool_choice": STRING_OR_OBJECT,
    "parallel_tool_calls": BOOLEAN,
    "functions": ARRAY,
    "function_call": STRING_OR_OBJECT,
    "response_format": OBJECT,
    "modalities": ARRAY,
    "audio": OBJECT,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "max_tokens": INTEGER,
    "max_completion_tokens": INTEGER,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
    "logit_bias": OBJECT,
    "logprobs": BOOLEAN,
    "top_logprobs": INTEGER,
    "stop": STRING_OR_ARRAY,
    "seed": INTEGER,
    "service_tier": STRING,
    "store": BOOLEAN,
    "reasoning_effort": STRING,
    "verbosity": STRING,
    "prediction": OBJECT,
    "moderation": OBJECT,
    "web_search_options": OBJECT,
    "safety_identifier": STRING,
    "prompt_cache_key": STRING,
    "prompt_cache_options": OBJECT,
    "prompt_cache_retention": STRING,
}


# What shapes an answer or its price in OpenAI's models. Dify takes none of it with a question: the app's own
# configuration rules.
WITHOUT_A_PLACE = (
    *("temperature", "top_p", "max_tokens", "max_completion_tokens", "presence_penalty", "frequency_penalty"),
    *("logit_bias", "logprobs", "top_logprobs", "seed", "service_tier", "store", "reasoning_effort", "verbosity"),
    *("prediction", "moderation", "web_search_options"),
)
_WITHOUT_A_PLACE = frozenset(WITHOUT_A_PLACE)


def without_a_place(body: Mapping[str, object]) -> tuple[str, ...]:
    """Which of them a request names; null and false ask for nothing."""
    if _WITHOUT_A_PLACE.isdisjoint(body):
        return ()
    asked = ((name, body.get(name)) for name in WITHOUT_A_PLACE)
    return tuple(name for name, value in asked if value is not None and value is not False)


def read_stop(value: object) -> tuple[str, ...]:
    """`stop`: one sequence or several; an empty one stops nothing."""
    if value is None:
        return ()
    items = [value] if isinstance(value, str) else read_array(value, "stop")
    if len(items) > MAX_STOPS:  # each is looked for in each piece of the answer
        message = f"Invalid 'stop': {len(items)} sequences are too many, over {MAX_STOPS}."
        raise InvalidRequest(message, param="stop", code="array_above_max_length")
    paths = ["stop"] if isinstance(value, str) else [f"stop[{index}]" for index in range(len(items))]
    texts = [read_text(item, path) for item, path in zip(items, paths, strict=True)]
    for text, path in zip(texts, paths, strict=True):
        if len(text) > MAX_STOP_CHARS:
            message = f"Invalid '{path}': {len(text)} characters are too many, over {MAX_STOP_CHARS}."
            raise InvalidRequest(message, param=path, code="string_above_max_length")
    return tuple(filter(None, texts))


def read_max_tokens(body: Mapping[str, object]) -> int | None:
    """The limit of an answer, under its new name or its old one; some clients write 0 or -1 for none."""
    for name in ("max_completion_tokens", "max_tokens"):
        if isinstance(value := body.get(name), int | float):
            return min(int(value), 1 << 31) if value >= 1 else None
    return None


def check_types(body: Mapping[str, object], table: Mapping[str, JSONType]) -> None:
    """Raise InvalidRequest for the first parameter of the table that has a wrong type."""
    wrong = [
        name
        for name, value in body.items()
        if value is not None
        and (wanted := table.get(name)) is not None
        and (type(value) not in wanted.kinds or (wanted.is_whole and not wanted.accepts(value)))
    ]
    if wrong:
        first = min(wrong, key=list(table).index)
        raise wrong_type(first, table[first].words, body[first])


def require(value: object, path: str) -> object:
    """The value of a parameter that may be neither absent nor null."""
    if value is None:
        raise InvalidRequest(f"Missing required parameter: '{path}'.", param=path, code="missing_required_parameter")
    return value


def read_object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise wrong_type(path, OBJECT.words, value)
    return value


def read_array(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise wrong_type(path, ARRAY.words, value)
    return value


def read_text(value: object, path: str) -> str:
    """A string as Dify can store it: without NUL, which PostgreSQL refuses, and encodable as UTF-8."""
    if not isinstance(value, str):
        raise wrong_type(path, STRING.words, value)
    try:
        return storable(value)
    except UnicodeEncodeError as error:
        message = f"Invalid value for '{path}': a lone surrogate at position {error.start} is not valid Unicode."
        raise InvalidRequest(message, param=path) from error


def storable(text: str) -> str:
    """The text as `read_text` says. Raises UnicodeEncodeError."""
    if not text.isascii():
        text.encode("utf-8")
    return text.replace("\0", "")


def read_inputs(value: object, path: str, depth: int = 1) -> dict[str, JSONValue]:
    """An object whose strings and numbers can all be sent on: Dify's input variables, or a JSON schema."""
    fields = read_object(value, path)
    return {read_text(name, path): _read_value(field, _step(path, name), depth) for name, field in fields.items()}


def pick(words: Mapping[str, T], value: object, path: str) -> T:
    """The row of a table that a string of the client's names."""
    name = read_text(value, path)
    if name not in words:
        supported = ", ".join(repr(word) for word in words)
        raise InvalidRequest(f"Invalid value: {quote(name)}. Supported values are: {supported}.", param=path)
    return words[name]


def wrong_type(path: str, expected: str, value: object) -> InvalidRequest:
    """In the words of OpenAI's own messages, which clients' users know."""
    what = f"'{path}'" if path else "the request body"
    message = f"Invalid type for {what}: expected {expected}, but got {_name_type(value)} instead."
    return InvalidRequest(message, param=path or None, code="invalid_type")


def quote(text: str) -> str:
    """A client's own words for an error message: short, and printable whatever they are."""
    return repr(text if len(text) <= 64 else text[:63] + "…")


def _read_value(value: object, path: str, depth: int) -> JSONValue:
    if depth > MAX_INPUT_DEPTH:
        message = f"Invalid value: '{path[:64]}…' is nested too deeply, over {MAX_INPUT_DEPTH} levels."
        raise InvalidRequest(message, param=re.split(r"[.\[]", path)[0])
    if isinstance(value, str):
        return read_text(value, path)
    if isinstance(value, dict):
        return read_inputs(value, path, depth + 1)
    if isinstance(value, list):
        return [_read_value(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):  # 1e400 is good JSON, but no number of ours
        raise InvalidRequest(f"Invalid value for '{path}': the number is too large.", param=path)
    if value is None or isinstance(value, bool | int | float):
        return value
    raise wrong_type(path, "a JSON value", value)


def _step(path: str, name: str) -> str:
    """The path of a field that the client named; odd names are quoted, since paths stand in messages and logs."""
    return f"{path}.{name}" if name.isprintable() and len(name) <= 64 else f"{path}[{quote(name)}]"


def _name_type(value: object) -> str:
    if value is None:
        return "null"
    if NUMBER.accepts(value) and not INTEGER.accepts(value):
        return "a decimal number"
    kinds = (BOOLEAN, INTEGER, STRING, ARRAY, OBJECT)
    return next((kind.words for kind in kinds if kind.accepts(value)), type(value).__name__)
