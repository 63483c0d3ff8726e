"""What Dify says when something fails, as the GatewayError that a client should get.

Dify flattens most failures to 400 and says in words what happened, so the words decide here: never a whole message,
always a pattern, as messages change between releases and carry routing hints and validators' dumps.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.dify_api.failure import Failure, FailureKind, one_line, status_pattern
from gateway.errors import (
    AppUnavailable,
    BodyTooLarge,
    ConversationNotFound,
    GatewayError,
    InvalidRequest,
    QuotaExceeded,
    RateLimited,
    RunFailed,
    UpstreamKeyRejected,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from gateway.json_codec import loads

# The beginnings of the fields that count, in a body that is cut.
_FIELD = re.compile(r'"(code|message)"\s*:\s*("(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)', re.DOTALL)

# A validator's dump (>= 1.11) repeats the input and ends in a link to the validator's manual; 404s end in a hint at
# other routes (>= 1.8).
_NOISE = re.compile(
    r"\[type=\w+, input_value=.*?, input_type=\w+\]|For further information visit \S+|You have requested this URI \[.*",
    re.DOTALL,
)


def error_from_response(status: int, content_type: str, body: bytes, retry_after: int | None = None) -> GatewayError:
    """The error for an HTTP answer that is not the stream asked for: Dify's own, or a proxy's in front of it.

    The body may be cut: an error that repeats what was sent can be as long as that.
    """
    envelope = _read_envelope(content_type, body)
    message = _text(envelope.get("message"))
    details = envelope.get("errors")
    if isinstance(details, dict):  # 1.8 to 1.10 put the useful words there
        message = f"{message} {', '.join(f'{name}: {detail}' for name, detail in details.items())}"
    return _find_error(
        Failure(_words(message), _text(envelope.get("code")), status, bool(envelope), False, retry_after)
    )


def error_from_event(code: str, status: int | None, message: str) -> GatewayError:
    """The error for an `error` event, or for what a failed run says of itself (then `code` is empty)."""
    return _find_error(Failure(_words(message), code, status, in_stream=True))


def _find_error(failure: Failure) -> GatewayError:
    return next(error for kind in KINDS if (error := kind.match(failure)) is not None)


def _read_envelope(content_type: str, body: bytes) -> dict[str, Any]:
    if not ("json" in content_type.lower() or body.lstrip().startswith(b"{")):
        return {}
    try:
        envelope = loads(body)
    except ValueError:
        envelope = {name: loads(f'{text}"') for name, text in _FIELD.findall(body.decode("utf-8", "replace"))}
    return envelope if isinstance(envelope, dict) and ("message" in envelope or "code" in envelope) else {}


def _words(message: str) -> str:
    return one_line(_NOISE.sub("", message[:8000]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


_NO_RETRY = {"should_retry": False}
_NO_ROOM = "The app has as many runs as Dify allows at once."
_MISCONFIGURED = "The Dify app cannot run as it is configured.{dify}"
_WRONG_PLACE = "Check that DIFY_API_BASE leads to Dify's API and ends in /v1.{dify}"

# The first row that matches counts, and the last one always does.
KINDS = (
    # Who may ask, and whether there is room for a run. Dify documents 429 for its limit per app; 0.15 to 1.12 send 400.
    FailureKind(AppUnavailable, _MISCONFIGURED, codes=("workflow_version_execution_not_allowed",)),
    FailureKind(
        UpstreamKeyRejected,
        "Dify refuses the app key that the gateway is configured with. Its operator has to check the key, that the app"
        " still exists, and that the app's API is switched on.{dify}",
        statuses=(401, 403),
        by_dify=True,
    ),
    FailureKind(RateLimited, _NO_ROOM, codes=("too_many_requests",), options={"should_retry": True}),
    FailureKind(
        RateLimited, _NO_ROOM, codes=("invalid_param",), says="^Too many requests", options={"should_retry": True}
    ),
    FailureKind(
        QuotaExceeded, "A quota in Dify is used up.{dify}", codes=("rate_limit_error", "provider_quota_exceeded")
    ),
    # The app cannot run as it is.
    FailureKind(
        AppUnavailable,
        "The Dify app is of another mode than the gateway took it for.{dify}",
        codes=("not_chat_app", "not_workflow_app"),
        options={"code": "wrong_app_mode"},
    ),
    FailureKind(
        AppUnavailable,
        _MISCONFIGURED,
        codes=("provider_not_initialize", "model_currently_not_support", "app_unavailable", "agent_not_published"),
    ),
    FailureKind(
        AppUnavailable,
        _MISCONFIGURED,
        says=r"^(?:Run failed: )?(?:(?:Provider|Model) \S+ (?:does not exist|not exist|credentials is not initialized)"
        r"|(?:Workflow|App|Agent)\b.{0,60} not published)",
        by_dify=True,
    ),
    # A run failed. What the provider or the node said is quoted in the words; what they do not prove stays RunFailed.
    FailureKind(
        QuotaExceeded,
        "The model provider says that a quota is used up.{dify}",
        says="insufficient_quota|exceeded your current quota",
        is_run=True,
        options={"code": "provider_quota_exceeded"},
    ),
    FailureKind(
        RateLimited,
        "The model provider has no room for this request now.{dify}",
        says=status_pattern("429", r"\btoo many requests\b", "InvokeRateLimitError", r"\brate[ _-]?limit"),
        is_run=True,
        options={"code": "provider_rate_limited", "should_retry": False},
    ),
    # Dify's words are left out: "Incorrect API key provided" is about Dify's key, and a client takes it for its own.
    FailureKind(
        RunFailed,
        "The model provider refused the credentials that Dify has for it. Whoever runs Dify has to check them.",
        says=status_pattern(
            "401|403",
            "401 unauthorized",
            "403 forbidden",
            "InvokeAuthorizationError",
            r"\b(?:incorrect|invalid) (?:x-)?(?:model )?(?:api[ _-]?key|credentials)",
        ),
        is_run=True,
        options={"code": "provider_auth_failed"},
    ),
    FailureKind(
        InvalidRequest,
        "The conversation is too long for the app's model.{dify}",
        says="prompt is too long|maximum context length|context_length_exceeded",
        is_run=True,
        param="messages",
        options={"code": "context_length_exceeded", "should_retry": False},
    ),
    FailureKind(
        UpstreamTimeout,
        "The model provider did not answer in time.{dify}",
        says=status_pattern("504|524", "504 gateway", r"\btimed out\b", r"\bread ?timeout", "deadline exceeded"),
        is_run=True,
        options={"code": "provider_timeout"},
    ),
    FailureKind(
        UpstreamOverloaded,
        "The model provider is not available now.{dify}",
        says=status_pattern(
            "503|529",
            "503 service",
            "InvokeServerUnavailableError",
            "InvokeConnectionError",
            r"\boverloaded",
            "server unavailable",
        ),
        is_run=True,
        options={"code": "provider_unavailable", "should_retry": False},
    ),
    FailureKind(RunFailed, "The run of the Dify app failed.{dify}", is_run=True),
    # Dify refused the request before any run. Since 1.13 that may also be said in the stream.
    FailureKind(
        InvalidRequest,
        "Dify refuses an input of the app.{dify}",
        says=r"^(?:\(type '[\w-]+'\) )?(?P<variable>\S+) (?:is required )?in input form\b",
        param="inputs.{variable}",
        options=_NO_RETRY,
    ),
    FailureKind(
        InvalidRequest,
        "Dify refuses a file.{dify}",
        says=r"Invalid upload file|File validation failed|Number of (?:\w+ )?files exceeds|Invalid file url"
        r"|\bToolFile\b|is not a valid FileType|Reached maximum retries .* for URL|Detected file type does not match"
        r"|^Filename contains invalid|^The specified filename does not exist|^File extension .* is not allowed",
        param="messages",
        options={**_NO_RETRY, "code": "file_refused"},
    ),
    FailureKind(
        BodyTooLarge,
        "The file is larger than Dify takes.",
        codes=("file_too_large",),
        param="messages",
        options={"code": "file_too_large"},
    ),
    FailureKind(
        InvalidRequest,
        "Dify refuses the form's inputs.{dify}",
        codes=("invalid_form_data",),
        param="messages",
        options={**_NO_RETRY, "code": "invalid_form_data"},
    ),
    FailureKind(
        InvalidRequest, "The message is empty.", says="^query is required", param="messages", options=_NO_RETRY
    ),
    FailureKind(ConversationNotFound, "Dify knows no such conversation of this user.", says="^Conversation Not Exists"),
    FailureKind(ConversationNotFound, "Dify has ended this conversation.", codes=("conversation_completed",)),
    FailureKind(UpstreamProtocolError, f"Dify has no such address (HTTP 404). {_WRONG_PLACE}", statuses=(404,)),
    FailureKind(BodyTooLarge, "The request is too large for Dify or for a proxy in front of it.", statuses=(413,)),
    FailureKind(
        InvalidRequest,
        "Dify takes no files of this type.{dify}",
        codes=("unsupported_file_type", "unsupported_audio_type", "file_extension_blocked"),
        param="messages",
        options={**_NO_RETRY, "code": "unsupported_file_type"},
    ),
    FailureKind(RunFailed, "Dify does not understand the gateway's request.{dify}", statuses=(415,), by_dify=True),
    FailureKind(RunFailed, "Dify reports an internal error.{dify}", statuses=(500,)),
    FailureKind(RunFailed, "The run of the Dify app failed.{dify}", in_stream=True),
    FailureKind(
        InvalidRequest, "Dify refuses the request.{dify}", statuses=(400, 422), by_dify=True, options=_NO_RETRY
    ),
    # A proxy speaks, or a server that is not Dify.
    FailureKind(RateLimited, "Dify, or a proxy in front of it, takes no more requests now.{dify}", statuses=(429,)),
    FailureKind(UpstreamOverloaded, "Dify, or a proxy in front of it, is not available now.{dify}", statuses=(503,)),
    FailureKind(UpstreamTimeout, "A proxy waited too long for Dify (HTTP {status}).", statuses=(504, 522, 524)),
    FailureKind(UpstreamProtocolError, "A proxy cannot reach Dify (HTTP {status}).", statuses=(502, 520, 521, 523)),
    FailureKind(UpstreamProtocolError, f"The answer is not from Dify's API (HTTP {{status}}). {_WRONG_PLACE}"),
)
