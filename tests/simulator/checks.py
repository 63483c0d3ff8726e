"""Request checks in Dify's order: key, user, mode, body. Each release words its refusals differently."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.simulator.apps import CHAT_MODES, App, AppTable
from tests.simulator.replies import ApiError, argument_error, error, unexpected_error
from tests.simulator.versions import VersionProfile
from tests.simulator.wire import HttpRequest

MAX_USER_LENGTH = 255
_NOT_UNDERSTOOD = "The browser (or proxy) sent a request that this server could not understand."
_WRONG_ROUTE = "Please check if your app mode matches the right API route."
WRONG_MODES: dict[str, tuple[frozenset[str], str, str]] = {
    "chat": (CHAT_MODES, "not_chat_app", _WRONG_ROUTE),
    "completion": (
        frozenset({"completion"}),
        "app_unavailable",
        "App unavailable, please check your app configurations.",
    ),
    "workflow": (frozenset({"workflow"}), "not_workflow_app", _WRONG_ROUTE),
    "flow": (frozenset({"workflow", "advanced-chat"}), "not_workflow_app", _WRONG_ROUTE),
}


@dataclass(frozen=True, slots=True)
class GenerationBody:
    """The body of a generation request, types checked, contents not."""

    inputs: dict[str, Any]
    query: str
    response_mode: str | None
    conversation_id: str | None
    files: Any
    auto_generate_name: bool


def find_app(request: HttpRequest, apps: AppTable, profile: VersionProfile) -> App:
    """The app of the Authorization header's key."""
    value = request.headers.get("authorization", "").strip()
    scheme, space, key = value.partition(" ")
    if not space:
        raise _unauthorized(profile, "Authorization header must be provided and start with 'Bearer'")
    if scheme.lower() != "bearer":
        raise _unauthorized(profile, "Authorization scheme must be 'Bearer'")
    app = apps.get(key.strip())
    if app is None:
        raise _unauthorized(profile, "Access token is invalid")
    if not app.status_normal:
        raise error(403, "forbidden", "The app's status is abnormal.")
    if not app.api_enabled:
        raise error(403, "forbidden", "The app's API service has been disabled.")
    return app


