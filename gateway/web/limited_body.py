"""A request's body as it comes in, bounded."""

from __future__ import annotations

from gateway.errors import BodyTooLarge


class LimitedBody:
    """Collects a body of at most `limit` bytes.

    One that is larger is read to its end and thrown away, so that the client gets its 413 instead of a reset
    connection.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._received = bytearray()
        self._too_large = False

    def expect(self, size: int) -> None:
        """The client says how much it wants to send, and asks before it does. Raises BodyTooLarge."""
        if size > self._limit:
            raise self._refusal()

    def add(self, chunk: bytes) -> None:
        """More of the body."""
        if self._too_large or len(self._received) + len(chunk) > self._limit:
            self._too_large = True
            self._received.clear()
        else:
            self._received += chunk

    def take(self) -> bytes:
        """The whole body, once; nothing of it is kept here. Raises BodyTooLarge."""
        if self._too_large:
            raise self._refusal()
        body = bytes(self._received)
        self._received.clear()
        return body

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(f"The request body is larger than the limit of {self._limit} bytes (MAX_BODY_BYTES).")
