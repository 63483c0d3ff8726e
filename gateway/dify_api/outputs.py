"""A workflow's outputs as the text of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ujson


def render_outputs(outputs: Mapping[str, Any]) -> str:
    """All outputs in their order, one after the other, as Dify >= 1.9 streams them."""
    return "\n".join(render_output(value) for value in outputs.values())


def render_output(value: Any) -> str:
    """One output: strings as they are, files as links, other values as compact JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if _is_file(value):
        mark = "!" if value.get("type") == "image" else ""
        return f"{mark}[{value.get('filename') or ''}]({value['url']})"
    if _is_file_list(value):
        return "\n".join(render_output(file) for file in value)
    # For people to read, so not escaped like the bodies that json_codec writes.
    return ujson.dumps(value, ensure_ascii=False, escape_forward_slashes=False)


def renders_as_dify(value: Any) -> bool:
    """Whether `render_output` gives the very text that Dify >= 1.9 streams for the value.

    It does not for booleans (`True`), lists (`- one` lines) and objects (indented JSON).
    """
    return value is None or type(value) in (str, int, float) or _is_file(value) or _is_file_list(value)


def _is_file(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.get("dify_model_identity") == "__dify__file__"
        and isinstance(value.get("url"), str)
    )


def _is_file_list(value: Any) -> bool:
    return isinstance(value, list) and all(_is_file(item) for item in value)  # an empty list is no text for Dify too
