"""POST /files/upload: a file → DifyCall, and what Dify answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gateway.dify_api.calls import DifyCall

_LINE_END = b"\r\n"


def upload(name: str, media_type: str, content: Iterable[bytes], digest: str, user: str) -> DifyCall:
    """Give Dify a file. `digest` tells its content from any other."""
    # Made of both so that neither can hold it: who knows his file knows its digest, and may call himself anything.
    boundary = b"opendify-" + hashlib.sha256(f"{digest} {user}".encode()).hexdigest()[:40].encode()
    body = b"".join(
        (
            *_part_head(boundary, b'name="user"'),
            _LINE_END,
            user.encode(),
            _LINE_END,
            *_part_head(boundary, b'name="file"; filename="' + _quoted(name) + b'"'),
            b"Content-Type: " + media_type.encode("ascii", "replace") + _LINE_END,
            _LINE_END,
            *content,
            _LINE_END + b"--" + boundary + b"--" + _LINE_END,
        )
    )
    return DifyCall("POST", "/files/upload", body, f"multipart/form-data; boundary={boundary.decode()}")


def upload_id(answer: object) -> str | None:
    """The file's id in a decoded answer; of all that Dify tells there, each version tells this."""
    found = answer.get("id") if isinstance(answer, dict) else None
    return found if isinstance(found, str) and found else None


def _part_head(boundary: bytes, disposition: bytes) -> tuple[bytes, ...]:
    return (b"--" + boundary + _LINE_END, b"Content-Disposition: form-data; " + disposition + _LINE_END)


def _quoted(name: str) -> bytes:
    """As browsers write it (HTML's multipart/form-data): UTF-8, with what would end the value escaped."""
    return name.encode("utf-8", "replace").replace(b'"', b"%22").replace(b"\r", b"%0D").replace(b"\n", b"%0A")
