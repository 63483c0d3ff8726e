"""Dify's `user`: whom a conversation belongs to."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

LONGEST = 100  # Dify 0.15.3 answers 500 from 256 characters on

_BEGIN_OF_NAME = LONGEST - 17
_BEGIN_OF_CHAT = LONGEST - 22

# What only this file may make: who says such a name gets a digest behind it, so that nobody is taken for another.
_MADE = re.compile(r"anonymous|.*-[0-9a-f]{16}", re.DOTALL)


def end_user(named: str | None, client_key: str) -> str:
    """The `user` for Dify: what the client calls its end user, else a stable name for the client key.

    Names that Dify could not take as they are keep their beginning, for people who read Dify's logs, and get a digest
    that keeps them apart. The key itself never travels.
    """
    if named:
        clean = _clean(named)
        if clean == named and len(clean) <= LONGEST and clean.strip() and not _MADE.fullmatch(clean):
            return clean
        return f"{clean[:_BEGIN_OF_NAME]}-{_digest(named)}"
    return _client(client_key) if client_key else "anonymous"


def chat_user(user: str, chat_id: str) -> str:
    """The `user` that owns the conversation of one chat and nothing else, so that any node can ask Dify for it."""
    whole = f"{user}\0{chat_id}"
    return f"{user[:_BEGIN_OF_CHAT]}-chat-{_digest(whole)}"


@lru_cache(maxsize=128)  # of keys, which an HTTP header bounds; names may be as long as a body
def _client(key: str) -> str:
    return f"client-{_digest(key)}"


def _clean(named: str) -> str:
    return named.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
