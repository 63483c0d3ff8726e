"""OpenAI's published schemas (openai.json, a bundle of its OpenAPI document) as judge of what clients get."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

_BUNDLE = json.loads((Path(__file__).parent / "openai.json").read_text())
ROOTS: tuple[str, ...] = tuple(_BUNDLE["x-roots"])


def validate(root: str, body: Any) -> None:
    """Raise jsonschema.ValidationError unless `body`, decoded, is what the schema named `root` describes."""
    _validator(root).validate(body)


@cache
def _validator(root: str) -> Draft202012Validator:
    assert root in _BUNDLE["$defs"], f"no schema is named {root!r}"
    return Draft202012Validator({"$ref": f"#/$defs/{root}", "$defs": _BUNDLE["$defs"]})
