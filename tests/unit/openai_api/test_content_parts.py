"""A message's content, in the forms that clients send, as text and files."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.exchange.attachment import RemoteFile, StoredFile
from gateway.openai_api.content_parts import Content, read_content


def text_part(text: Any) -> dict[str, Any]:
    return {"type": "text", "text": text}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("", ""),
        ("Hello", "Hello"),
        ("nul\0 byte", "nul byte"),
        ([], ""),
        ([text_part("Hello")], "Hello"),
        ([text_part("The whole report."), text_part("What is it about?")], "The whole report.\nWhat is it about?"),
        ([text_part(""), text_part("a"), text_part("\0"), text_part("b")], "a\nb"),
        ([{"type": "input_text", "text": "asked"}], "asked"),
        ([{"type": "output_text", "text": "told", "annotations": []}], "told"),
        ([{"type": "refusal", "refusal": "No."}], "No."),
        ([{"type": "text", "text": "cached", "cache_control": {"type": "ephemeral"}}], "cached"),
    ],
)
def test_content_becomes_text(content: Any, text: str) -> None:
    assert read_content(content, "content") == Content(text)


def test_files_keep_their_order_and_their_paths() -> None:
    url = {"type": "image_url", "image_url": {"url": "https://files.example/cat.png"}}
    file = {"type": "file", "file": {"file_id": "file-1"}}
    content = read_content([url, text_part("Which?"), file], "messages[2].content")
    assert content.text == "Which?"
    assert [(attachment.param, attachment.content) for attachment in content.attachments] == [
        ("messages[2].content[0].image_url.url", RemoteFile("https://files.example/cat.png")),
        ("messages[2].content[2].file.file_id", StoredFile("file-1")),
    ]


@pytest.mark.parametrize(
    ("content", "param", "code"),
    [
        (7, "content", "invalid_type"),
        (True, "content", "invalid_type"),
        (text_part("x"), "content", "invalid_type"),
        ("\ud800", "content", "invalid_value"),
        (["x"], "content[0]", "invalid_type"),
        ([None], "content[0]", "invalid_type"),
        ([{}], "content[0].type", "missing_required_parameter"),
        ([{"text": "x"}], "content[0].type", "missing_required_parameter"),
        ([{"type": 1, "text": "x"}], "content[0].type", "invalid_type"),
        ([{"type": ["text"], "text": "x"}], "content[0].type", "invalid_type"),
        ([text_part("x"), {"type": "text"}], "content[1].text", "missing_required_parameter"),
        ([text_part(None)], "content[0].text", "missing_required_parameter"),
        ([text_part(["x"])], "content[0].text", "invalid_type"),
        ([text_part("\udfff")], "content[0].text", "invalid_value"),
        ([{"type": "refusal", "text": "x"}], "content[0].refusal", "missing_required_parameter"),
    ],
)
def test_bad_content_is_refused_with_its_path(content: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_content(content, "content")
    assert (caught.value.param, caught.value.code) == (param, code)


def test_a_part_of_an_unknown_type_is_named_not_dropped() -> None:
    with pytest.raises(InvalidRequest, match=r"hologram.*'image_url'") as caught:
        read_content([text_part("Look:"), {"type": "hologram"}], "messages[2].content")
    assert (caught.value.param, caught.value.code) == ("messages[2].content[1]", "unsupported_content_part")
