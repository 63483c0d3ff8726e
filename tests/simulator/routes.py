"""Which path does what. A handler is a function from a request to a reply."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tests.simulator import attachments, checks, conversation_api, describe
from tests.simulator.apps import App
from tests.simulator.generation import Caller, generate, not_found
from tests.simulator.node_values import form_of, form_token
from tests.simulator.replies import AnyReply, Reply, StreamReply, error, html_reply, json_reply
from tests.simulator.runs import Run
from tests.simulator.wire import HttpRequest

if TYPE_CHECKING:
    from tests.simulator.server import Simulator

_NOT_FOUND = (
    "The requested URL was not found on the server. If you entered the URL manually please check your spelling "
    "and try again."
)


@dataclass(frozen=True, slots=True)
class Call:
    """A routed request."""

    simulator: Simulator
    request: HttpRequest
    arguments: tuple[str, ...]  # of the path

    @property
    def path(self) -> str:
        return self.request.path

    def app(self) -> App:
        return checks.find_app(self.request, self.simulator.apps, self.simulator.profile)

    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.request.query, keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        return checks.read_object(self.request, self.simulator.profile)

    def posting(self, family: str) -> tuple[Caller, dict[str, Any]]:
        """Key, user, mode, in this order; the user is in the JSON body."""
        app = self.app()
        body = self.json()
        user = checks.read_user(body.get("user"), self.simulator.profile)
        checks.check_mode(app, family)
        return Caller(app, user), body

    def getting(self, family: str) -> Caller:
        """Lists without a user show the shared anonymous one's."""
        app = self.app()
        checks.check_mode(app, family)
        return Caller(app, self.query().get("user") or "DEFAULT-USER")


Handler = Callable[[Call], AnyReply]


def route(simulator: Simulator, request: HttpRequest) -> AnyReply:
    """The reply of the handler for this path; ApiErrors pass through."""
    if request.path == "/v1":
        return Reply(308, b"", "text/html; charset=utf-8", (("Location", f"{simulator.base_url}/"),), cors=False)
    allowed: list[str] = []
    for method, pattern, handler, exists in _ROUTES:
        match = pattern.fullmatch(request.path)
        if match is None or not exists(simulator):
            continue
        if method == request.method or (request.method == "HEAD" and method == "GET"):
            return handler(Call(simulator, request, match.groups()))
        allowed.append(method)
    if not allowed:
        return html_reply(404, "Not Found", _NOT_FOUND)
    if request.method == "OPTIONS":
        return _preflight(request, allowed)
    legacy_allow = () if simulator.profile.strict_bodies else (("Allow", ", ".join([*allowed, "OPTIONS"])),)
    value = {"code": "method_not_allowed", "message": "The method is not allowed for the requested URL."}
    body = json_reply(value | {"status": 405}, 405).body
    return Reply(405, body, headers=legacy_allow, cors=False)


def _preflight(request: HttpRequest, allowed: list[str]) -> Reply:
    wanted = request.headers.get("access-control-request-headers")
    fields = (
        ("Allow", ", ".join(["OPTIONS", *allowed])),
        ("Access-Control-Allow-Origin", request.headers.get("origin", "*")),
        *((("Access-Control-Allow-Headers", wanted),) if wanted else ()),
        ("Access-Control-Allow-Methods", "DELETE, GET, OPTIONS, PATCH, POST, PUT"),
        ("Vary", "Origin"),
    )
    return Reply(200, b"", "text/html; charset=utf-8", fields, cors=False)


def _root(call: Call) -> AnyReply:
    version = {"server_version": call.simulator.profile.name}
    return json_reply({"welcome": "Dify OpenAPI", "api_version": "v1"} | version)


def _info(call: Call) -> AnyReply:
    return json_reply(describe.info(call.app(), call.simulator.profile))


def _parameters(call: Call) -> AnyReply:
    return json_reply(describe.parameters(call.app(), call.simulator.profile))


def _meta(call: Call) -> AnyReply:
    return json_reply(describe.meta(call.app(), call.simulator.base_url.removesuffix("/v1")))


def _site(call: Call) -> AnyReply:
    return json_reply(describe.site(call.app()))


def _generate(family: str) -> Handler:
    def handle(call: Call) -> AnyReply:
        caller, body = call.posting(family)
        if call.arguments:
            _check_workflow_id(call, caller, call.arguments[0])
        return generate(call.simulator, caller, checks.read_body(body, family, call.simulator.profile), call.path)

    return handle


def _check_workflow_id(call: Call, caller: Caller, workflow_id: str) -> None:
    if not re.fullmatch(r"[0-9a-f-]{36}", workflow_id):
        raise error(400, "bad_request", f"Invalid workflow_id format: '{workflow_id}'. ")
    if workflow_id != call.simulator.store.app_id(f"workflow of {caller.app.key}"):
        raise not_found(call.simulator, f"Workflow not found with id: {workflow_id}", call.path)


def _stop(family: str) -> Handler:
    """Always a success, whatever the task."""

    def handle(call: Call) -> AnyReply:
        caller, _ = call.posting(family)
        call.simulator.stop_run(call.arguments[0], caller)
        return json_reply({"result": "success"})

    return handle


def _upload(call: Call) -> AnyReply:
    simulator = call.simulator
    base_url = simulator.base_url.removesuffix("/v1")
    return attachments.upload(call.request, call.app(), simulator.store, simulator.profile, base_url)


