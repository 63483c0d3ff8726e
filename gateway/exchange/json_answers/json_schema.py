"""JSON values against JSON Schemas that clients send, by the library `jsonschema`.

A schema is a stranger's program, so it gets no network, no regular expression for longer than a moment, so many steps
and so much depth. What cannot be checked, within that or because the schema is broken, forbids nothing. Schemas without
`$schema` are read as draft 2020-12.

The library is loaded with the first schema: most gateways never meet one, and it takes megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import regex  # type: ignore[import-untyped]  # ships no types

from gateway.exchange.turn import JSONValue

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

_STEPS = 10_000  # keywords of one check: a tenth of a second, where a real document takes some hundred
_DEEPEST = 100  # keywords within each other: four frames each, and Python has a thousand
_PATTERN_SECONDS = 0.05
_MOST_REFERENCES = 8  # from a schema's root on
_LONGEST = 300  # characters of a problem

Schema = Mapping[str, JSONValue]


class TooManySteps(Exception):
    """The schema sends the check in circles, or into more branches than can be looked at."""


def schema_problem(schema: Schema) -> str:
    """Why this is no JSON Schema; nothing for one that is."""
    from jsonschema import SchemaError

    try:
        _kind(schema).check_schema(dict(schema))
    except SchemaError as error:
        return _shorten(f"{_place(error.absolute_path)}{error.message}")
    except Exception as error:  # $schema may be anything, and depth has no limit
        return _shorten(f"it cannot be read: {error}")
    except BaseException as error:
        _raise_unless_panic(error)
        return "it is nested too deeply"
    return ""


def value_problem(value: JSONValue, schema: Schema) -> str:
    """What the value lacks to fit the schema, in words for a model and for people; nothing if it fits."""
    from jsonschema.exceptions import best_match

    try:
        error = best_match(_validator(schema).iter_errors(value))
    except Exception:  # keywords fail in every way where a schema is broken, refers to nothing or runs in circles
        return ""
    except BaseException as error:
        _raise_unless_panic(error)
        return ""
    return "" if error is None else _shorten(f"{_place(error.absolute_path)}{error.message}")


def root_type(schema: Schema) -> str | None:
    """The type of all of a value that fits: object, array, string, …; None if the schema does not say it so."""
    for _ in range(_MOST_REFERENCES):
        if isinstance(kind := schema.get("type"), str):
            return kind
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not isinstance(found := _follow(reference, schema), dict):
            return None
        schema = {**schema, "$ref": None, **found}  # what it refers to in turn is sought from the same root
    return None


def _follow(reference: str, root: Schema) -> JSONValue:
    """What a reference within a schema means; None where there is nothing."""
    found: JSONValue = dict(root)
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _validator(schema: Schema) -> Validator:
    from jsonschema import validators
    from referencing import Registry

    kind, steps = _kind(schema), _Steps()
    checks: dict[str, Callable[..., Any]] = dict(kind.VALIDATORS)
    keywords = {name: partial(steps.count, check) for name, check in checks.items()} | _OWN_KEYWORDS
    counted: Any = validators.extend(kind, keywords)  # type: ignore[no-untyped-call]
    validator: Validator = counted(schema, registry=Registry())  # an empty one: the default would use the network
    return validator


@cache
def _default_kind() -> type[Validator]:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


def _kind(schema: Schema) -> type[Validator]:
    from jsonschema import validators

    return validators.validator_for(schema, default=_default_kind())


class _Steps:
    """Counts the keywords of one check, in all and within each other."""

    def __init__(self) -> None:
        self._left = _STEPS
        self._depth = 0

    def count(self, check: Callable[..., Any], *arguments: Any) -> Iterator[Any]:
        self._left -= 1
        self._depth += 1
        if self._left < 0 or self._depth > _DEEPEST:
            raise TooManySteps
        yield from check(*arguments) or ()
        self._depth -= 1


def _raise_unless_panic(error: BaseException) -> None:
    """The library stands on one written in Rust (rpds), which panics where Python's stack ends, and a panic is no
    Exception: nobody would answer the client."""
    if type(error).__name__ != "PanicException":
        raise error


# --- keywords with regular expressions ------------------------------------------------------------------------------


def _matches(pattern: str, text: str) -> bool:
    """A pattern that cannot be used, or not in time, forbids nothing: JavaScript's are not Python's."""
    try:
        return regex.search(pattern, text, timeout=_PATTERN_SECONDS) is not None
    except (regex.error, TimeoutError):
        return True


def _pattern(validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not _matches(pattern, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, value: Any, schema: Any) -> Iterator[Any]:
    if not isinstance(value, dict):
        return
    for pattern, below in patterns.items():
        for name, item in value.items():
            if _matches(pattern, name):
                yield from validator.descend(item, below, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError

    if not isinstance(value, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, item in value.items():
        if name in known or any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError(f"{name!r} is not one of the properties")
        elif isinstance(allowed, dict):
            yield from validator.descend(item, allowed, path=name)


# The library would look names up in patterns without a limit of time.
_OWN_KEYWORDS: dict[str, Any] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
}


# --- words ------------------------------------------------------------------------------------------------------------


def _place(path: Any) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{steps.lstrip('.')}: " if steps else ""


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
