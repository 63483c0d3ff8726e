"""A debug trace of one request: what Dify was asked, and every event that it answered, in the log.

Off unless an operator names the request or its client in TRACE_REQUESTS. Texts are shown by their length only, unless
TRACE_TEXT says otherwise; keys never, as in every log line.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from gateway.json_codec import dumps, loads

log = logging.getLogger("gateway.trace")

_EVERYBODY = "*"
_LONGEST = 8192  # characters of one line's JSON

# Fields whose text is an id, a kind or a state, and so tells what happened without telling what was said.
_SHOWN = frozenset(
    {
        *("event", "id", "task_id", "message_id", "conversation_id", "workflow_run_id", "workflow_id", "app_id"),
        *("node_id", "node_type", "node_execution_id", "status", "mode", "response_mode", "type", "code", "message"),
        *("error", "role", "tool", "transfer_method", "upload_file_id", "from_variable_selector", "title"),
    }
)

# Where these fields are Dify's and OpenAI's own, beside the top. Anywhere else (inputs, outputs, what tools are given)
# whoever made the app has chosen the names, and a variable called `title` may hold anything.
_PLACES = frozenset({"data", "messages", "content", "tool_calls", "files", "tools", "response_format"})


def is_traced(wanted: Collection[str], *names: str | None) -> bool:
    """Whether one of a request's names (its id, its client) is among those that the operator wrote."""
    return bool(wanted) and (_EVERYBODY in wanted or any(name in wanted for name in names))


def redacted(value: Any, shown: Collection[str] = _SHOWN, *, is_shown: bool = False) -> Any:
    """The same JSON with lengths in the place of texts, but for the fields that are `shown`."""
    if isinstance(value, dict):
        return {
            key: redacted(inner, shown if key in _PLACES else (), is_shown=key in shown) for key, inner in value.items()
        }
    if isinstance(value, list):
        return [redacted(inner, shown, is_shown=is_shown) for inner in value]
    if isinstance(value, str) and value and not is_shown:
        return f"<{len(value)} characters>"
    return value


class RequestTrace:
    """Writes one request's trace."""

    def __init__(self, request_id: str, *, with_text: bool) -> None:
        self._request_id = request_id
        self._with_text = with_text

    def received(self, body: bytes) -> None:
        """What the client sent."""
        self._write("client asks", body)

    def asked(self, method: str, path: str, body: bytes | None) -> None:
        """What Dify is sent."""
        self._write("Dify is asked", body or b"", call=f"{method} {path.partition('?')[0]}")

    def heard(self, event: bytes) -> None:
        """The data of one event of Dify."""
        self._write("Dify answers", event)

    def _write(self, what: str, data: bytes, **fields: object) -> None:
        log.info(what, extra={"fields": {"request_id": self._request_id, **fields, "data": self._shown(data)}})

    def _shown(self, data: bytes) -> str:
        try:
            value = loads(data)
            text = dumps(value if self._with_text else redacted(value)).decode()
        except (ValueError, RecursionError):
            return f"<{len(data)} bytes that are no JSON>" if data else ""
        return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
