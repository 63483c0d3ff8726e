"""Every knob once: name, type, default, meaning.

A knob's environment variable is its field's name in capitals. `load_settings` reads all of them and raises one
BadSettings that lists everything wrong, so that a bad file is mended in one go. `.env.example` and the README's table
are printed from the same fields (`python -m gateway env-example`, `settings-table`).
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gateway.app_keys import BadAppKey, parse_app_keys, parse_base_url
from gateway.client_keys import ClientKey, parse_client_keys
from gateway.dify_api.app import AppKey
from gateway.exchange.memory.modes import MEMORY_MODES
from gateway.exchange.smoothing import Smoothing
from gateway.scrub import scrub


class BadSettings(Exception):
    """The configuration cannot be used; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
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


def memory_mode(value: str) -> int:
    """A row of MEMORY_MODES."""
    if value.strip() not in map(str, MEMORY_MODES):
        raise ValueError(f"not one of {', '.join(map(str, sorted(MEMORY_MODES)))}")
    return int(value)


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


def origin(value: str) -> str:
    """What Access-Control-Allow-Origin can say; empty for `none`."""
    value = value.strip()
    if value == "none":
        return ""
    if value != "*" and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[\w.:\[\]-]+", value, re.ASCII):
        raise ValueError("not *, none or one origin like https://chat.example.org, without a path")
    return value


# --- the knobs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The configuration of one process."""

    # Dify
    dify_api_keys: str = knob(
        "",
        "App keys, comma-separated. `app-key@https://other-dify/v1` for a key of another Dify; options of one app "
        "follow a `?`: `app-key?mode=workflow&query=text&output=result&memory=0&smooth=off` (mode: if Dify is too "
        "old to tell it; query: the input that takes the user's text; output: the workflow output that is the answer; "
        "memory, smooth: this app's CONVERSATION_MEMORY_MODE and SMOOTH_STREAMING)",
        text,
        secret=True,
    )
    dify_api_base: str = knob(
        "", "Address of Dify's service API for keys without their own, e.g. https://api.dify.ai/v1", optional_base_url
    )
    app_refresh_seconds: float = knob("60", "Seconds between two looks at every app in Dify", seconds(1, 86_400))
    upstream_http2: bool = knob(
        "false",
        "HTTP/2 to Dify over TLS: answers share connections; faster with many, one slow reader slows all",
        switch,
    )
    ca_file: str = knob("", "PEM file of certificate authorities to trust for Dify instead of the system's", text)
    upstream_proxy: str = knob(
        "", "HTTP proxy for calls to Dify, e.g. http://proxy:3128; http_proxy and the like are ignored", optional_proxy
    )

    # server
    server_host: str = knob("127.0.0.1", "Address to listen on", text)
    server_port: int = knob("5000", "TCP port to listen on; 0 takes a free one", whole(0, 65_535))
    valid_api_keys: tuple[ClientKey, ...] = knob(
        "",
        "Client keys that may use the gateway, comma-separated; options of one client follow a `?`: "
        "`sk-key?smooth=on&memory=1`",
        parse_client_keys,
        secret=True,
    )
    allow_anonymous: bool = knob(
        "false", "Listen beyond loopback although VALID_API_KEYS is empty and anybody may use every app", switch
    )
    cors_allow_origin: str = knob("*", "Origin that browsers may call from; * allows all, none allows none", origin)
    max_body_bytes: int = knob("33554432", "Largest request body in bytes", whole(1024, 1 << 30))
    shutdown_seconds: float = knob("30", "Seconds that open answers get to finish on SIGTERM", seconds(0, 3600))

    # load
    max_connections: int = knob(
        "0", "Client connections accepted at a time; 0: as many as the limit of open files allows", whole(0, 1_000_000)
    )
    max_streams: int = knob("5000", "Answers in flight in this process", whole(1, 1_000_000))
    max_streams_per_dify: int = knob(
        "1000", "Answers in flight per Dify host; a stock Dify serves ten connections per worker", whole(1, 1_000_000)
    )
    queue_length: int = knob("100", "Requests per Dify host that may wait for a slot", whole(0, 1_000_000))
    queue_seconds: float = knob(
        "5", "Seconds that a request may wait for a slot before its 429 or 503", seconds(0, 300)
    )
    starts_per_second: float = knob("1000", "Answers that may start per second in this process", seconds(0.1, 100_000))

    # conversation
    conversation_memory_mode: int = knob(
        "1", "How history reaches Dify: " + "; ".join(f"{n} {m.meaning}" for n, m in MEMORY_MODES.items()), memory_mode
    )

    check_branches: bool = knob(
        "true", "Mode 2: ask Dify before each turn whether its conversation still ends with the answer shown", switch
    )
    read_opendify_tokens: bool = knob(
        "true", "Mode 2: go on with chats that OpenDify's zero-width mode began; its tokens are not signed", switch
    )

    # streaming
    smooth_streaming: Smoothing = knob(
        "auto", "off, on, or auto: bursts of text become an even flow for chat front ends, not for programs", smoothing
    )
    smooth_max_delay: float = knob("0.25", "Seconds that smoothing may hold a text back at most", seconds(0.02, 2))

    # time
    connect_timeout: float = knob("5", "Seconds to connect to Dify, name look-up and TLS included", seconds(0.1, 300))
    first_byte_timeout: float = knob(
        "60", "Seconds from the request to Dify's first byte; Dify is silent while it is full", seconds(0.1, 3600)
    )
    stream_idle_timeout: float = knob(
        "60", "Seconds without any byte from Dify in an answer; Dify pings every 10", seconds(0.1, 3600)
    )
    stream_stall_timeout: float = knob(
        "600", "Seconds in which Dify sends nothing but pings before an answer is given up", seconds(0.1, 86_400)
    )
    answer_timeout: float = knob("3600", "Seconds that one answer may take in all", seconds(1, 86_400))
    client_write_timeout: float = knob(
        "60", "Seconds in which a client takes no byte of its answer before it is dropped", seconds(0.1, 3600)
    )
    keep_partial_answers: bool = knob(
        "false", "When a client leaves, listen until the stopped run's end, so that Dify saves what was said", switch
    )
    commit_after: float = knob(
        "10", "Seconds to wait for the first text before a stream's 200 is sent with keep-alives", seconds(0, 300)
    )
    keep_alive_seconds: float = knob(
        "10", "Seconds of silence in a stream before the client gets a comment", seconds(0.05, 300)
    )

    # retries
    idempotency_seconds: float = knob(
        "600", "Seconds after its end in which an answer is given again to its Idempotency-Key", seconds(0, 86_400)
    )
    idempotency_grace_seconds: float = knob(
        "5", "Seconds that an answer with an Idempotency-Key goes on without a client, for a retry", seconds(0, 300)
    )
    idempotency_bytes: int = knob(
        "67108864",
        "Memory for answers that can be given again; one larger than a sixteenth of it cannot",
        whole(1 << 20, 1 << 40),
    )
    redis_url: str = knob(
        "",
        "Redis (5.0 or newer) through which several gateways share answers with an Idempotency-Key, e.g. "
        "redis://:password@host:6379/0; their text lies there for IDEMPOTENCY_SECONDS, questions and keys only as "
        "digests; read at the start. Empty: each gateway for itself",
        redis_url,
        secret=True,
    )

    # logs
    log_level: str = knob("info", "debug, info, warning or error", one_of("debug", "info", "warning", "error"))
    log_format: str = knob("text", "text or json, one line per event", one_of("text", "json"))

    # derived
    app_keys: tuple[AppKey, ...] = ()


