"""Files that systemd copies for the service alone (LoadCredential=): unreadable to other users, not in the environment.

systemd copies them once, at the start; only its newest versions can renew them. So what a reload brings is laid into a
second directory, and wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_DIRECTORIES = ("RENEWED_CREDENTIALS_DIRECTORY", "CREDENTIALS_DIRECTORY")


def credential(name: str, environ: Mapping[str, str]) -> Path | None:
    """The file of this name, if there is one."""
    for directory in _DIRECTORIES:
        if environ.get(directory) and (path := Path(environ[directory], name)).is_file():
            return path
    return None
