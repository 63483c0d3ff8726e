"""POST /v1/files and GET /v1/files/{id}: a form → UploadRequest, and a file as OpenAI describes one."""

from __future__ import annotations

from collections.abc import Mapping

from gateway import json_codec
from gateway.errors import InvalidRequest
from gateway.exchange.attachment import Attachment, InlineFile
from gateway.frozen import frozen
from gateway.openai_api.file_parts import MEDIA_TYPE
from gateway.openai_api.parameters import pick, read_text

# What a file here can be for; OpenAI's other purposes are batches and training, which no app of Dify has.
PURPOSES = {purpose: purpose for purpose in ("user_data", "vision", "assistants")}
_NO_TYPES = frozenset({"application/octet-stream", "application/unknown"})  # what says nothing of a file


@frozen
class UploadRequest:
    """What a client wants to keep, and for whom."""

    file: Attachment
    purpose: str
    model: str | None  # None: there is only one that takes files
    user: str | None
    ignored: tuple[str, ...] = ()  # parameters that Dify has no place for


def read_upload(fields: Mapping[str, str], name: str, media_type: str, content: bytes) -> UploadRequest:
    """Read a decoded form; `model` and `user` are not OpenAI's. Raises InvalidRequest."""
    purpose = pick(PURPOSES, fields.get("purpose") or "user_data", "purpose")
    if not content:
        raise InvalidRequest("Invalid 'file': it is empty.", param="file")
    media_type = media_type.partition(";")[0].strip().lower()
    says_something = MEDIA_TYPE.fullmatch(media_type) and media_type not in _NO_TYPES
    file = Attachment(
        "file",
        InlineFile(content),
        name=read_text(name, "file") or None,
        media_type=media_type if says_something else None,
    )
    ignored = ("expires_after",) if any(name.startswith("expires_after") for name in fields) else ()
    return UploadRequest(file, purpose, fields.get("model") or None, fields.get("user") or None, ignored)


def file_document(file_id: str, name: str, size: int, created: int, purpose: str, model: str) -> bytes:
    """OpenAI's File object; `size` in bytes, `created` in Unix seconds. In `dify` the model that can use it."""
    return json_codec.dumps(
        {
            "id": file_id,
            "object": "file",
            "bytes": size,
            "created_at": created,
            "filename": name,
            "purpose": purpose,
            "status": "processed",  # Dify has nothing more to do with it
            "dify": {"model": model},
        }
    )
