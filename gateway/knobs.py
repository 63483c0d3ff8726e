"""What a setting is: its name's default, its meaning, and how what an operator wrote is read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any
from urllib.parse import urlsplit

from gateway.app_keys import parse_base_url
from gateway.exchange.details import Details
from gateway.exchange.hold_back import Moderation
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.frozen import frozen
from gateway.scrub import scrub


@frozen
class Knob:
    """What one setting means; `parse` raises ValueError with words for the operator."""

    default: str
    meaning: str
    parse: Callable[[str], Any]
    secret: bool = False


def knob(default: str, meaning: str, parse: Callable[[str], Any], *, secret: bool = False) -> Any:
    """Declare one setting. The default is written as an operator would write it; a secret is shown nowhere."""
    return field(metadata={"knob": Knob(default, meaning, parse, secret)}, repr=not secret)


# --- types of knobs ---------------------------------------------------------------------------------------------------


def text(value: str) -> str:
    """Any text, surrounding blanks dropped."""
    return value.strip()


def switch(value: str) -> bool:
    """True or false, in the usual spellings."""
    spelled = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    try:
        return spelled[value.strip().lower()]
    except KeyError:
        raise ValueError("not true or false") from None


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """A whole number within bounds."""

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            raise ValueError("not a whole number") from None
        if not minimum <= number <= maximum:
            raise ValueError(f"not between {minimum} and {maximum}")
        return number

    return parse


def seconds(minimum: float, maximum: float) -> Callable[[str], float]:
    """A duration in seconds, within bounds."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise ValueError("not a number of seconds") from None
        if not minimum <= number <= maximum:  # also refuses nan
            raise ValueError(f"not between {minimum:g} and {maximum:g} seconds")
        return number

    return parse


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """A number within bounds."""

    def parse(value: str) -> float:
        try:
            found = float(value)
        except ValueError:
            raise ValueError("not a number") from None
        if not minimum <= found <= maximum:  # also refuses nan
            raise ValueError(f"not between {minimum:g} and {maximum:g}")
        return found

    return parse


def one_of(*allowed: str) -> Callable[[str], str]:
    """One word of a list."""

    def parse(value: str) -> str:
        if value.strip().lower() not in allowed:
            raise ValueError(f"not one of {', '.join(allowed)}")
        return value.strip().lower()

    return parse


def smoothing(value: str) -> Smoothing:
    """off, on or auto."""
    return Smoothing(one_of(*Smoothing)(value))


def reasoning(value: str) -> Reasoning:
    """field, inline or drop."""
    return Reasoning(one_of(*Reasoning)(value))


def details(value: str) -> Details:
    """off, on or suggestions."""
    return Details(one_of(*Details)(value))


def moderation(value: str) -> Moderation:
    """stream or buffer."""
    return Moderation(one_of(*Moderation)(value))


def memory_mode(value: str) -> int:
    """A row of MEMORY_MODES."""
    if value.strip() not in map(str, MEMORY_MODES):
        raise ValueError(f"not one of {', '.join(map(str, sorted(MEMORY_MODES)))}")
    return int(value)


def model_id(value: str) -> str:
    """Empty, or an app's name."""
    if scrub(value) != value:
        raise ValueError("looks like a key")
    return value.strip()


def header_names(value: str) -> tuple[str, ...]:
    """Names of HTTP headers, comma-separated, with the capitals that Tornado gives them; `none` for no header."""
    names = tuple(name for name in (part.strip() for part in value.split(",")) if name)
    if names == ("none",):
        return ()
    if scrub(value) != value or not all(re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) for name in names):
        raise ValueError("not a list of header names, comma-separated, or none")
    return tuple("-".join(map(str.capitalize, name.split("-"))) for name in names)


def optional_base_url(value: str) -> str:
    """Empty, or the address of a Dify service API."""
    return parse_base_url(value) if value.strip() else ""


def optional_proxy(value: str) -> str:
    """Empty, or the address of an HTTP proxy."""
    url = optional_base_url(value)
    if url and (urlsplit(url).scheme != "http" or urlsplit(url).path):
        raise ValueError("not http://host:port")
    return url


def redis_url(value: str) -> str:
    """Empty, or the address of a Redis."""
    url = value.strip()
    host = r"(\[[\da-f:]+\]|[^/@:?\[\]]+)(:\d+)?"
    if url and not re.fullmatch(rf"rediss?://([^/@]*@)?{host}(/\d*)?(\?.*)?|unix://([^/@]*@)?/.+", url):
        raise ValueError("not redis://host:port/number, rediss://… or unix:///path")
    return url


def names(value: str) -> frozenset[str]:
    """What log lines call requests and clients, comma-separated, or *."""
    found = frozenset(filter(None, (part.strip() for part in value.split(","))))
    for name in found:
        if not re.fullmatch(r"\*|[A-Za-z0-9._-]{1,64}", name) or scrub(name) != name:
            raise ValueError("not request ids or clients as the log names them: a name, or key- and eight digits")
    return found


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Addresses and networks like 10.0.0.0/8, comma-separated."""
    found = []
    for item in filter(None, (part.strip() for part in value.split(","))):
        try:
            found.append(ip_network(item))
        except ValueError as error:
            raise ValueError(f"{error}; wanted are addresses and networks like 10.0.0.0/8") from None
    return tuple(found)


def origin(value: str) -> str:
    """What Access-Control-Allow-Origin can say; empty for `none`."""
    value = value.strip()
    if value == "none":
        return ""
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[\w.:\[\]-]+", value, re.ASCII):
        raise ValueError("not *, none or one origin like https://chat.example.org, without a path")
    return value