def knobs() -> Iterator[tuple[str, Knob]]:
    """Every setting as (environment variable, knob), in order."""
    for one in dataclasses.fields(Settings):
        if declared := one.metadata.get("knob"):
            yield one.name.upper(), declared


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read all knobs. Raises BadSettings with one line for everything that is wrong."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, declared in knobs():
        written = environ.get(name, "")
        try:
            # An empty value is "not set": OpenDify's .env has such lines.
            values[name.lower()] = declared.parse(written if written.strip() else declared.default)
        except ValueError as error:
            shown = "" if declared.secret else f"={written!r}"
            problems.append(scrub(f"{name}{shown}: {error}"))
    problems += map(scrub, _contradictions(values))
    try:
        # A bad base is one problem, not one more for every key that relies on it.
        base = values.get("dify_api_base", environ.get("DIFY_API_BASE", ""))
        app_keys = parse_app_keys(values["dify_api_keys"], base)
    except BadAppKey as error:
        problems += error.problems
    if problems:
        raise BadSettings(problems)
    return Settings(**values, app_keys=app_keys)


def after_reload(running: Settings, wanted: Settings) -> tuple[Settings, list[str]]:
    """What a reload puts in force, and the names of the settings that only a restart can change.

    Raises BadSettings where the two together cannot be: a socket that is open to everybody stays open to them.
    """
    kept = {name: getattr(running, name) for name in _NEEDS_RESTART if getattr(running, name) != getattr(wanted, name)}
    effective = dataclasses.replace(wanted, **kept)
    problems = list(_contradictions({one.name: getattr(effective, one.name) for one in dataclasses.fields(effective)}))
    if not effective.app_keys:
        problems.append("DIFY_API_KEYS is empty")
    if problems:
        raise BadSettings(problems)
    return effective, sorted(name.upper() for name in kept)


# What is bound, built or connected once.
_NEEDS_RESTART = (
    "server_host",
    "server_port",
    "max_connections",
    "upstream_http2",
    "redis_url",
    "idempotency_seconds",
    "idempotency_grace_seconds",
    "idempotency_bytes",
)


def _contradictions(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between settings that are fine each by itself."""
    host = values.get("server_host", "")
    # Missing from `values` is what has a problem of its own.
    if not _is_loopback(host) and not values.get("valid_api_keys", True) and not values.get("allow_anonymous", True):
        yield (
            f"SERVER_HOST={host!r}: without VALID_API_KEYS anybody who reaches this address may use every app; "
            "set VALID_API_KEYS, or ALLOW_ANONYMOUS=true if that is what you want"
        )
    if (ca_file := values.get("ca_file")) and (why := _unreadable(ca_file)):
        yield f"CA_FILE={ca_file!r}: {why}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _unreadable(path: str) -> str | None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError:
        return "holds no PEM certificate, or a broken one"
    except OSError as error:
        return error.strerror or str(error)
    return None


# --- printed forms ----------------------------------------------------------------------------------------------------


def env_example() -> str:
    """The text of .env.example."""
    lines = [
        "# Settings of the OpenDify gateway: copy to .env and change what you need.",
        "# Read as systemd reads an EnvironmentFile: no `export`, no comment behind a value, $ is only a dollar sign.",
    ]
    for name, declared in knobs():
        lines += ["", *_wrapped(declared.meaning), f"#{name}={declared.default}"]
    return "\n".join(lines) + "\n"


def _wrapped(meaning: str, width: int = 110) -> Iterator[str]:
    line = "#"
    for word in meaning.split():
        if len(line) + len(word) >= width:
            yield line
            line = "#"
        line += f" {word}"
    yield line


def settings_table() -> str:
    """The README's table of settings, in Markdown."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, declared in knobs():
        default = f"`{declared.default}`" if declared.default else ""
        rows.append(f"| `{name}` | {default} | {declared.meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"
