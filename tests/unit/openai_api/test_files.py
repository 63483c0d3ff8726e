"""A form of POST /v1/files, and the File object that comes back."""

from __future__ import annotations

import json

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.attachment import Attachment, InlineFile
from gateway.openai_api.files import UploadRequest, file_document, read_upload
from tests.schemas import validate


def test_a_form_says_what_the_file_is_for() -> None:
    fields = {"purpose": "vision", "model": "m", "user": "ann", "expires_after[seconds]": "3600"}
    file = Attachment("file", InlineFile(b"png"), name="a.png", media_type="image/png")
    wanted = UploadRequest(file, "vision", "m", "ann", ("expires_after",))
    assert read_upload(fields, "a.png", "Image/PNG; x=y", b"png") == wanted


@pytest.mark.parametrize("media_type", ["", "application/octet-stream", "application/unknown", "png", "Ã¤/png"])
def test_a_type_that_says_nothing_is_none(media_type: str) -> None:
    assert read_upload({}, "a.png", media_type, b"x").file.media_type is None


def test_what_is_not_said_is_not_there() -> None:
    file = Attachment("file", InlineFile(b"x"), name="a.png")
    assert read_upload({"model": "", "user": ""}, "a.png", "", b"x") == UploadRequest(file, "user_data", None, None)


@pytest.mark.parametrize(("fields", "content", "param"), [({"purpose": "batch"}, b"x", "purpose"), ({}, b"", "file")])
def test_a_bad_form_is_refused(fields: dict[str, str], content: bytes, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_upload(fields, "a.png", "image/png", content)
    assert caught.value.param == param


def test_the_document_is_openais() -> None:
    body = json.loads(file_document("file-1", "图.png", 12, 1_800_000_000, "user_data", "Vision"))
    validate("OpenAIFile", body)
    assert body == {
        "id": "file-1",
        "object": "file",
        "bytes": 12,
        "created_at": 1_800_000_000,
        "filename": "图.png",
        "purpose": "user_data",
        "status": "processed",
        "dify": {"model": "Vision"},
    }
