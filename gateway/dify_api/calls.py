"""Dify's service API as a list of questions: what to send where, one row per app mode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from urllib.parse import quote, urlencode

from gateway import json_codec
from gateway.dify_api.app import App, AppMode
from gateway.errors import InvalidRequest
from gateway.exchange.turn import JSONValue, Prompt
from gateway.frozen import frozen

MOST_MESSAGES = 100  # that Dify lists at a time


@frozen
class DifyCall:
    """One HTTP request, to be sent with an app's key."""

    method: str
    path: str  # below the key's base_url
    body: bytes | None = None
    content_type: str = "application/json"  # of the body
    headers: tuple[str, ...] = ()  # further ones, whole lines


@frozen
class _Routes:
    """Where an app mode is asked and stopped, and what it takes besides inputs and user."""

    ask: str
    stop: str  # {} is the task id
    fields: Callable[[App, Prompt], dict[str, JSONValue]]


def ask(
    app: App, prompt: Prompt, inputs: Mapping[str, JSONValue], user: str, files: Sequence[JSONValue] = ()
) -> DifyCall:
    """Put a question to an app, with the files of the message. Raises InvalidRequest for inputs that are no JSON.

    Always streaming: agents refuse to block, proxies cut long blocking calls, and only a stream tells the task id
    that stopping needs.
    """
    routes = _ROUTES[app.mode]
    body = {"inputs": dict(inputs), **routes.fields(app, prompt), "response_mode": "streaming", "user": user}
    if files:
        body["files"] = list(files)
    try:
        encoded = json_codec.dumps(body)
    except ValueError as error:
        # 1e400 in a client's body is read as infinity, and nesting has no natural end.
        raise InvalidRequest(f"'inputs' cannot be written as JSON: {error}.", param="inputs") from error
    return DifyCall("POST", routes.ask, encoded)


def traced(call: DifyCall, trace_id: str, traceparent: str) -> DifyCall:
    """The same within a trace: for the trace that Dify shows to its own tracing tools, and for its OpenTelemetry.

    Dify that knows neither ignores both.
    """
    return replace(call, headers=(f"X-Trace-Id: {trace_id}", f"traceparent: {traceparent}"))


def stop(app: App, task_id: str, user: str) -> DifyCall:
    """Stop a run. Dify answers success whatever the id; only the user that started the run may be named."""
    path = _ROUTES[app.mode].stop.format(quote(task_id, safe=""))
    return DifyCall("POST", path, json_codec.dumps({"user": user}))


def follow(run_id: str, user: str) -> DifyCall:
    """Listen to a workflow run that is under way (Dify >= 1.14; 404 before): its events from now on, or its end."""
    return DifyCall("GET", f"/workflow/{quote(run_id, safe='')}/events?{urlencode({'user': user})}")


def last_messages(conversation_id: str, user: str, number: int = 1) -> DifyCall:
    """Ask for the newest messages of a conversation, at most MOST_MESSAGES."""
    question = urlencode({"conversation_id": conversation_id, "user": user, "limit": number})
    return DifyCall("GET", f"/messages?{question}")


def newest_conversation(user: str) -> DifyCall:
    """Ask for the conversation in which the user has spoken last."""
    return DifyCall("GET", f"/conversations?{urlencode({'user': user, 'limit': 1})}")


def suggestions(message_id: str, user: str) -> DifyCall:
    """Ask for questions that could come next: a call of a model, and a 400 where the app has that switched off."""
    return DifyCall("GET", f"/messages/{quote(message_id, safe='')}/suggested?{urlencode({'user': user})}")


def form(token: str) -> DifyCall:
    """Ask for a form that a run waits for (Dify >= 1.14)."""
    return DifyCall("GET", f"/form/human_input/{quote(token, safe='')}")


def submit_form(token: str, action: str, inputs: Mapping[str, JSONValue], user: str) -> DifyCall:
    """Answer a form, and let its run go on. Raises InvalidRequest when the inputs cannot be written as JSON."""
    try:
        body = json_codec.dumps({"inputs": dict(inputs), "action": action, "user": user})
    except ValueError as error:
        raise InvalidRequest(f"The form's inputs cannot be written as JSON: {error}.", param="messages") from error
    return DifyCall("POST", f"/form/human_input/{quote(token, safe='')}", body)


def info() -> DifyCall:
    """Ask for the app's name, description and, from Dify 1.4 on, mode."""
    return DifyCall("GET", "/info")


def parameters() -> DifyCall:
    """Ask for the app's input form and features."""
    return DifyCall("GET", "/parameters")


def mode_probes(user: str) -> tuple[DifyCall, ...]:
    """What to ask a Dify whose /info tells no mode (before 1.4); `description.mode_from_probes` reads the answers.

    No probe can start a run. Dify checks the key, then `user`, then the route against the app's mode, then the body,
    and each body is refused in every mode that lets it through: the first has an empty query ("query is required" on
    0.15.3 and 1.12.1) and names a conversation that cannot exist; the second lacks `inputs`. The first asks for
    blocking because agents refuse that before they look at the query. A wrong route costs an end-user row and
    nothing else, therefore always the same `user`.
    """
    empty_question = {
        "inputs": {},
        "query": "",
        "response_mode": "blocking",
        "conversation_id": "00000000-0000-0000-0000-000000000000",
        "user": user,
    }
    return (
        DifyCall("POST", "/chat-messages", json_codec.dumps(empty_question)),
        DifyCall("POST", "/workflows/run", json_codec.dumps({"user": user})),
        parameters(),  # the only place where Dify before 1.4 shows that a chat app is a chatflow
    )


def _chat_fields(app: App, prompt: Prompt) -> dict[str, JSONValue]:
    # A title would cost an LLM call, hold the first byte back for a second (1.11 to 1.12) or the end (0.15).
    fields: dict[str, JSONValue] = {"query": prompt.query, "auto_generate_name": False}
    if prompt.conversation_id:
        fields["conversation_id"] = prompt.conversation_id
    return fields


def _completion_fields(app: App, prompt: Prompt) -> dict[str, JSONValue]:
    # A top-level query does not stand in for an input (0.15.3 and 1.12.1: "query is required in input form" all the
    # same), but Dify does append it to the app's prompt as a further user message. With the text among the inputs the
    # model would get it twice; an app without inputs has no other way to hear the user at all.
    return {} if app.inputs else {"query": prompt.query}


def _workflow_fields(app: App, prompt: Prompt) -> dict[str, JSONValue]:
    return {}


_CHAT = _Routes("/chat-messages", "/chat-messages/{}/stop", _chat_fields)

_ROUTES: dict[AppMode, _Routes] = {
    AppMode.CHAT: _CHAT,
    AppMode.AGENT_CHAT: _CHAT,
    AppMode.AGENT: _CHAT,
    AppMode.ADVANCED_CHAT: _CHAT,  # stopping a chatflow by the workflow route is refused: not_workflow_app
    AppMode.COMPLETION: _Routes("/completion-messages", "/completion-messages/{}/stop", _completion_fields),
    AppMode.WORKFLOW: _Routes("/workflows/run", "/workflows/tasks/{}/stop", _workflow_fields),
}
