"""Where the settings come from, at the start and at every reload: a file, credentials, the environment."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.env_file import parse_env_file
from gateway.load_settings import BadSettings, load_settings
from gateway.settings import Settings, knobs
from gateway.systemd.credentials import credential

log = logging.getLogger(__name__)

_ENV_FILE = "gateway.env"  # the settings file as a credential


def read_settings(env_file: Path | None, bound: Mapping[str, str] | None = None) -> Settings:
    """Each source wins over the one before it: the settings file, a credential named as the setting in small letters,
    the environment, and `bound`, which is where systemd has bound the sockets.

    Without `env_file` it is the credential `gateway.env`, else `.env`, if there. Raises BadSettings, OSError.
    """
    values = _from_file(env_file or credential(_ENV_FILE, os.environ) or Path(".env"))
    for name, _ in knobs():
        path = credential(name.lower(), os.environ)
        if path and (value := _text(path).strip()):
            values[name] = value
    return load_settings({**values, **os.environ, **(bound or {})})


def _from_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    found = parse_env_file(_text(path))
    for line in found.ignored:
        log.warning("%s, line %d: no NAME=value (`export`?), ignored as systemd does", path, line)
    for name in sorted(found.values.keys() - {name for name, _ in knobs()}):
        log.warning("%s: %s is no setting of the gateway", path, name)
    return found.values


def _text(path: Path) -> str:
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise BadSettings([f"{path}: is not UTF-8"]) from None
    if "\0" in text:
        raise BadSettings([f"{path}: has a NUL character"])
    return text
