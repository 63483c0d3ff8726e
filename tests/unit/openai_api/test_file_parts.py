"""Content parts that are files, in the forms that clients send."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.exchange.attachment import Attachment, FileKind, InlineFile, RemoteFile, StoredFile
from gateway.openai_api.file_parts import PARTS

PNG = base64.b64encode(b"\x89PNG picture").decode()
PDF = base64.b64encode(b"%PDF text").decode()
WEB = "https://files.example/a/cat.png?size=2"
FIELDS = st.sampled_from(
    ["url", "image_url", "audio_url", "video_url", "input_audio", "data", "format"]
    + ["file", "file_data", "file_id", "file_url", "filename"]
)


def read(part: dict[str, Any]) -> Attachment:
    return PARTS[part["type"]](part, "p")


@pytest.mark.parametrize(
    ("part", "attachment"),
    [
        (
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
            Attachment("p.image_url.url", InlineFile(PNG), FileKind.IMAGE, None, "image/png"),
        ),
        (
            {"type": "image_url", "image_url": f"DATA:Image/PNG;name=a%20cat.png;BASE64,{PNG}"},
            Attachment("p.image_url", InlineFile(PNG), FileKind.IMAGE, "a cat.png", "image/png"),
        ),
        (
            {"type": "image_url", "image_url": {"url": f" {WEB} "}},
            Attachment("p.image_url.url", RemoteFile(WEB), FileKind.IMAGE),
        ),
        (
            {"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Csvg/%3E"}},
            Attachment("p.image_url.url", InlineFile(b"<svg/>"), FileKind.IMAGE, None, "image/svg+xml"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "WAV"}},
            Attachment("p.input_audio.data", InlineFile("AAAA"), FileKind.AUDIO, "audio.wav", "audio/wav"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            Attachment("p.input_audio.data", InlineFile("AAAA"), FileKind.AUDIO, "audio.mp3", "audio/mpeg"),
        ),
        (  # some servers' manuals want this, without a media type or with one
            {"type": "input_audio", "input_audio": {"data": "data:;base64,AAAA", "format": "wav"}},
            Attachment("p.input_audio.data", InlineFile("AAAA"), FileKind.AUDIO, "audio.wav", "audio/wav"),
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "data:audio/mpeg;base64,AAAA", "format": "mp3"}},
            Attachment("p.input_audio.data", InlineFile("AAAA"), FileKind.AUDIO, "audio.mp3", "audio/mpeg"),
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
            Attachment("p.file.file_data", InlineFile(PDF), None, "a.pdf", "application/pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}},
            Attachment("p.file.file_data", InlineFile(PDF), None, None, "application/pdf"),
        ),
        (
            {"type": "file", "file": {"file_data": f"{PDF[:4]}\r\n {PDF[4:]}\n", "filename": "a.pdf"}},
            Attachment("p.file.file_data", InlineFile(PDF), None, "a.pdf"),
        ),
        ({"type": "file", "file": {"file_id": "file-1"}}, Attachment("p.file.file_id", StoredFile("file-1"))),
        (
            {"type": "input_image", "image_url": WEB, "detail": "auto"},
            Attachment("p.image_url", RemoteFile(WEB), FileKind.IMAGE),
        ),
        (
            {"type": "input_image", "file_id": "file-1", "image_url": None},
            Attachment("p.file_id", StoredFile("file-1"), FileKind.IMAGE),
        ),
        (
            {"type": "input_file", "file_url": WEB, "filename": "x.png"},
            Attachment("p.file_url", RemoteFile(WEB), None, "x.png"),
        ),
        (
            {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
            Attachment("p.file_data", InlineFile(PDF), None, "a.pdf"),
        ),
        ({"type": "input_file", "file_id": "file-1"}, Attachment("p.file_id", StoredFile("file-1"))),
        (
            {"type": "video_url", "video_url": {"url": WEB}},
            Attachment("p.video_url.url", RemoteFile(WEB), FileKind.VIDEO),
        ),
        ({"type": "audio_url", "audio_url": WEB}, Attachment("p.audio_url", RemoteFile(WEB), FileKind.AUDIO)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_part_becomes_an_attachment(part: dict[str, Any], attachment: Attachment) -> None:
    assert read(part) == attachment


@pytest.mark.parametrize(
    ("part", "param", "code"),
    [
        ({"type": "image_url"}, "p.image_url", "missing_required_parameter"),
        ({"type": "image_url", "image_url": {}}, "p.image_url.url", "missing_required_parameter"),
        ({"type": "image_url", "image_url": 5}, "p.image_url", "invalid_type"),
        ({"type": "image_url", "image_url": {"url": 5}}, "p.image_url.url", "invalid_type"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "http://[broken/"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "https://"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": WEB + "x" * 16_384}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": PNG}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:text/plain,\udfff"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,ä"}}, "p.image_url.url", "invalid_value"),
        ({"type": "image_url", "image_url": {"url": "data:text/plain,"}}, "p.image_url.url", "invalid_value"),
        (
            {"type": "input_audio", "input_audio": {"data": "data:audio/wav;base64,", "format": "wav"}},
            "p.input_audio.data",
            "invalid_value",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA"}},
            "p.input_audio.format",
            "missing_required_parameter",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "a/b"}},
            "p.input_audio.format",
            "invalid_value",
        ),
        ({"type": "input_audio", "input_audio": {"format": "wav"}}, "p.input_audio.data", "missing_required_parameter"),
        ({"type": "input_audio", "input_audio": {"data": 5, "format": "wav"}}, "p.input_audio.data", "invalid_type"),
        ({"type": "file"}, "p.file", "missing_required_parameter"),
        ({"type": "file", "file": {}}, "p.file.file_data", "missing_required_parameter"),
        ({"type": "file", "file": {"file_data": PDF}}, "p.file.filename", "missing_required_parameter"),
        ({"type": "file", "file": {"file_id": 5}}, "p.file.file_id", "invalid_type"),
        ({"type": "input_image"}, "p.image_url", "missing_required_parameter"),
        ({"type": "input_file", "file_data": PDF}, "p.filename", "missing_required_parameter"),
    ],
    ids=lambda value: repr(value)[:50] if isinstance(value, dict) else None,
)
def test_a_bad_part_is_refused_with_its_path(part: dict[str, Any], param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(part)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_base64_that_was_escaped_once_more_is_read() -> None:
    content = InlineFile("ab+/abc=")
    for escaped in ("ab%2B%2Fabc%3D", "ab%2b%2fab%0D%0Ac%3d", "ab+/%20ab\tc="):
        assert read({"type": "image_url", "image_url": f"data:image/png;base64,{escaped}"}).content == content
    with pytest.raises(ValueError, match="base64"):  # no base64 needs this, and to undo it takes seconds
        list(read_inline("data:image/png;base64,%41%41%41%41").decode())


def read_inline(url: str) -> InlineFile:
    content = read({"type": "image_url", "image_url": url}).content
    assert isinstance(content, InlineFile)
    return content


def test_a_text_can_be_escaped_but_not_by_the_megabyte() -> None:
    assert read_inline("data:image/svg+xml," + "%3Csvg/%3E" * 1000).size == 6000
    assert read_inline("data:text/plain," + "ä" * 1_000_000).size == 2_000_000
    with pytest.raises(InvalidRequest, match="base64") as caught:
        read_inline("data:text/plain," + "%41" * 100_000)
    assert caught.value.param == "p.image_url"


WORDS = st.sampled_from(
    ["", WEB, PNG, f"data:image/png;base64,{PNG}", "data:,", "data:a/b,x", "DATA:;;,", "http://[", "\udfff"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=8,
)


@given(st.sampled_from(list(PARTS)), st.dictionaries(FIELDS, VALUES, max_size=6))
def test_whatever_a_part_holds_it_is_read_or_refused_with_a_path(part_type: str, fields: dict[str, Any]) -> None:
    content: object = None
    try:
        attachment = PARTS[part_type](fields, "p")
        param, content = attachment.param, attachment.content
    except InvalidRequest as error:
        param = error.param or ""
    assert param.startswith("p.")
    if isinstance(content, InlineFile):
        with contextlib.suppress(ValueError):
            list(content.decode())
