"""The simulator against recordings of real servers: same events, same fields, same framing."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import apps
from tests.simulator.apps import App
from tests.simulator.server import Simulator
from tests.unit.simulator.rawclient import Answer, Ask, call, read_events

TRACES = Path(__file__).parents[2] / "traces"
# Depends on the connection or the session cookie, not on what is answered.
VOLATILE_HEADERS = {"Vary", "Date", "Content-Length"}
WRITER = replace(apps.VISION_COMPLETION, file_limit=6)


@dataclass(frozen=True, slots=True)
class Case:
    """A recording, the app that should answer alike, and the text that makes it."""

    trace: str
    app: App
    text: str | None = None  # None: as recorded
    versions: tuple[str, ...] = ("0.15.3", "1.12.1")
    files: int = 0


CASES = (
    Case("chat_stream", apps.DEMO_CHAT),
    Case("chat_block", apps.DEMO_CHAT),
    Case("autoname_false", apps.DEMO_CHAT),
    Case("chat_form_stream", apps.FORM_CHAT),
    Case("completion_stream", apps.DEMO_COMPLETION),
    Case("completion_block", apps.DEMO_COMPLETION),
    Case("agent_stream_notool", apps.DEMO_AGENT),
    Case("name_off_agent", apps.DEMO_AGENT),
    Case("agent_stream_tool", apps.DEMO_AGENT),
    Case("agent_stream_tool_pretext", apps.DEMO_AGENT, "[[tool=pretext n=3]]"),
    Case("agent_stream_qrcode_file", apps.DEMO_AGENT, "[[file n=3]]", ("0.15.3",)),
    Case("agent_block", apps.DEMO_AGENT),
    Case("chatflow_stream", apps.DEMO_CHATFLOW),
    Case("chatflow_block", apps.DEMO_CHATFLOW),
    Case("workflow_stream", apps.TWO_OUTPUTS_WORKFLOW),
    Case("workflow_block", apps.TWO_OUTPUTS_WORKFLOW),
    Case("wf_concat", apps.TWO_OUTPUTS_WORKFLOW),
    Case("workflow_notext_stream", apps.NO_LLM_WORKFLOW),
    Case("workflow_notext_block", apps.NO_LLM_WORKFLOW),
    Case("llm_empty_chat", apps.DEMO_CHAT),
    Case("llm_empty_workflow", apps.TWO_OUTPUTS_WORKFLOW),
    Case("think_chat", apps.DEMO_CHAT),
    Case("think_chatflow", apps.DEMO_CHATFLOW),
    Case("unicode_chat", apps.DEMO_CHAT, "[[unicode]]"),
    Case("unicode_chat_block", apps.DEMO_CHAT, "[[unicode]]"),
    Case("unicode_agent", apps.DEMO_AGENT, "[[unicode]]"),
    Case("bigchunk20k_chat", apps.DEMO_CHAT),
    Case("bigchunk20k_chatflow", apps.DEMO_CHATFLOW),
    Case("vision_local", apps.VISION_CHAT, "[[n=4]]", files=1),
    Case("chatflow_files_local", apps.VISION_CHATFLOW, "[[n=4]]", files=1),
    Case("x_vision_agent", apps.VISION_AGENT, "[[n=3]]", files=1),
    Case("multi_completion_stream", WRITER, "[[n=3]]", files=2),
    Case("mod_clean", apps.MODERATED_CHAT),
    Case("mod_output_blocking", apps.MODERATED_CHAT),
    Case("mod_input_block_blocking", apps.MODERATED_CHAT),
    Case("kb_chat_stream", apps.DEMO_CHAT, "[[cite n=4]]"),
    Case("kb_chat_block", apps.DEMO_CHAT, "[[cite n=3]]"),
    Case("kb_chatflow_block", apps.DEMO_CHATFLOW, "[[cite n=3]]"),
    Case("tts_auto_chat_short", apps.SPEAKING_CHAT, "[[n=2]]", ("0.15.3",)),
    *(
        Case(f"llm429_{mode}_stream", app)
        for mode, app in (
            ("chat", apps.DEMO_CHAT),
            ("agent", apps.DEMO_AGENT),
            ("completion", apps.DEMO_COMPLETION),
            ("chatflow", apps.DEMO_CHATFLOW),
            ("workflow", apps.TWO_OUTPUTS_WORKFLOW),
        )
    ),
    Case("llm429_chat_block", apps.DEMO_CHAT),
    Case("llm429_completion_block", apps.DEMO_COMPLETION),
    Case("llm400_chat_stream", apps.DEMO_CHAT),
    Case("llm401_chat_stream", apps.DEMO_CHAT),
    Case("llm401_chat_block", apps.DEMO_CHAT),
    Case("llm401_chatflow_stream", apps.DEMO_CHATFLOW),
    Case("llm401_workflow_stream", apps.TWO_OUTPUTS_WORKFLOW),
    Case("llm500_chat_stream", apps.DEMO_CHAT),
    Case("llm500_chat_block", apps.DEMO_CHAT),
    Case("llm500_chatflow_stream", apps.DEMO_CHATFLOW),
    Case("llm500_chatflow_block", apps.DEMO_CHATFLOW),
    Case("llm500_workflow_stream", apps.TWO_OUTPUTS_WORKFLOW),
    Case("llm500_workflow_block", apps.TWO_OUTPUTS_WORKFLOW),
    *(
        Case(f"llmcut_{mode}_stream", app, "[[fail=cut n=8]]")
        for mode, app in (
            ("chat", apps.DEMO_CHAT),
            ("agent", apps.DEMO_AGENT),
            ("completion", apps.DEMO_COMPLETION),
            ("chatflow", apps.DEMO_CHATFLOW),
            ("workflow", apps.TWO_OUTPUTS_WORKFLOW),
        )
    ),
    Case("llmcut_chat_block", apps.DEMO_CHAT, "[[fail=cut n=8]]"),
    Case("llmcut_chatflow_block", apps.DEMO_CHATFLOW, "[[fail=cut n=8]]"),
)


def cases() -> list[Any]:
    return [pytest.param(version, case, id=f"{version}-{case.trace}") for case in CASES for version in case.versions]


@pytest.mark.parametrize(("version", "case"), cases())
async def test_it_answers_as_the_recorded_server_did(version: str, case: Case) -> None:
    trace = json.loads((TRACES / version / f"{case.trace}.json").read_text())
    recorded = (TRACES / version / trace["response"]["file"]).read_bytes()
    async with Simulator(version, [case.app], speed=1000) as simulator:
        body = await _prepare(simulator, case, trace["request"]["body"])
        answer = await call(simulator, "POST", trace["request"]["path"], case.app, body)
    assert _head(answer) == _recorded_head(trace)
    if trace["response"]["file"].endswith(".sse"):
        assert [_shape(event) for event in answer.events] == [_shape(event) for event in read_events(recorded)]
        assert all(chunk.endswith(b"\n\n") and chunk.count(b"\n\n") == 1 for chunk in answer.chunks)
        assert _spacing(answer.body) == _spacing(recorded)
        if case.text is None:
            assert _steady(answer.events) == _steady(read_events(recorded))
    else:
        assert _shape(answer.document) == _shape(json.loads(recorded))
        assert answer.body.endswith(b"\n") == recorded.endswith(b"\n")
        if answer.status != 200:
            assert answer.body == recorded


async def _prepare(simulator: Simulator, case: Case, body: dict[str, Any]) -> dict[str, Any]:
    body = json.loads(json.dumps(body).replace("cut=3", "fail=cut"))
    if case.text is not None:
        place = body if "query" in body else body["inputs"]
        place["query"] = case.text
    if case.files:
        uploads = [await _upload(simulator, case.app) for _ in range(case.files)]
        body["files"] = [{"type": "image", "transfer_method": "local_file", "upload_file_id": id_} for id_ in uploads]
    return body


async def _upload(simulator: Simulator, app: App) -> str:
    part = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nx\r\n'
    )
    ask = Ask(simulator)
    headers = {"Authorization": f"Bearer {app.key}", "Content-Type": "multipart/form-data; boundary=b"}
    await ask.open("POST", "/v1/files/upload", headers, part + b"--b--\r\n")
    return (await ask.read_all()).document["id"]


def _head(answer: Answer) -> tuple[str, dict[str, str]]:
    fields = {name: value for name, value in answer.headers.items() if name not in VOLATILE_HEADERS}
    return f"{answer.status} {answer.phrase}", fields


def _recorded_head(trace: dict[str, Any]) -> tuple[str, dict[str, str]]:
    response = trace["response"]
    fields = {name: value for name, value in response["headers"] if name not in VOLATILE_HEADERS}
    return response["status_line"].removeprefix("HTTP/1.1 "), fields


def _shape(value: Any) -> Any:
    """Keys and types, all the way down; event names, modes and statuses as they are."""
    if isinstance(value, dict):
        literal = {"event", "mode", "status", "code", "node_id", "node_type", "currency", "from_variable_selector"}
        return {key: item if key in literal else _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return {repr(_shape(item)) for item in value}
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def _spacing(body: bytes) -> tuple[bool, bool]:
    """Spaces after separators; bytes outside ASCII."""
    return b'", "' in body, any(byte > 127 for byte in body)


def _steady(events: list[dict[str, Any]]) -> list[Any]:
    """What does not change from run to run: texts, counts and errors."""
    names = ("event", "answer", "message", "code", "position", "observation", "tool", "tool_input")
    clock = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
    kept = []
    for event in events:
        fields = {name: clock.sub("", str(event[name])) for name in names if name in event}
        data = event.get("data") or {}
        fields |= {
            name: data.get(name) for name in ("text", "index", "title", "error", "total_steps", "exceptions_count")
        }
        kept.append(fields)
    return kept
