"""To whom a turn belongs, and where it goes on: what a request says besides its question."""

from __future__ import annotations

import re

from gateway.errors import InvalidRequest
from gateway.frozen import frozen

_CONVERSATION_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@frozen
class Belonging:
    """Everything that decides in which conversation a turn is answered."""

    user: str  # Dify's, as long as no chat is named
    memory_mode: int  # a row of MEMORY_MODES
    conversation_id: str | None = None  # Dify's, where the client names it
    chat_id: str | None = None  # the front end's name for the chat
    is_side_call: bool = False  # no turn of any chat


def conversation_id(written: str | None, param: str) -> str | None:
    """The id as a client wrote it; None for none, which is also what the empty text means to Dify.

    Raises InvalidRequest for what is no UUID: Dify 1.12 answers that with a 500.
    """
    if not written or not (written := written.strip()):
        return None
    if not _CONVERSATION_ID.fullmatch(written):
        raise InvalidRequest(f"Invalid value for '{param}': expected the UUID of a conversation.", param=param)
    return written.lower()