def _no_speech_to_text(call: Call) -> AnyReply:
    call.app()
    raise error(400, "invalid_param", "Speech to text is not enabled")


def _no_text_to_speech(call: Call) -> AnyReply:
    call.app()
    raise error(400, "invalid_param", "TTS is not enabled")


def _conversations(call: Call) -> AnyReply:
    return conversation_api.list_conversations(call.simulator, call.getting("chat"), call.query(), call.path)


def _messages(call: Call) -> AnyReply:
    return conversation_api.list_messages(call.simulator, call.getting("chat"), call.query(), call.path)


def _delete_conversation(call: Call) -> AnyReply:
    app, body = call.app(), call.json()
    checks.check_mode(app, "chat")
    caller = Caller(app, str(body.get("user") or "DEFAULT-USER"))
    return conversation_api.delete_conversation(call.simulator, caller, call.arguments[0], call.path)


def _rename_conversation(call: Call) -> AnyReply:
    app, body = call.app(), call.json()
    checks.check_mode(app, "chat")
    caller = Caller(app, str(body.get("user") or "DEFAULT-USER"))
    return conversation_api.rename_conversation(call.simulator, caller, call.arguments[0], body, call.path)


def _feedback(call: Call) -> AnyReply:
    app, body = call.app(), call.json()
    caller = Caller(app, checks.read_user(body.get("user"), call.simulator.profile))
    return conversation_api.rate_message(call.simulator, caller, call.arguments[0], body, call.path)


def _suggested(call: Call) -> AnyReply:
    app = call.app()
    caller = Caller(app, checks.read_user(call.query().get("user"), call.simulator.profile))
    checks.check_mode(app, "chat")
    return conversation_api.suggest_questions(call.simulator, caller, call.arguments[0], call.path)


def _events(call: Call) -> AnyReply:
    """The rest of a run; of an ended one only its last event."""
    caller = call.getting("flow")
    run = call.simulator.find_workflow_run(call.arguments[0], caller)
    if run is None:
        raise not_found(call.simulator, "Workflow run not found", call.path)
    return StreamReply(run, skip=len(run.log) - (1 if run.ended else 0))


def _form(call: Call) -> AnyReply:
    """What a paused run asks."""
    form = form_of(_form_run(call, call.app()).turn)
    form["user_actions"] = form.pop("actions")
    return json_reply(form)


def _answer_form(call: Call) -> AnyReply:
    """A person answers, and the run goes on; once only."""
    caller, body = call.posting("flow")
    run = _form_run(call, caller.app)
    actions = [action["id"] for action in form_of(run.turn)["actions"]]
    if body.get("action") not in actions or not isinstance(body.get("inputs"), dict):
        raise error(400, "invalid_form_data", "Invalid action or inputs.")
    run.answer_form(body)
    return json_reply({})


def _form_run(call: Call, app: App) -> Run:
    runs = [run for run in call.simulator.runs if run.app.key == app.key and form_token(run.turn) == call.arguments[0]]
    if not runs:
        raise not_found(call.simulator, "Form not found", call.path)
    if not runs[0].form_open:
        raise error(412, "human_input_form_submitted", "This form has already been submitted.")
    return runs[0]


def _always(simulator: Simulator) -> bool:
    return True


def _where(flag: str) -> Callable[[Simulator], bool]:
    return lambda simulator: bool(getattr(simulator.profile, flag))


_ID = "([^/]+)"
_TABLE: tuple[tuple[str, str, Handler, Callable[[Simulator], bool]], ...] = (
    ("GET", "/v1/", _root, _where("root_is_json")),
    ("GET", "/v1/info", _info, _always),
    ("GET", "/v1/parameters", _parameters, _always),
    ("GET", "/v1/meta", _meta, _always),
    ("GET", "/v1/site", _site, _where("site_route")),
    ("POST", "/v1/chat-messages", _generate("chat"), _always),
    ("POST", f"/v1/chat-messages/{_ID}/stop", _stop("chat"), _always),
    ("POST", "/v1/completion-messages", _generate("completion"), _always),
    ("POST", f"/v1/completion-messages/{_ID}/stop", _stop("completion"), _always),
    ("POST", "/v1/workflows/run", _generate("workflow"), _always),
    ("POST", f"/v1/workflows/{_ID}/run", _generate("workflow"), _where("workflow_id_routes")),
    ("POST", f"/v1/workflows/tasks/{_ID}/stop", _stop("workflow"), _always),
    ("GET", f"/v1/workflow/{_ID}/events", _events, _where("events_route")),
    ("GET", f"/v1/form/human_input/{_ID}", _form, _where("events_route")),
    ("POST", f"/v1/form/human_input/{_ID}", _answer_form, _where("events_route")),
    ("POST", "/v1/files/upload", _upload, _always),
    ("POST", "/v1/audio-to-text", _no_speech_to_text, _always),
    ("POST", "/v1/text-to-audio", _no_text_to_speech, _always),
    ("GET", "/v1/conversations", _conversations, _always),
    ("DELETE", f"/v1/conversations/{_ID}", _delete_conversation, _always),
    ("POST", f"/v1/conversations/{_ID}/name", _rename_conversation, _always),
    ("GET", "/v1/messages", _messages, _always),
    ("POST", f"/v1/messages/{_ID}/feedbacks", _feedback, _always),
    ("GET", f"/v1/messages/{_ID}/suggested", _suggested, _always),
)
_ROUTES = tuple((method, re.compile(path), handler, exists) for method, path, handler, exists in _TABLE)
