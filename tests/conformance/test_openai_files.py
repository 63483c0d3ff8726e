"""Pictures, documents and sound as users of the newest openai-python send them, to Difys of all releases."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIStatusError, BadRequestError, NotFoundError, OpenAI

from tests.conformance.conftest import KEY, Dify, Gateway
from tests.conformance.models import FILE_WORKFLOW, FILES

PNG = b"\x89PNG\r\n\x1a\n picture"
PDF = b"%PDF-1.7 text"


@pytest.fixture(scope="module")
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=gateway.base_url, api_key=KEY, max_retries=0) as client:
        yield client


def data_url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


PICTURE = {"type": "image_url", "image_url": {"url": data_url(PNG, "image/png"), "detail": "low"}}
DOCUMENT = {"type": "file", "file": {"filename": "a.pdf", "file_data": data_url(PDF, "application/pdf")}}
SOUND = {"type": "input_audio", "input_audio": {"data": base64.b64encode(b"RIFF").decode(), "format": "wav"}}


def messages(*parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "Look. [[n=3]]"}, *parts]}]


def sent_to_the_app(dify: Dify, user: str) -> Any:
    """The last request that ran an app for this user."""
    return [entry["body"] for entry in dify.requests(user) if entry["path"] != "/v1/files/upload"][-1]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", FILES.values())
def test_every_kind_of_part_is_answered(client: OpenAI, dify: Dify, user: str, model: str, stream: bool) -> None:
    asked = client.chat.completions.create(
        model=model, messages=messages(PICTURE, DOCUMENT, SOUND), user=user, stream=stream
    )
    if stream:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in asked)  # type: ignore[union-attr]
    else:
        text = asked.choices[0].message.content  # type: ignore[union-attr]
    assert text.strip() == "w1 w2 w3"
    assert [file["type"] for file in sent_to_the_app(dify, user)["files"]] == ["image", "document", "audio"]


def test_a_workflow_gets_its_files_as_inputs(client: OpenAI, dify: Dify, user: str) -> None:
    client.chat.completions.create(model=FILE_WORKFLOW, messages=messages(PICTURE, DOCUMENT), user=user)
    inputs = sent_to_the_app(dify, user)["inputs"]
    assert (inputs["doc"]["type"], inputs["pics"][0]["type"]) == ("document", "image")


@pytest.mark.parametrize("model", FILES.values())
def test_an_uploaded_file_is_used_by_its_id(client: OpenAI, dify: Dify, user: str, model: str, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(PDF)
    file = client.files.create(file=path, purpose="user_data", extra_body={"model": model, "user": user})
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(PDF), "report.pdf", "user_data")
    assert client.files.retrieve(file.id) == file
    part = {"type": "file", "file": {"file_id": file.id}}
    client.chat.completions.create(model=model, messages=messages(part), user=user)
    (sent,) = sent_to_the_app(dify, user)["files"]
    assert (sent["type"], sent["transfer_method"]) == ("document", "local_file")


def test_refusals_are_the_sdks_errors(client: OpenAI, user: str) -> None:
    model = FILES["1.12.1"]
    part = {"type": "file", "file": {"file_id": "file-abc"}}
    with pytest.raises(BadRequestError) as unknown:
        client.chat.completions.create(model=model, messages=messages(part), user=user)
    assert (unknown.value.code, unknown.value.param) == ("file_not_found", "messages[0].content[1].file.file_id")
    with pytest.raises(NotFoundError):
        client.files.retrieve("file-abc")
    with pytest.raises(APIStatusError, match="No list of files"):
        client.files.list()
