"""A token as the id of a tool call: an answer made of calls has no text that could hide one, but clients must send
its calls back with their ids, unchanged.

    call_<number>_<the token in base64url>

The token of a call is written before the call's arguments are known. It covers the messages before the answer, and not
the answer. (The API of OpenAI itself takes ids of up to 40 characters; these have 78. No client is known to look.)
"""

from __future__ import annotations

import base64
import binascii
import re

_CALL_ID = re.compile(r"call_\d{1,4}_([\w-]{4,256})", re.ASCII)


def write_call_id(token: bytes, number: int) -> str:
    """The id of an answer's call number 0, 1, …; in ASCII letters, digits, `-` and `_`."""
    return f"call_{number}_{base64.urlsafe_b64encode(token).decode('ascii').rstrip('=')}"


def read_call_id(call_id: str) -> bytes | None:
    """What `write_call_id` put in; None for an id that it cannot have written. Whether it is a token, the MAC tells."""
    if not (match := _CALL_ID.fullmatch(call_id)):
        return None
    try:
        data = base64.urlsafe_b64decode(match[1] + "=" * (-len(match[1]) % 4))
    except (binascii.Error, ValueError):
        return None
    # Base64 has several spellings of the same bytes; only one is ours.
    return data if match[0].endswith("_" + base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")) else None
