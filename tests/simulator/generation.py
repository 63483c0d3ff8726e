"""The generation routes: from a checked request to a run, and what a run leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.simulator.agent_app import AgentApp
from tests.simulator.apps import AGENT_MODES, CHAT_MODES, FLOW_MODES, App
from tests.simulator.attachments import Uploader, read_inputs_files, read_references
from tests.simulator.checks import GenerationBody
from tests.simulator.faults import http_fault, too_many_requests
from tests.simulator.flow_app import FlowApp
from tests.simulator.forms import InvalidInput, read_inputs
from tests.simulator.message_app import MessageApp
from tests.simulator.producer import Producer, new_id
from tests.simulator.replay import NoRecording, load_recording
from tests.simulator.replies import AnyReply, ApiError, BlockingWait, Misbehave, StreamReply, error
from tests.simulator.runs import Run
from tests.simulator.script import Script, UnknownDirective, parse_script
from tests.simulator.steps import Turn
from tests.simulator.store import Conversation, StoredMessage, now
from tests.simulator.tools import asks_again

if TYPE_CHECKING:
    from tests.simulator.server import Simulator

_PRODUCERS: dict[str, type[Producer]] = {
    "chat": MessageApp,
    "completion": MessageApp,
    "agent-chat": AgentApp,
    "agent": AgentApp,
    "advanced-chat": FlowApp,
    "workflow": FlowApp,
}
_NO_BLOCKING = {
    "agent-chat": ("invalid_param", "Agent Chat App does not support blocking mode"),
    "agent": ("bad_request", "Agent App only supports streaming response mode."),
}
# What the web framework finds similar; to paths with an id in them it finds nothing.
_SIMILAR_ROUTES = {
    "/v1/chat-messages": ("/api/chat-messages", "/v1/chat-messages/<string:task_id>/stop"),
    "/v1/messages": ("/v1/chat-messages", "/api/messages"),
    "/v1/conversations": (
        "/v1/conversations/<uuid:c_id>/variables/<uuid:variable_id>",
        "/api/conversations",
    ),
}


@dataclass(frozen=True, slots=True)
class Caller:
    app: App
    user: str


def generate(simulator: Simulator, caller: Caller, body: GenerationBody, path: str) -> AnyReply:
    """Check what the form and the conversation say, start the run, answer with it."""
    app = caller.app
    streaming = body.response_mode == "streaming" or (body.response_mode is None and app.mode == "agent")
    if app.mode in AGENT_MODES and not streaming:
        code, message = _NO_BLOCKING[app.mode]
        raise error(400, code, message)
    conversation = _conversation(simulator, caller, body, path)
    uploader = Uploader(app, caller.user, simulator.store, simulator.profile)
    inputs = read_inputs_files(uploader, _inputs(simulator, app, body, conversation))
    files = read_references(uploader, body.files)
    query = body.query or _text_of(inputs)
    script = _script(query, inputs, conversation)
    if (early := _instead_of_a_run(simulator, app, script)) is not None:
        return early
    _check_limit(simulator, app)
    turn = _turn(simulator, caller, body, conversation, inputs, files, query, script)
    run = simulator.start_run(_PRODUCERS[app.mode](turn), streaming=streaming)
    return StreamReply(run) if streaming else BlockingWait(run)


def _conversation(simulator: Simulator, caller: Caller, body: GenerationBody, path: str) -> Conversation | None:
    if body.conversation_id is None:
        return None
    found = simulator.store.conversation(body.conversation_id, caller.app.key, caller.user)
    if found is None:
        raise not_found(simulator, "Conversation Not Exists.", path)
    return found


def not_found(simulator: Simulator, message: str, path: str) -> Exception:
    """404; newer releases let the web framework guess what else one may have wanted."""
    if simulator.profile.not_found_hint and path in _SIMILAR_ROUTES:
        guesses = " or ".join((path, *_SIMILAR_ROUTES[path]))
        message += f" You have requested this URI [{path}] but did you mean {guesses} ?"
    return error(404, "not_found", message)


def _inputs(simulator: Simulator, app: App, body: GenerationBody, conversation: Conversation | None) -> dict[str, Any]:
    if conversation is not None and not simulator.profile.validates_every_turn:
        return dict(conversation.inputs)
    try:
        return read_inputs(app, body.inputs)
    except InvalidInput as problem:
        raise error(400, "invalid_param", str(problem)) from None


def _text_of(inputs: dict[str, Any]) -> str:
    """What an app without a query is told."""
    return "\n".join(value for value in inputs.values() if isinstance(value, str))


def _script(query: str, inputs: dict[str, Any], conversation: Conversation | None) -> Script:
    text = "\n".join((_text_of(inputs), query))
    if asks_again(query) and conversation is not None and conversation.messages:
        text = f"{conversation.messages[-1].query}\n{text}"  # the question that is to be answered better
    try:
        return parse_script(text)
    except UnknownDirective as problem:
        raise error(400, "invalid_param", str(problem)) from None


def _instead_of_a_run(simulator: Simulator, app: App, script: Script) -> AnyReply | None:
    if script.http is not None:
        return http_fault(script.http, simulator.store.app_id(app.key), simulator.profile)
    if script.nostatus or script.garbage:
        return Misbehave("garbage" if script.garbage else "nostatus")
    if script.replay is not None:
        try:
            return load_recording(simulator.traces_dir, script.replay, script.replay_speed)
        except NoRecording as problem:
            raise error(400, "invalid_param", str(problem)) from None
    return None


def _check_limit(simulator: Simulator, app: App) -> None:
    busy = sum(run.app.key == app.key and run.state == "running" for run in simulator.runs)
    if app.max_active_requests and busy >= app.max_active_requests:
        app_id = simulator.store.app_id(app.key)
        raise ApiError(too_many_requests(app_id, app.max_active_requests, simulator.profile))


def _turn(
    simulator: Simulator,
    caller: Caller,
    body: GenerationBody,
    conversation: Conversation | None,
    inputs: dict[str, Any],
    files: tuple[dict[str, Any], ...],
    query: str,
    script: Script,
) -> Turn:
    store, app = simulator.store, caller.app
    created_at = now()
    history = conversation.history() if conversation else ()
    turn_number = len(conversation.messages) if conversation else 0
    if conversation is None:
        conversation = Conversation(
            id=new_id(),
            app_key=app.key,
            user=caller.user,
            name=query[:20] + ("…" if len(query) > 20 else ""),
            inputs=inputs,
            introduction=app.opening_statement,
            created_at=created_at,
            updated_at=created_at,
        )
        if app.mode in CHAT_MODES:
            store.conversations[conversation.id] = conversation
    message_id = new_id()
    if app.mode in CHAT_MODES:
        stored = StoredMessage(message_id, body.query, inputs, created_at, files=list(files))
        conversation.messages.append(stored)
        conversation.updated_at = created_at
    return Turn(
        profile=simulator.profile,
        app=app,
        script=script,
        user=caller.user,
        end_user_id=store.end_user_id(app.key, caller.user),
        query=query,
        inputs=inputs,
        task_id=new_id(),
        message_id=message_id,
        conversation_id=conversation.id,
        workflow_run_id=new_id(),
        workflow_id=store.app_id(f"workflow of {app.key}"),
        app_id=store.app_id(app.key),
        created_at=created_at,
        base_url=simulator.base_url.removesuffix("/v1"),
        files=files,
        history=history,
        first_turn=turn_number == 0,
        auto_generate_name=body.auto_generate_name,
        run_number=store.next_run_number(app.key),
        dialogue_count=turn_number,
    )


def remember(simulator: Simulator, run: Run, streaming: bool) -> None:
    """What the conversation keeps of a run that has ended."""
    conversation = simulator.store.conversations.get(run.turn.conversation_id)
    if conversation is None:
        return
    message = next((row for row in conversation.messages if row.id == run.turn.message_id), None)
    if message is None:
        return
    producer = run.producer
    message.answer = producer.answer if producer.stored_answer is None else producer.stored_answer
    if producer.status == "failed":
        message.status, message.error = "error", producer.error
    # Nobody reads the stream of a client that left, so nobody stores what was in it.
    background = simulator.profile.background_flows and run.app.mode in FLOW_MODES
    if streaming and run.client_gone and not background:
        message.answer = ""
