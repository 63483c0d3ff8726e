"""VALID_API_KEYS: the text an operator writes → ClientKeys.

`sk-abc` or, with options of that client, `sk-abc?smooth=on&memory=0`. No key is ever shown: problems name it by its
place in the list.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import field

from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.frozen import frozen
from gateway.key_options import memory_option, name_option, parse_options, reasoning_option, smooth_option

_KEY = re.compile(r"[\x21-\x7e]+")  # what an HTTP header can carry

_OPTIONS = {
    "memory": ("memory_mode", memory_option),
    "smooth": ("smoothing", smooth_option),
    "reasoning": ("reasoning", reasoning_option),
    "name": ("name", name_option),
}


@frozen
class ClientKey:
    """Who calls, and what the operator said about that client."""

    key: str = field(repr=False)  # empty: nobody in particular
    memory_mode: int | None = None  # None: the app's
    smoothing: Smoothing | None = None
    reasoning: Reasoning | None = None
    name: str | None = None  # in log lines
    label: str | None = field(init=False, compare=False)  # whom a log line names: `name`, else a digest

    def __post_init__(self) -> None:
        label = self.name or (f"key-{_digest(self.key)}" if self.key else None)
        object.__setattr__(self, "label", label)  # once for a key, as each of its requests has a log line


def _digest(key: str) -> str:
    """What tells keys apart and opens nothing."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def parse_client_keys(written: str) -> tuple[ClientKey, ...]:
    """Read the list, split at commas and lines. Raises ValueError with a line for the operator."""
    found = []
    items = [item for item in (part.strip() for part in re.split(r"[,\n]", written)) if item]
    for number, item in enumerate(items, start=1):
        key, _, options = item.partition("?")
        if not _KEY.fullmatch(key):
            raise ValueError(f"key {number} has a character that no HTTP client can send")
        try:
            found.append(ClientKey(key=key, **parse_options(options, _OPTIONS)))
        except ValueError as error:
            raise ValueError(f"key {number} {error}") from None
    return tuple(found)
