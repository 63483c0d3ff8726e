"""DIFY_API_KEYS: the text an operator writes → AppKeys.

`app-key`, `app-key@https://other-dify/v1`, and options behind a `?` in the form of a query string. No key is ever
shown whole: problems name it by its place in the list.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from gateway.dify_api.app import AppKey, AppMode
from gateway.key_options import memory_option, moderation_option, parse_options, reasoning_option, smooth_option

_KEY = re.compile(r"[\x21-\x7e]+")  # what an HTTP header can carry
_ADDRESS = re.compile(r"[\w.~:/?#\[\]@=&+%-]*", re.ASCII)


class BadAppKey(ValueError):
    """DIFY_API_KEYS cannot be used; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def parse_app_keys(written: str, default_base: str) -> tuple[AppKey, ...]:
    """Read the list, split at commas and lines; a key given twice in the same words counts once. Raises BadAppKey."""
    found: dict[tuple[str, str], tuple[int, AppKey]] = {}
    problems = []
    items = [item for item in (part.strip() for part in re.split(r"[,\n]", written)) if item]
    for number, item in enumerate(items, start=1):
        try:
            key = _parse_app_key(item, default_base)
        except ValueError as error:
            problems.append(f"DIFY_API_KEYS, key {number}: {error}")
        else:
            first, same = found.setdefault((key.key, key.base_url), (number, key))
            if same != key:
                problems.append(f"DIFY_API_KEYS, key {number}: is key {first} again, with other options")
    if problems:
        raise BadAppKey(problems)
    return tuple(key for _, key in found.values())


def parse_base_url(written: str) -> str:
    """The address of a Dify service API without its trailing slash. Raises ValueError."""
    url = written.strip().rstrip("/")
    if not _ADDRESS.fullmatch(url):
        raise ValueError("has a character that does not belong in an address")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http(s) address")
    if "@" in url or "?" in url or "#" in url:
        raise ValueError("an address without user, query or fragment is wanted")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port is not a number up to 65535") from None
    return url


def _parse_app_key(item: str, default_base: str) -> AppKey:
    rest, _, options = item.partition("?")
    key, at, base = rest.partition("@")
    key = key.strip()
    if not _KEY.fullmatch(key):
        raise ValueError("has a character that no key has")
    if at:
        base = parse_base_url(base)
    elif default_base:
        base = default_base
    else:
        raise ValueError("has no Dify: set DIFY_API_BASE, or write key@https://your-dify/v1")
    return AppKey(key=key, base_url=base, **parse_options(options, _OPTIONS))


def _mode(value: str) -> AppMode:
    try:
        return AppMode(value)
    except ValueError:
        raise ValueError(f"mode is not one of {', '.join(AppMode)}") from None


def _variable(value: str) -> str:
    if not value.strip():
        raise ValueError("query, output and system name a variable")
    return value.strip()


_OPTIONS = {
    "mode": ("mode", _mode),
    "query": ("query_variable", _variable),
    "output": ("output_variable", _variable),
    "system": ("system_variable", _variable),
    "memory": ("memory_mode", memory_option),
    "smooth": ("smoothing", smooth_option),
    "reasoning": ("reasoning", reasoning_option),
    "moderation": ("moderation", moderation_option),
}
