"""Name and type of a file, told from what clients say."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dify_api.file_types import file_type
from gateway.exchange.attachment import Attachment, FileKind, InlineFile, RemoteFile

INLINE = InlineFile(b"x")


@pytest.mark.parametrize(
    ("kind", "name", "media_type", "found"),
    [
        (FileKind.IMAGE, None, "image/png", ("image", "image.png", "image/png")),
        (FileKind.IMAGE, None, "image/heic", ("image", "image.heic", "image/heic")),
        (FileKind.IMAGE, None, "application/pdf", ("document", "document.pdf", "application/pdf")),
        (FileKind.IMAGE, None, "video/mp4", ("video", "video.mp4", "video/mp4")),
        (FileKind.AUDIO, "audio.wav", "audio/wav", ("audio", "audio.wav", "audio/wav")),
        (None, None, "text/x-python", ("document", "document.txt", "text/x-python")),
        (None, None, "application/x-thing", ("document", "document.bin", "application/x-thing")),
        (None, "notes.MD", None, ("document", "notes.MD", "text/markdown")),
        (None, "a.mp3", None, ("audio", "a.mp3", "audio/mpeg")),
        (None, "a.webm", "audio/webm", ("audio", "a.webm", "audio/webm")),
        (None, "a.zip", "application/zip", ("document", "a.zip", "application/zip")),
        (None, "a.PNG", "application/octet-stream", ("image", "a.PNG", "image/png")),
        (FileKind.IMAGE, None, "application/octet-stream", ("document", "document.bin", "application/octet-stream")),
        (None, "a.bin", None, ("document", "a.bin", "application/octet-stream")),
        (None, "report", "application/pdf", ("document", "report.pdf", "application/pdf")),
        (None, "../../etc/pass:wd?.txt", "text/plain", ("document", "pass_wd_.txt", "text/plain")),
        (None, "C:\\a\\b.csv", "text/csv", ("document", "b.csv", "text/csv")),
        (None, "two\r\nlines.txt", "text/plain", ("document", "two_lines.txt", "text/plain")),
        (None, "图 片😀.png", "image/png", ("image", "图 片😀.png", "image/png")),
        (None, " . ", "image/png", ("image", "image.png", "image/png")),
    ],
)
def test_an_inline_file(
    kind: FileKind | None, name: str | None, media_type: str | None, found: tuple[str, str, str]
) -> None:
    told = file_type(Attachment("p", INLINE, kind, name, media_type))
    assert (told.kind, told.name, told.media_type) == found


@pytest.mark.parametrize(
    ("kind", "url", "found"),
    [
        (FileKind.IMAGE, "https://x.example/a/cat%20two.JPG?s=1", ("image", "cat two.JPG")),
        (FileKind.IMAGE, "https://x.example/", ("image", "image")),
        (FileKind.IMAGE, "https://x.example/photo", ("image", "photo")),
        (FileKind.IMAGE, "https://x.example/report.pdf", ("document", "report.pdf")),
        (None, "https://x.example/film.mp4", ("video", "film.mp4")),
        (None, "https://x.example/what", ("document", "what")),
    ],
)
def test_a_remote_file(kind: FileKind | None, url: str, found: tuple[str, str]) -> None:
    told = file_type(Attachment("p", RemoteFile(url), kind))
    assert (told.kind, told.name) == found


def test_common_is_what_dify_knows() -> None:
    common = {
        name: file_type(Attachment("p", INLINE, name=name)).is_common for name in ("a.PDF", "a.mov", "a.zip", "a")
    }
    assert common == {"a.PDF": True, "a.mov": True, "a.zip": False, "a": False}


def test_a_long_name_keeps_its_extension() -> None:
    told = file_type(Attachment("p", INLINE, name="x" * 300 + ".pdf"))
    assert (len(told.name), told.extension) == (200, ".pdf")


@pytest.mark.parametrize(
    ("name", "size_class"), [("a.JPEG", "image"), ("a.mp3", "audio"), ("a.mov", "video"), ("a.txt", "document")]
)
def test_dify_measures_by_the_extension(name: str, size_class: str) -> None:
    assert file_type(Attachment("p", INLINE, FileKind.IMAGE, name, "image/png")).size_class == size_class


@given(
    st.none() | st.sampled_from(list(FileKind)),
    st.none() | st.text(max_size=250),
    st.none() | st.sampled_from(["image/png", "audio/x", "text/plain", "a/b", "video/x-y.z+w"]),
    st.sampled_from([INLINE, RemoteFile("https://x.example/%00%2e.%2fa"), RemoteFile("https://x.example/é.JPG")]),
)
@example(None, "\xa0", None, INLINE)
@example(None, ". \u3000.", None, INLINE)
def test_any_name_becomes_one_that_dify_takes(
    kind: FileKind | None, name: str | None, media_type: str | None, content: InlineFile | RemoteFile
) -> None:
    told = file_type(Attachment("p", content, kind, name, media_type))
    assert 0 < len(told.name) <= 204
    assert not set(told.name) & set('/\\:*?"<>|\r\n\0')
    assert told.name.strip()
    assert "/" in told.media_type
