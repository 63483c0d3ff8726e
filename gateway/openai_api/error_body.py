"""GatewayError → OpenAI's error envelope, and the headers that tell a client whether and when to try again."""

from __future__ import annotations

from gateway import json_codec
from gateway.errors import GatewayError


def error_body(error: GatewayError) -> bytes:
    """All four keys always: OpenAI's schema requires them, null where there is nothing to say."""
    fields = {"message": error.message, "type": error.type, "param": error.param, "code": error.code}
    return json_codec.dumps({"error": fields})


def error_headers(error: GatewayError) -> dict[str, str]:
    """`x-should-retry` outranks the status in the official SDKs; `Retry-After` is read by all of them (seconds)."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers
