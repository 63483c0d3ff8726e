"""What the process tells systemd about itself (sd_notify(3)): datagrams of NAME=value lines to $NOTIFY_SOCKET."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping

_PATIENCE_SECONDS = 0.2  # for a systemd that does not read; the event loop waits as long

# systemd throws away a message of more than 4096 bytes, and with it the READY=1 or WATCHDOG=1 that stands in it.
_LONGEST_STATUS = 1000  # characters, of four bytes at most

_LINE_BREAKS = re.compile(r"[\x00-\x1f\x7f]+")


class Notifier:
    """Says nothing where nobody listens, so the process needs no systemd."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self.watchdog_seconds = _watchdog_seconds(environ, pid)  # None: nobody watches

    def ready(self, status: str) -> None:
        """The start or a reload is over."""
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """A reload begins; `ready` ends it. systemd compares the time with its own request's (Type=notify-reload)."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str, seconds: float) -> None:
        """The end begins and takes at most `seconds`, even if TimeoutStopSec= is shorter."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}", _status(status))

    def alive(self, status: str) -> None:
        """The event loop still turns; to be said at least every `watchdog_seconds`."""
        self._tell("WATCHDOG=1", _status(status))

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_PATIENCE_SECONDS)
                channel.sendto("\n".join(lines).encode(errors="replace"), self._address)
        except OSError:
            pass  # a systemd that is gone must not end the answers that are under way


def _status(text: str) -> str:
    """What `systemctl status` shows, in one line."""
    text = _LINE_BREAKS.sub(" ", text)
    return f"STATUS={text if len(text) <= _LONGEST_STATUS else text[: _LONGEST_STATUS - 1] + '…'}"


def _address(written: str) -> str:
    if written.startswith("@"):
        return "\0" + written[1:]  # Linux' abstract namespace
    return written if written.startswith("/") else ""


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    try:
        microseconds = int(environ.get("WATCHDOG_USEC", "0"))
        watched = int(environ.get("WATCHDOG_PID", pid))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and watched == pid else None
