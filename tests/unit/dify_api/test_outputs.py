"""A workflow's outputs as text."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dify_api.outputs import render_output, render_outputs, renders_as_dify


def file(kind: str, name: Any, url: Any = "http://x/f") -> dict[str, Any]:
    return {"dify_model_identity": "__dify__file__", "type": kind, "filename": name, "url": url, "tenant_id": "t"}


@pytest.mark.parametrize(
    ("value", "text", "as_dify"),
    [
        ("as it is\n ", "as it is\n ", True),
        ("", "", True),
        (None, "", True),
        (3, "3", True),
        (2.5, "2.5", True),
        (True, "true", False),
        ({"a": [1, "é😀</b>"]}, '{"a":[1,"é😀</b>"]}', False),
        (["w1 ", "w2 "], '["w1 ","w2 "]', False),
        ([], "", True),
        (file("document", "a.pdf"), "[a.pdf](http://x/f)", True),
        (file("image", "a.png"), "![a.png](http://x/f)", True),
        (file("custom", None), "[](http://x/f)", True),
        ([file("image", "a.png"), file("audio", "b.mp3")], "![a.png](http://x/f)\n[b.mp3](http://x/f)", True),
        ({"url": "http://x/f", "type": "image"}, '{"url":"http://x/f","type":"image"}', False),
    ],
)
def test_values(value: Any, text: str, as_dify: bool) -> None:
    assert render_output(value) == text
    assert renders_as_dify(value) is as_dify


def test_a_file_without_address_is_an_object_like_others() -> None:
    assert render_output(file("image", "a.png", None)).startswith("{")


def test_outputs_are_joined_in_their_order() -> None:
    assert render_outputs({"b": "x", "a": None, "c": 0.93}) == "x\n\n0.93"
    assert render_outputs({"only": "x "}) == "x "
    assert render_outputs({}) == ""


def test_deep_values_are_rendered() -> None:
    value: Any = "x"
    for _ in range(1010):
        value = [value]
    assert len(render_output(value)) == 2023
