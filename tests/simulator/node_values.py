"""What flows put into their events: files, prompts, and the question to a human."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.simulator.steps import Event, Turn

if TYPE_CHECKING:
    from tests.simulator.nodes import Nodes

_SIGNATURE = "timestamp=1&nonce=2&sign=3"


def shown_file(turn: Turn, file: Mapping[str, Any]) -> dict[str, Any]:
    """A file the user attached."""
    file_id = file.get("upload_file_id")
    link = f"{turn.base_url}/files/{file_id}/file-preview?{_SIGNATURE}" if file_id else file["url"]
    name = str(file.get("filename") or link.rpartition("/")[2])
    return {
        "dify_model_identity": "__dify__file__",
        "id": None,
        "tenant_id": turn.app_id,
        "type": file["type"],
        "transfer_method": file["transfer_method"],
        "remote_url": "" if turn.profile.sequence_numbers and file_id else link,
        "related_id": file_id,
        "filename": name,
        "extension": f".{name.rpartition('.')[2]}",
        "mime_type": file.get("mime_type", "image/png"),
        "size": file.get("size", -1),
        "url": link,
    }


def made_file(turn: Turn) -> dict[str, Any]:
    """A file the flow made itself."""
    file_id = str(uuid4())
    return {
        "dify_model_identity": "__dify__file__",
        "id": None,
        "tenant_id": turn.app_id,
        "type": "image",
        "transfer_method": "tool_file",
        "remote_url": None,
        "related_id": file_id,
        "filename": "made.png",
        "extension": ".png",
        "mime_type": "image/png",
        "size": 1234,
        "url": f"{turn.base_url}/files/tools/{file_id}.png?{_SIGNATURE}",
    }


def process_data(turn: Turn, usage: dict[str, Any] | None = None) -> dict[str, Any]:
    """How the LLM node asked its model; newer releases add what it cost."""
    shown = [{"type": "image", "data": "data:image...[TRUNCATED]...", "detail": "high"} for _ in turn.files]
    prompts = [
        {"role": "system", "text": "You are a flow bot.", "files": []},
        {"role": "user", "text": turn.query, "files": shown},
    ]
    used = {} if usage is None else {"usage": usage, "finish_reason": "stop"}
    plugin = "" if usage is None else "langgenius/openai_api_compatible/"
    model = {"model_provider": f"{plugin}openai_api_compatible", "model_name": "fake-gpt"}
    return {"model_mode": "chat", "prompts": prompts, **used, **model}


def form_of(turn: Turn) -> dict[str, Any]:
    """What a person is asked."""
    return {
        "form_content": "Send it?",
        "inputs": [{"type": "paragraph", "output_variable_name": "note", "default": None}],
        "actions": [
            {"id": "approve", "title": "Approve", "button_style": "primary"},
            {"id": "reject", "title": "Request changes", "button_style": "default"},
        ],
        "resolved_default_values": {},
        "expiration_time": turn.created_at + 86_400,
    }


def form_token(turn: Turn) -> str | None:
    """By which the form can be answered; none where it went out by e-mail."""
    return None if turn.script.paused == "email" else f"tok_{turn.workflow_run_id[:8]}"


def answer_of(reply: dict[str, Any]) -> list[str]:
    """What the app says once it is answered."""
    note = reply.get("inputs", {}).get("note")
    return [f"{reply.get('action')}d", *([": ", note] if note else [])]


def form_filled(nodes: Nodes, reply: dict[str, Any]) -> Event:
    """The first event after an answer."""
    data = {
        "node_id": "human",
        "node_title": "Approval",
        "rendered_content": "Send it?",
        "action_id": reply.get("action"),
        "action_text": str(reply.get("action")).title(),
        "submitted_data": reply.get("inputs"),
    }
    return nodes.event("human_input_form_filled", data=data)


def pause_events(nodes: Nodes, seconds: float, tokens: int) -> Iterator[Event]:
    """A human is asked."""
    turn = nodes.turn
    form = {
        "form_id": str(uuid4()),
        "node_id": "human",
        "node_title": "Approval",
        **form_of(turn),
        "display_in_ui": False,
        "form_token": form_token(turn),
        "approval_channels": [],
    }
    yield nodes.event("human_input_required", data=form)
    yield nodes.event(
        "workflow_paused",
        data={
            "workflow_run_id": turn.workflow_run_id,
            "paused_nodes": ["human"],
            "outputs": {},
            "reasons": [{"TYPE": "human_input_required", **form}],
            "status": "paused",
            "created_at": turn.created_at,
            "elapsed_time": seconds,
            "total_tokens": tokens,
            "total_steps": nodes.started_count,
        },
    )
