"""Which files Dify has already: bounded in number and time. The caller brings the clock."""

from __future__ import annotations

import hashlib
from collections import OrderedDict


def upload_name(*parts: str) -> bytes:
    """One name for everything that tells one upload from another."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))  # so that no two lists of parts run together to the same bytes
        digest.update(data)
    return digest.digest()


class UploadCache:
    """Names of uploads → their ids in Dify; the one that was not wanted for longest makes room."""

    def __init__(self) -> None:
        self._uploads: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def find(self, name: bytes, now: float) -> str | None:
        """The upload's id, if it is known and fresh."""
        upload_id, fresh_until = self._uploads.get(name, ("", 0.0))
        if not upload_id:
            return None
        if now >= fresh_until:
            del self._uploads[name]
            return None
        self._uploads.move_to_end(name)
        return upload_id

    def keep(self, name: bytes, upload_id: str, fresh_until: float, limit: int) -> None:
        """Remember an upload; of more than `limit` the oldest go."""
        self._uploads[name] = (upload_id, fresh_until)
        self._uploads.move_to_end(name)
        while len(self._uploads) > limit:
            self._uploads.popitem(last=False)

    def forget(self, name: bytes) -> None:
        """Dify may not have it any more."""
        self._uploads.pop(name, None)
