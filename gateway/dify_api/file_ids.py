"""The ids of /v1/files: a file in Dify, signed, so that every gateway can use it and none has to remember it.

    version 1 | app 4 | upload 16 | user 8 | created 4 | size 4 | purpose 1 | MAC 10 | media type | name

The MAC's key comes from the app's Dify key. Dify binds an uploaded file to the `user` that uploaded it, so the id does,
too; name, type, size and date are in it because Dify's service API tells them only once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import uuid

from gateway.frozen import frozen

PREFIX = "file-"
PURPOSES = ("user_data", "assistants", "vision", "batch", "fine-tune", "evals")  # append only: ids hold the number
_VERSION = 1
_MAC_BYTES = 10
_FIXED_BYTES = 1 + 4 + 16 + 8 + 4 + 4 + 1
_LABEL = b"opendify-gateway file id 1"
_LONGEST_NAME_BYTES = 240
_LONGEST_MEDIA_TYPE = 100


@frozen
class StoredUpload:
    """What an id says."""

    upload_id: str  # Dify's
    name: str
    media_type: str
    size: int  # bytes
    created: int  # Unix seconds
    purpose: str


def app_tag(file_id: str) -> bytes:
    """Which app an id belongs to, to be compared with `FileSeal.tag`; empty for what is no id."""
    data = _read(file_id)
    return data[1:5] if data else b""


class FileSeal:
    """Writes and reads the ids of one app."""

    __slots__ = ("_key", "tag")

    def __init__(self, app_key: str) -> None:
        self._key = hmac.digest(_LABEL, app_key.encode("utf-8", "surrogatepass"), "sha256")
        self.tag = hmac.digest(self._key, b"tag", "sha256")[:4]

    def seal(self, upload: StoredUpload, user: str) -> str:
        """The id. Raises ValueError for an upload id that is none of Dify's."""
        name = upload.name.encode("utf-8", "replace")[:_LONGEST_NAME_BYTES].decode("utf-8", "ignore").encode()
        media_type = upload.media_type.encode("ascii", "replace")[:_LONGEST_MEDIA_TYPE]
        head = b"".join(
            (
                bytes([_VERSION]),
                self.tag,
                uuid.UUID(upload.upload_id).bytes,
                self._user(user),
                upload.created.to_bytes(4, "big"),
                upload.size.to_bytes(4, "big"),
                bytes([PURPOSES.index(upload.purpose)]),
            )
        )
        tail = media_type + b"\0" + name
        data = head + self._mac(head + tail) + tail
        return PREFIX + base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def open(self, file_id: str, user: str | None = None) -> StoredUpload | None:
        """What an id says; None if this app did not write it, or not for this user."""
        data = _read(file_id)
        head, mac, tail = data[:_FIXED_BYTES], data[_FIXED_BYTES:][:_MAC_BYTES], data[_FIXED_BYTES + _MAC_BYTES :]
        if not data or not hmac.compare_digest(mac, self._mac(head + tail)):
            return None
        if user is not None and not hmac.compare_digest(head[21:29], self._user(user)):
            return None
        media_type, _, name = tail.partition(b"\0")
        return StoredUpload(
            upload_id=str(uuid.UUID(bytes=head[5:21])),
            name=name.decode(),
            media_type=media_type.decode(),
            size=int.from_bytes(head[33:37], "big"),
            created=int.from_bytes(head[29:33], "big"),
            purpose=PURPOSES[head[37]],
        )

    def _mac(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")[:_MAC_BYTES]

    def _user(self, user: str) -> bytes:
        return hashlib.sha256(self._key + user.encode("utf-8", "surrogatepass")).digest()[:8]


def _read(file_id: str) -> bytes:
    try:
        encoded = file_id.removeprefix(PREFIX).encode("ascii")
        data = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if len(data) > _FIXED_BYTES + _MAC_BYTES and data[0] == _VERSION else b""
