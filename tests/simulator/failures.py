"""How a provider's failure looks to the API's caller: texts and codes of each release."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.simulator.apps import FLOW_MODES
from tests.simulator.steps import Turn

_UPSTREAM = "fake upstream failure"


@dataclass(frozen=True, slots=True)
class ProviderError:
    """The `error` event's code and text; its status is always 400."""

    code: str
    message: str


def provider_error(turn: Turn, blocking: bool = False) -> ProviderError:
    """Dify flattens whatever the provider said; flows flatten once more."""
    kind = turn.script.fail or "500"
    error = _ERRORS[turn.profile.name](kind, turn.app.mode, blocking)
    if turn.app.mode in FLOW_MODES:
        return ProviderError("invalid_param", error.message)
    return error


def _legacy_error(kind: str, mode: str, blocking: bool) -> ProviderError:
    prefix = "[openai_api_compatible] "
    if kind == "cut" and blocking and mode not in FLOW_MODES:
        text = (
            "Server Unavailable Error, ('Connection aborted.', "
            "RemoteDisconnected('Remote end closed connection without response'))"
        )
    elif kind == "cut":
        text = "Error: Response ended prematurely"
    elif kind == "timeout":
        text = "Server Unavailable Error, HTTPConnectionPool(host='llm', port=80): Read timed out. (read timeout=300)"
    else:
        body = {"error": {"message": f"{_UPSTREAM} {kind}", "type": "fake_error", "code": f"fake_{kind}"}}
        text = f"Error: API request failed with status code {kind}: {json.dumps(body)}"
    return ProviderError("completion_request_error", prefix + text)


def _plugin_error(kind: str, mode: str, blocking: bool) -> ProviderError:
    prefix = "[openai_api_compatible] "
    if kind == "cut":
        return ProviderError("invalid_param", "Request to Plugin Daemon Service failed-500")
    if kind == "401" and mode in FLOW_MODES:
        text = prefix + "Incorrect model credentials provided, please check and try again."
    elif kind == "401":
        text = "Incorrect API key provided"
    elif kind == "timeout":
        text = prefix + "Server Unavailable Error, HTTPConnectionPool(host='llm', port=80): Read timed out."
    else:
        text = f"{prefix}Error: API request failed with status code {kind}: {_UPSTREAM} {kind}"
    return ProviderError("completion_request_error", text)


_PLUGIN_CLASSES = {
    "400": "InvokeBadRequestError",
    "401": "InvokeAuthorizationError",
    "403": "InvokeAuthorizationError",
    "429": "InvokeRateLimitError",
    "500": "InvokeServerUnavailableError",
    "503": "InvokeServerUnavailableError",
    "timeout": "InvokeConnectionError",
    "cut": "InvokeConnectionError",
}


def _daemon_error(kind: str, mode: str, blocking: bool) -> ProviderError:
    if kind == "401" and mode not in FLOW_MODES:
        return ProviderError("completion_request_error", "Incorrect API key provided")
    detail = {
        "args": {},
        "error_type": _PLUGIN_CLASSES[kind],
        "message": f"{_UPSTREAM} {kind}",
    }
    text = f"[openai_api_compatible] Error: PluginInvokeError: {json.dumps(detail, separators=(',', ':'))}"
    return ProviderError("completion_request_error", text)


_ERRORS = {"0.15.3": _legacy_error, "1.12.1": _plugin_error, "1.16.0": _daemon_error}
