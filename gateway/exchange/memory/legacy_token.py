"""Conversation ids as the original OpenDify hides them in an answer.

It writes the base64 of the conversation id in eight invisible characters, three bits each. Base64 only regroups bits,
so the run is the id's 36 characters as one number in base eight: 96 symbols. Nothing signs it: anybody can write one
for any conversation, and the caller decides whether to believe it.
"""

from __future__ import annotations

import re
import uuid

ALPHABET = "\u200b\u200c\u200d\ufeff\u2060\u180e\u2061\u2062"  # 0..7
SYMBOLS = 96

_BOM = "\ufeff"
_TO_DIGITS = str.maketrans(ALPHABET, "01234567")
_RUN = re.compile(f"[{ALPHABET}]{{{SYMBOLS - 1},}}")


def find(text: str) -> str | None:
    """The last conversation id in the text; None without a run that holds a UUID as Dify writes it."""
    if text.isascii():
        return None
    for run in reversed(list(_RUN.finditer(text))):
        conversation_id = _read(run[0])
        if conversation_id is None and run.end() == len(text):
            # An id that ends in 3 or c ends in U+FEFF, which JavaScript's trim() cuts off. If something else was lost,
            # the last digit is wrong, and Dify has no such conversation.
            conversation_id = _read(run[0] + _BOM)
        if conversation_id is not None:
            return conversation_id
    return None


def _read(run: str) -> str | None:
    """The id at the run's end: before it there may be invisible characters of the answer."""
    text = int(run[-SYMBOLS:].translate(_TO_DIGITS), 8).to_bytes(SYMBOLS * 3 // 8, "big").decode("latin-1")
    try:
        return text if str(uuid.UUID(text)) == text else None
    except ValueError:
        return None
