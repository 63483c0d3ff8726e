"""A message's content → its text: a string, null, or an array of content parts."""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.openai_api.parameters import quote, read_object, read_text, require, wrong_type

# The part types that are text, and the field that holds it. Chat completions say text and refusal; the other two are
# the Responses API's words, which clients that speak both send here as well.
TEXT_FIELDS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}

# Parts are separate blocks (a document, then the question about it), so they must not run into one word. Text that
# has to stay in one piece comes in one part: no client splits a sentence over two.
PART_SEPARATOR = "\n"


def read_content(content: object, path: str) -> str:
    """All the text of one message's content; null is the empty text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return read_text(content, path)
    if not isinstance(content, list):
        raise wrong_type(path, "a string or an array", content)
    texts = [_read_part(part, f"{path}[{index}]") for index, part in enumerate(content)]
    return PART_SEPARATOR.join(text for text in texts if text)


def _read_part(part: object, path: str) -> str:
    fields = read_object(part, path)
    part_type = read_text(require(fields.get("type"), f"{path}.type"), f"{path}.type")
    field = TEXT_FIELDS.get(part_type)
    if field is None:
        message = f"Invalid content part: the type {quote(part_type)} is not supported; send text parts only."
        raise InvalidRequest(message, param=path, code="unsupported_content_part")
    return read_text(require(fields.get(field), f"{path}.{field}"), f"{path}.{field}")
