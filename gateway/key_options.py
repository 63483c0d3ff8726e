"""What may stand behind a key's `?`, in the form of a query string."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from gateway.exchange.hold_back import Moderation
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning

Options = Mapping[str, tuple[str, Callable[[str], Any]]]  # what is written → the field it fills, and its type


def parse_options(written: str, known: Options) -> dict[str, Any]:
    """The options as fields. Raises ValueError, which repeats no value: where a comma was forgotten, it holds a key."""
    options: dict[str, Any] = {}
    for name, value in parse_qsl(written, keep_blank_values=True):
        try:
            field, parse = known[name]
        except KeyError:
            raise ValueError(f"has an unknown option; there are {', '.join(known)}") from None
        if field in options:
            raise ValueError(f"has {name} twice")
        options[field] = parse(value)
    return options


def name_option(value: str) -> str:
    """A word for log lines."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", value):
        raise ValueError("name is not 1 to 40 letters, digits, dots, dashes or underscores")
    return value


def memory_option(value: str) -> int:
    """A row of MEMORY_MODES."""
    if value not in map(str, MEMORY_MODES):
        raise ValueError(f"memory is not one of {', '.join(map(str, sorted(MEMORY_MODES)))}")
    return int(value)


def smooth_option(value: str) -> Smoothing:
    """off, on or auto."""
    try:
        return Smoothing(value)
    except ValueError:
        raise ValueError(f"smooth is not one of {', '.join(Smoothing)}") from None


def moderation_option(value: str) -> Moderation:
    """stream or buffer."""
    try:
        return Moderation(value)
    except ValueError:
        raise ValueError(f"moderation is not one of {', '.join(Moderation)}") from None


def reasoning_option(value: str) -> Reasoning:
    """field, inline or drop."""
    try:
        return Reasoning(value)
    except ValueError:
        raise ValueError(f"reasoning is not one of {', '.join(Reasoning)}") from None
