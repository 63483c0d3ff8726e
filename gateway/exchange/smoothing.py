"""Whether an answer's bursts of text are evened out."""

from __future__ import annotations

from enum import StrEnum


class Smoothing(StrEnum):
    """What an operator or a client can ask for."""

    OFF = "off"
    ON = "on"
    AUTO = "auto"  # for people who read along, not for programs
