"""The token behind an answer: which conversation of Dify goes on here, and for which visible text.

    header 1 | conversation 16 | message 16 | fingerprint 8 | system fingerprint 2 | MAC 10  =  53 bytes

The header is the version (4 bits) and how each id is written (2 bits each): a UUID in 16 bytes, any other id as its
length and its UTF-8. The MAC's key comes from the app's Dify key and it covers Dify's `user`: every node agrees without
a secret of its own, and a token is worth nothing under another app or user.

Why these sizes, as each byte costs 2.1 characters: an 80-bit MAC is guessed once in 10^24 requests, and the forger
would still only reach conversations of the same user, as Dify checks that again. Two transcripts share 64 bits once in
10^19, and who finds such a pair deceives nobody else. A changed system text goes unnoticed once in 65,536 changes; the
app then goes on under the text that it knows.
"""

from __future__ import annotations

import hmac
import re
import uuid
from functools import lru_cache

from gateway.exchange.memory.fingerprint import FINGERPRINT_BYTES, SYSTEM_FINGERPRINT_BYTES
from gateway.exchange.memory.keyed_hash import KeyedHash
from gateway.frozen import frozen

VERSION = 1
MAC_BYTES = 10
LONGEST_ID_BYTES = 64

_MAC_LABEL = b"opendify-gateway hidden token 1: mac"
_TRANSCRIPT_LABEL = b"opendify-gateway hidden token 1: transcript"

_UUID_FORM = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# How an id is written.
_ABSENT, _UUID, _TEXT = range(3)


@frozen
class HiddenToken:
    """What an answer remembers. `message_id` is the answer's own in Dify; None where Dify gave none."""

    conversation_id: str
    message_id: str | None
    fingerprint: bytes
    system_fingerprint: bytes


class TokenSeal:
    """Writes and reads the tokens of one app and one of its users."""

    __slots__ = ("_key", "_user", "is_pinned", "transcript_key")

    def __init__(self, app_key: str, user: str, pinned: str = "") -> None:
        name = user.encode("utf-8", "surrogatepass")
        self._key = _key_for(_MAC_LABEL, app_key)
        self._user = len(name).to_bytes(4, "big") + name  # with its length, so no user's bytes can pass for a token's
        # For the fingerprints: without it, who sees an answer could check guesses of what was said before.
        self.is_pinned = bool(pinned)
        # What the conversation is pinned to is part of what was said in it.
        key = _key_for(_TRANSCRIPT_LABEL, app_key)
        self.transcript_key = KeyedHash(key.digest(pinned.encode("utf-8", "surrogatepass"))) if pinned else key

    def seal(self, token: HiddenToken) -> bytes:
        """The token's bytes. Raises ValueError for a field that does not fit."""
        sizes = (len(token.fingerprint), len(token.system_fingerprint))
        if sizes != (FINGERPRINT_BYTES, SYSTEM_FINGERPRINT_BYTES) or not token.conversation_id:
            raise ValueError("a token needs a conversation id and fingerprints of the right sizes")
        conversation_kind, conversation = _write_id(token.conversation_id)
        message_kind, message = _write_id(token.message_id)
        header = bytes([VERSION << 4 | conversation_kind << 2 | message_kind])
        body = header + conversation + message + token.fingerprint + token.system_fingerprint
        return body + self._mac(body)

    def open(self, data: bytes) -> HiddenToken | None:
        """The token in these bytes; None if this app did not write them for this user."""
        body, mac = data[:-MAC_BYTES], data[-MAC_BYTES:]
        if not body or not hmac.compare_digest(mac, self._mac(body)):
            return None
        if body[0] >> 4 != VERSION:
            return None
        try:
            conversation_id, rest = _read_id(body[0] >> 2 & 3, body[1:])
            message_id, rest = _read_id(body[0] & 3, rest)
        except ValueError:
            return None
        if not conversation_id or len(rest) != FINGERPRINT_BYTES + SYSTEM_FINGERPRINT_BYTES:
            return None
        return HiddenToken(conversation_id, message_id, rest[:FINGERPRINT_BYTES], rest[FINGERPRINT_BYTES:])

    def _mac(self, body: bytes) -> bytes:
        return self._key.digest(self._user + body)[:MAC_BYTES]


@lru_cache(maxsize=512)  # two for each app; a digest costs more than all the rest of a seal
def _key_for(label: bytes, app_key: str) -> KeyedHash:
    # The secret is HMAC's message: as its key, "x" and "x\0" would give the same.
    return KeyedHash(KeyedHash(label).digest(app_key.encode("utf-8", "surrogatepass")))


def _write_id(value: str | None) -> tuple[int, bytes]:
    if value is None:
        return _ABSENT, b""
    if _UUID_FORM.fullmatch(value):  # only as Dify writes it, so that reading gives the same text
        return _UUID, bytes.fromhex(value.replace("-", ""))
    text = value.encode("utf-8", "surrogatepass")
    if len(text) > LONGEST_ID_BYTES:
        raise ValueError(f"an id of {len(text)} bytes is too long for a token")
    return _TEXT, bytes([len(text)]) + text


def _read_id(kind: int, data: bytes) -> tuple[str | None, bytes]:
    """The id and what follows it; ValueError for bytes that no version 1 writes."""
    if kind == _ABSENT:
        return None, data
    if kind == _UUID:
        return str(uuid.UUID(bytes=data[:16])), data[16:]
    if kind != _TEXT or not data or len(data) <= data[0]:
        raise ValueError("not an id")
    end = 1 + data[0]
    return data[1:end].decode("utf-8", "surrogatepass"), data[end:]
