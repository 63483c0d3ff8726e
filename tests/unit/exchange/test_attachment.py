"""Inline files: decoded late, told apart by their content, let go when Dify has them."""

from __future__ import annotations

import base64

import pytest

from gateway.exchange.attachment import Attachment, FileKind, InlineFile, StoredFile


def joined(file: InlineFile) -> bytes:
    return b"".join(file.decode())


@pytest.mark.parametrize("data", [b"", b"a", b"ab", b"abc", b"\x00\xff" * 500, b"xyz" * 200_001])
def test_base64_becomes_the_file_with_or_without_its_padding(data: bytes) -> None:
    encoded = base64.b64encode(data).decode()
    for written in (encoded, encoded.rstrip("=")):
        file = InlineFile(written)
        assert (joined(file), file.size) == (data, len(data))
    assert (joined(InlineFile(data)), InlineFile(data).size) == (data, len(data))


@pytest.mark.parametrize("written", ["AAA!", "A", "AA-_", "=AAA", "AA=A", "AA==AAAA"])
def test_what_is_no_base64_is_refused_when_it_is_decoded(written: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        list(InlineFile(written).decode())


def test_a_large_file_comes_in_pieces_and_is_hashed_in_steps() -> None:
    for content in ("QUJD" * 200_000, b"ABC" * 200_000):
        file = InlineFile(content)
        assert len(list(file.hash())) == -(-len(content) // (1 << 17))
        assert list(file.hash()) == []  # once is enough
        assert b"".join(file.decode()) == b"ABC" * 200_000
    assert InlineFile("QUJD" * 200_000).digest != InlineFile("QUJD" * 200_001).digest


def test_padding_between_two_pieces_is_no_base64() -> None:
    with pytest.raises(ValueError, match="padding"):
        list(InlineFile("QUJD" * ((1 << 15) - 1) + "QQ==" + "QUJD").decode())


def test_two_are_the_same_if_their_content_is() -> None:
    assert InlineFile("QUJD") == InlineFile("QUJD") != InlineFile("QUJE")
    assert len({InlineFile("QUJD"), InlineFile("QUJD"), InlineFile("QUJE")}) == 2


def test_neither_its_content_nor_a_copy_is_shown() -> None:
    assert "QUJD" not in repr(Attachment("p", InlineFile("QUJD")))


def test_a_file_that_was_let_go_holds_nothing() -> None:
    file = InlineFile("QUJD")
    file.let_go()
    assert (joined(file), file.size) == (b"", 3)


def test_a_mention_names_what_is_known() -> None:
    stored = StoredFile("file-1")
    assert Attachment("p", stored, FileKind.IMAGE, "cat.png").mention == "[attached: cat.png]"
    assert Attachment("p", stored, FileKind.IMAGE).mention == "[attached: image]"
    assert Attachment("p", stored).mention == "[attached: file]"
