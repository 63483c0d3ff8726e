"""The GatewayError family: what a client gets instead of the answer it asked for.

Raise the answer the client should see; `web` renders it in one place. `status`, `type` and `code` follow OpenAI's
error envelope; `should_retry` becomes `x-should-retry` (the official SDKs obey it), `retry_after` `Retry-After`.
"""

from __future__ import annotations

from typing import ClassVar


class GatewayError(Exception):
    """Base of every answer that is an error.

    `param` is the path of the offending parameter (`messages[0].content`); `code` may refine the class's code.
    `should_retry` is None where the status alone says enough, False whenever Dify may already have run.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    default_code: ClassVar[str | None] = "internal_error"
    default_should_retry: ClassVar[bool | None] = None
    default_retry_after: ClassVar[int | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        should_retry: bool | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.should_retry = self.default_should_retry if should_retry is None else should_retry
        self.retry_after = self.default_retry_after if retry_after is None else retry_after  # whole seconds


# --- the client's side ------------------------------------------------------------------------------------------------


class InvalidRequest(GatewayError):
    """The client's request cannot be understood or fulfilled as it stands."""

    status, type, default_code = 400, "invalid_request_error", "invalid_value"


class InvalidClientKey(GatewayError):
    """No client key, or one that is not in VALID_API_KEYS."""

    status, type, default_code = 401, "invalid_request_error", "invalid_api_key"


class ModelNotFound(GatewayError):
    """No Dify app answers under this model id."""

    status, type, default_code = 404, "invalid_request_error", "model_not_found"


class ConversationNotFound(GatewayError):
    """Dify knows no such conversation for this app and user."""

    status, type, default_code = 404, "invalid_request_error", "conversation_not_found"


class FileNotFound(GatewayError):
    """No file of /v1/files has this id."""

    status, type, default_code = 404, "invalid_request_error", "file_not_found"


class UnknownRoute(GatewayError):
    """Nothing is served under this path."""

    status, type, default_code = 404, "invalid_request_error", "unknown_url"


class MethodNotAllowed(GatewayError):
    """The path exists, the method does not."""

    status, type, default_code = 405, "invalid_request_error", "method_not_allowed"


class IdempotencyConflict(GatewayError):
    """The request was made before, and its answer cannot be shown again."""

    status, type, default_code, default_should_retry = 409, "invalid_request_error", "idempotency_conflict", False


class IdempotencyKeyReused(GatewayError):
    """The Idempotency-Key belongs to another request (422 as in draft-ietf-httpapi-idempotency-key-header)."""

    status, type, default_code = 422, "invalid_request_error", "idempotency_key_reused"


class BodyTooLarge(GatewayError):
    """The request body is over MAX_BODY_BYTES."""

    status, type, default_code = 413, "invalid_request_error", "body_too_large"


class RateLimited(GatewayError):
    """Dify, or the model provider behind it, has no room for this request now."""

    status, type, default_code, default_retry_after = 429, "rate_limit_error", "rate_limit_exceeded", 5


class UpstreamBusy(GatewayError):
    """Dify's share of slots is taken and the queue for them is full or too slow: nothing was sent."""

    status, type, default_code, default_retry_after = 429, "rate_limit_error", "upstream_busy", 5


class QuotaExceeded(GatewayError):
    """A quota of Dify's workspace or model provider is used up; waiting a little does not help."""

    status, type, default_code, default_should_retry = 429, "insufficient_quota", "insufficient_quota", False


# --- our side and Dify's side -----------------------------------------------------------------------------------------


class InternalError(GatewayError):
    """A fault of the gateway itself; the log has the traceback."""

    status, default_code, default_should_retry = 500, "internal_error", False


class UpstreamUnreachable(GatewayError):
    """No connection to Dify (DNS, refused, TLS): nothing was sent, so a retry is safe."""

    status, default_code = 502, "upstream_unreachable"


class UpstreamKeyRejected(GatewayError):
    """Dify refuses the app key or the app is switched off: the operator's business, never the client's 401."""

    status, default_code, default_should_retry = 502, "upstream_key_rejected", False


class UpstreamProtocolError(GatewayError):
    """What came back is not Dify's API (HTML of a proxy, garbage, an unexpected status or content type)."""

    status, default_code, default_should_retry = 502, "upstream_protocol_error", False


class UpstreamTruncated(GatewayError):
    """The connection ended before Dify's terminal event: the answer is not whole."""

    status, default_code, default_should_retry = 502, "upstream_truncated", False


class RunFailed(GatewayError):
    """Dify ran the app and reported a failure: a workflow node, a provider, an internal error."""

    status, default_code, default_should_retry = 502, "run_failed", False


class UnusableAnswer(GatewayError):
    """The app has answered, also when asked again, but not with the call or the JSON that the client demands."""

    status, default_code, default_should_retry = 502, "unusable_answer", False


class UpstreamOverloaded(GatewayError):
    """Dify or the model provider says that it is not available now."""

    status, default_code, default_retry_after = 503, "upstream_overloaded", 5


class AppUnavailable(GatewayError):
    """The Dify app exists but cannot run as it is configured (not published, no model credentials)."""

    status, default_code, default_should_retry = 503, "app_unavailable", False


class Overloaded(GatewayError):
    """This process has no room for another answer, or too many start at once: nothing was sent."""

    status, default_code, default_retry_after = 503, "gateway_overloaded", 5


class NotReady(GatewayError):
    """No Dify app is known yet: the registry has not been able to ask Dify since the start."""

    status, default_code, default_retry_after = 503, "not_ready", 5


class ShuttingDown(GatewayError):
    """The process ends; this answer was cut and its run in Dify stopped."""

    status, default_code, default_should_retry = 503, "shutting_down", False


class UpstreamTimeout(GatewayError):
    """Dify did not connect, answer or go on in time."""

    status, default_code, default_should_retry = 504, "upstream_timeout", False
