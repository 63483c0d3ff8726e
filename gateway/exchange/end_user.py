"""Dify's `user`: whom a conversation belongs to."""

from __future__ import annotations

import hashlib

_LONGEST = 100  # Dify 0.15.3 answers 500 from 256 characters on


def end_user(named: str | None, client_key: str) -> str:
    """The `user` for Dify: what the client calls its end user, else a stable name for the client key.

    Names that Dify could not take as they are keep their beginning, for people who read Dify's logs, and get a digest
    that keeps them apart. The key itself never travels.
    """
    if named:
        clean = named.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
        if clean == named and len(clean) <= _LONGEST and clean.strip():
            return clean
        return f"{clean[: _LONGEST - 17]}-{_digest(named)}"
    return f"client-{_digest(client_key)}" if client_key else "anonymous"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
