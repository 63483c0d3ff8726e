"""How much of Dify's own an answer tells."""

from __future__ import annotations

from enum import StrEnum


class Details(StrEnum):
    """What an operator or a client can ask for."""

    OFF = "off"
    ON = "on"  # Dify's ids, the price, the files
    SUGGESTIONS = "suggestions"  # and questions that could come next; they cost Dify a call of a model
