"""HMAC-SHA-256 (RFC 2104) under a key that is used often: what depends on the key alone is hashed once."""

from __future__ import annotations

import hmac


class KeyedHash:
    """Gives what hmac.digest(key, message, "sha256") gives, which prepares its key anew for every message."""

    __slots__ = ("_keyed",)

    def __init__(self, key: bytes) -> None:
        self._keyed = hmac.new(key, digestmod="sha256")

    def digest(self, message: bytes) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(message)
        return keyed.digest()
