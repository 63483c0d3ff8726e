"""Environment → Settings: everything wrong is told at once, at the start and at a reload."""

from __future__ import annotations

import dataclasses
import importlib.util
import ipaddress
import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.app_keys import BadAppKey, parse_app_keys
from gateway.scrub import scrub
from gateway.settings import Settings, knobs


class BadSettings(Exception):
    """The configuration cannot be used; `problems` has one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


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
    "otlp_endpoint",
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
    if values.get("otlp_endpoint") and (missing := [name for name in _OPENTELEMETRY if not _is_installed(name)]):
        yield f"OTLP_ENDPOINT: install {', '.join(_OPENTELEMETRY[name] for name in missing)}, or leave it empty"


_OPENTELEMETRY = {  # module → package
    "opentelemetry.sdk.trace": "opentelemetry-sdk",
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
}


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package above it
        return False


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