def read_object(request: HttpRequest, profile: VersionProfile) -> dict[str, Any]:
    """The JSON body; what is JSON but no object is a bug of Dify's, hence 500."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise error(
            415,
            "unsupported_media_type",
            "Did not attempt to load JSON data because the request Content-Type was not 'application/json'.",
        )
    body = request.body
    if body.startswith(b"\xef\xbb\xbf") and not profile.strict_bodies:
        body = body[3:]
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant if profile.strict_bodies else None)
    except RecursionError:
        raise _not_understood() if profile.strict_bodies else unexpected_error(profile) from None
    except ValueError:
        raise _not_understood() from None
    if not isinstance(value, dict):
        raise unexpected_error(profile)
    return value


def read_user(value: Any, profile: VersionProfile) -> str:
    if not value:
        raise error(400, "invalid_param", "Arg user must be provided.")
    if "\x00" in str(value):
        raise error(400, "invalid_param", "A string literal cannot contain NUL (0x00) characters.")
    if len(str(value)) > MAX_USER_LENGTH:
        raise unexpected_error(profile)  # the database column is that short
    return str(value)


def check_mode(app: App, family: str) -> None:
    modes, code, message = WRONG_MODES[family]
    if app.mode not in modes:
        raise error(400, code, message)


def read_body(body: dict[str, Any], family: str, profile: VersionProfile) -> GenerationBody:
    """Arguments of the three generation routes."""
    model = {"chat": "ChatRequestPayload", "completion": "CompletionRequestPayload"}.get(family, "WorkflowRunPayload")
    read = _ModernArguments(body, model, profile) if profile.strict_bodies else _LegacyArguments(body, model, profile)
    inputs = read.inputs()
    query = read.query() if family == "chat" else str(body.get("query") or "")
    _refuse_surrogates(query, profile)
    if family == "chat" and not query:
        raise error(400, "invalid_param", "query is required")
    mode = body.get("response_mode")
    if mode not in ("blocking", "streaming", None):
        raise read.bad_mode(mode)
    conversation_id = read.conversation_id() if family == "chat" else None
    if profile.strict_bodies and not isinstance(body.get("files") or [], list):
        raise read.wrong("files", "Input should be a valid list [type=list_type,", body["files"])
    automatic = body.get("auto_generate_name", True)
    return GenerationBody(
        inputs=inputs,
        query=query.replace("\x00", ""),
        response_mode=mode,
        conversation_id=conversation_id,
        files=body.get("files"),
        auto_generate_name=automatic is not False,
    )


class _Arguments:
    """Shared by the two validators: flask-restful's and pydantic's."""

    def __init__(self, body: dict[str, Any], model: str, profile: VersionProfile) -> None:
        self.body = body
        self._model = model
        self._profile = profile

    def missing(self, name: str) -> ApiError:
        modern = f"Field required [type=missing, input_value={_shortened(self.body)}, input_type=dict]"
        return self._error(name, "Missing required parameter in the JSON body", modern)

    def wrong(self, name: str, text: str, value: Any) -> ApiError:
        modern = f"{text} input_value={_shortened(value)}, input_type={type(value).__name__}]"
        return self._error(name, str(value), modern)

    def bad_mode(self, mode: Any) -> ApiError:
        modern = "Input should be 'blocking' or 'streaming' [type=literal_error, input_value="
        tail = f"{_shortened(mode)}, input_type={type(mode).__name__}]"
        return self._error("response_mode", f"{mode} is not a valid choice", modern + tail)

    def _error(self, name: str, legacy: str, modern: str) -> ApiError:
        return argument_error(self._profile, self._model, name, legacy, modern)

    def inputs(self) -> dict[str, Any]:
        raise NotImplementedError

    def query(self) -> str:
        raise NotImplementedError

    def conversation_id(self) -> str | None:
        raise NotImplementedError


class _LegacyArguments(_Arguments):
    """Converts what it can: dict(value), str(value)."""

    def inputs(self) -> dict[str, Any]:
        if "inputs" not in self.body:
            raise self.missing("inputs")
        try:
            return dict(self.body["inputs"] or {})
        except (TypeError, ValueError) as problem:
            raise self._error("inputs", str(problem), "") from None

    def query(self) -> str:
        if "query" not in self.body:
            raise self.missing("query")
        value = self.body["query"]
        return "" if value is None else str(value)

    def conversation_id(self) -> str | None:
        value = self.body.get("conversation_id")
        if not value:
            return None
        try:
            return str(UUID(value))
        except AttributeError as problem:
            raise self._error("conversation_id", str(problem), "") from None
        except ValueError:
            raise self._error("conversation_id", f"{value} is not a valid uuid.", "") from None


class _ModernArguments(_Arguments):
    """Refuses what is not of the right type already."""

    def inputs(self) -> dict[str, Any]:
        if "inputs" not in self.body:
            raise self.missing("inputs")
        if not isinstance(self.body["inputs"], dict):
            raise self.wrong("inputs", "Input should be a valid dictionary [type=dict_type,", self.body["inputs"])
        return self.body["inputs"]

    def query(self) -> str:
        if "query" not in self.body:
            raise self.missing("query")
        if not isinstance(self.body["query"], str):
            raise self.wrong("query", "Input should be a valid string [type=string_type,", self.body["query"])
        return self.body["query"]

    def conversation_id(self) -> str | None:
        value = self.body.get("conversation_id")
        if value is None:
            return None
        if not isinstance(value, str):
            raise unexpected_error(self._profile)  # the validator itself trips over it
        if not value.strip():
            return None
        try:
            return str(UUID(value.strip()))
        except ValueError:
            text = "Value error, conversation_id must be a valid UUID [type=value_error,"
            raise self.wrong("conversation_id", text, value) from None


def _refuse_constant(name: str) -> Any:
    """NaN and Infinity are not JSON."""
    raise ValueError(name)


def _refuse_surrogates(text: str, profile: VersionProfile) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as problem:
        refusal = _not_understood() if profile.strict_bodies else error(400, "invalid_param", str(problem))
        raise refusal from None


def _not_understood() -> ApiError:
    return error(400, "bad_request", _NOT_UNDERSTOOD)


def _unauthorized(profile: VersionProfile, message: str) -> ApiError:
    challenge = (("WWW-Authenticate", 'Bearer realm="api"'),) if profile.www_authenticate else ()
    return error(401, "unauthorized", message, challenge)


def _shortened(value: Any) -> str:
    """As pydantic shows inputs: at most 50 characters of the repr."""
    text = repr(value)
    return text if len(text) <= 50 else f"{text[:25]}...{text[-24:]}"
