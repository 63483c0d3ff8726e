"""A message's content → its text and its files: a string, null, or an array of content parts."""

from __future__ import annotations

from gateway.errors import InvalidRequest
from gateway.exchange.attachment import Attachment
from gateway.frozen import frozen
from gateway.openai_api import file_parts
from gateway.openai_api.parameters import quote, read_object, read_text, require, wrong_type

# The part types that are text, and the field that holds it. Chat completions say text and refusal; the other two are
# the Responses API's words, which clients that speak both send here as well.
TEXT_FIELDS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}

# Parts are separate blocks (a document, then the question about it), so they must not run into one word. Text that
# has to stay in one piece comes in one part: no client splits a sentence over two.
PART_SEPARATOR = "\n"


@frozen
class Content:
    """What a message holds."""

    text: str = ""
    attachments: tuple[Attachment, ...] = ()


def read_content(content: object, path: str) -> Content:
    """All the text of one message's content, and its files in their order; null is the empty text."""
    if content is None:
        return Content()
    if isinstance(content, str):
        return Content(read_text(content, path))
    if not isinstance(content, list):
        raise wrong_type(path, "a string or an array", content)
    parts = [_read_part(part, f"{path}[{index}]") for index, part in enumerate(content)]
    texts = [part for part in parts if isinstance(part, str) and part]
    return Content(PART_SEPARATOR.join(texts), tuple(part for part in parts if isinstance(part, Attachment)))


def _read_part(part: object, path: str) -> str | Attachment:
    fields = read_object(part, path)
    part_type = read_text(require(fields.get("type"), f"{path}.type"), f"{path}.type")
    if field := TEXT_FIELDS.get(part_type):
        return read_text(require(fields.get(field), f"{path}.{field}"), f"{path}.{field}")
    if read_file := file_parts.PARTS.get(part_type):
        return read_file(fields, path)
    supported = ", ".join(map(repr, [*TEXT_FIELDS, *file_parts.PARTS]))
    message = f"Invalid content part: the type {quote(part_type)} is not supported. Supported types are: {supported}."
    raise InvalidRequest(message, param=path, code="unsupported_content_part")
