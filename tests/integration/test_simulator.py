"""The simulator over a real socket: stopping, leaving, breaking, replaying."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.simulator import apps
from tests.simulator.apps import App
from tests.simulator.server import Simulator
from tests.unit.simulator.rawclient import Ask, ask, call, generation, start

ROOT = Path(__file__).parents[2]
TRACES = ROOT / "tests" / "traces"
STOP_PATHS = {"completion": "completion-messages/{}/stop", "workflow": "workflows/tasks/{}/stop"}


async def stop(simulator: Simulator, app: App, task_id: str, user: str = "u1") -> Any:
    path = "/v1/" + STOP_PATHS.get(app.mode, "chat-messages/{}/stop").format(task_id)
    return await call(simulator, "POST", path, app, {"user": user})


async def eventually(condition: Any) -> None:
    """Poll, but not for long."""
    deadline = time.monotonic() + 2
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("version", ["0.15.3", "1.12.1", "1.16.0"])
@pytest.mark.parametrize(
    "app",
    [apps.DEMO_CHAT, apps.DEMO_AGENT, apps.DEMO_CHATFLOW, apps.DEMO_COMPLETION, apps.DEMO_WORKFLOW],
    ids=lambda app: app.mode,
)
async def test_a_stop_ends_the_stream_with_its_terminal_event(version: str, app: App) -> None:
    async with Simulator(version, stop_delay=0.05) as simulator:
        asked = await start(simulator, app, "[[n=500 delay=0.02]]")
        await asked.read_head()
        await eventually(lambda: simulator.runs[0].tokens >= 2)
        stopped = await stop(simulator, app, simulator.runs[0].task_id)
        while await asked.read_chunk():
            pass
        asked.writer.close()
    assert stopped.document == {"result": "success"}
    assert simulator.runs[0].state == "stopped"
    assert simulator.runs[0].tokens < 100
    last = [event["event"] for event in asked.answer.events][-1]
    assert last in ("message_end", "workflow_finished")


async def test_a_stop_also_ends_a_silent_run() -> None:
    async with Simulator(stop_delay=0) as simulator:
        asked = await start(simulator, apps.DEMO_CHATFLOW, "[[n=5 stall=2]]")
        await asked.read_head()
        await eventually(lambda: simulator.runs[0].tokens == 2)
        await stop(simulator, apps.DEMO_CHATFLOW, simulator.runs[0].task_id)
        while await asked.read_chunk():
            pass
        asked.writer.close()
    finished = next(event for event in asked.answer.events if event["event"] == "workflow_finished")
    assert (finished["data"]["status"], finished["data"]["error"]) == ("stopped", "Stopped by user.")


async def test_another_users_stop_succeeds_and_does_nothing() -> None:
    async with Simulator("0.15.3", stop_delay=0) as simulator:
        asked = await start(simulator, apps.DEMO_CHAT, "[[n=4 delay=0.02]]")
        await asked.read_head()
        answer = await stop(simulator, apps.DEMO_CHAT, simulator.runs[0].task_id, user="thief")
        while await asked.read_chunk():
            pass
        asked.writer.close()
    assert answer.status == 200
    assert asked.answer.text == "w1 w2 w3 w4 "
    assert simulator.runs[0].state == "finished"


async def test_on_1_12_another_users_stop_ruins_a_chatflow() -> None:
    async with Simulator("1.12.1", stop_delay=0) as simulator:
        asked = await start(simulator, apps.DEMO_CHATFLOW, "[[n=4 delay=0.02]]")
        await asked.read_head()
        await stop(simulator, apps.DEMO_CHATFLOW, simulator.runs[0].task_id, user="thief")
        while await asked.read_chunk():
            pass
        asked.writer.close()
    assert asked.answer.text.startswith("w1 w2 w3 w4 ")
    assert asked.answer.events[-1]["message"] == "Run failed: Aborted: User requested stop"


async def test_a_run_goes_on_when_its_client_leaves_and_its_answer_is_lost() -> None:
    async with Simulator() as simulator:
        asked = await start(simulator, apps.DEMO_CHAT, "[[n=10 delay=0.01]]")
        await asked.read_head()
        await asked.read_chunk()
        asked.writer.close()
        run = simulator.runs[0]
        await eventually(lambda: run.client_gone)
        assert run.state == "running"
        await eventually(lambda: run.state == "finished")
        assert run.tokens == 10
        conversation_id = run.turn.conversation_id
        answer = await ask(simulator, apps.DEMO_CHAT, "again [[prompt]]", conversation_id=conversation_id)
    assert [message["content"] for message in json.loads(answer.text)[:2]] == ["[[n=10 delay=0.01]]", ""]


async def test_a_client_that_leaves_a_hanging_request_is_seen() -> None:
    async with Simulator() as simulator:
        asked = await start(simulator, apps.DEMO_CHAT, "[[hang]]")
        await eventually(lambda: bool(simulator.runs))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked.reader.read(1), 0.05)
        asked.writer.close()
        await eventually(lambda: simulator.runs[0].client_gone)


@pytest.mark.parametrize(
    ("directive", "complete", "reset"),
    [("drop=3", False, False), ("rst=3", False, True), ("eof=3", True, False)],
)
async def test_the_connection_breaks_as_told(directive: str, complete: bool, reset: bool) -> None:
    async with Simulator() as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, f"[[n=5 {directive}]]")
    assert answer.text == "w1 w2 w3 "
    assert (answer.complete, answer.reset) == (complete, reset)
    assert "message_end" not in [event["event"] for event in answer.events]


@pytest.mark.parametrize(
    ("kind", "status", "content_type"),
    [
        ("502html", 502, "text/html"),
        ("504html", 504, "text/html"),
        ("429", 429, "application/json"),
        ("limit", 400, "application/json"),
        ("500", 500, "application/json"),
    ],
)
async def test_http_errors_replace_the_stream(kind: str, status: int, content_type: str) -> None:
    async with Simulator() as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, f"[[http={kind}]]")
    assert (answer.status, answer.headers["Content-Type"]) == (status, content_type)
    assert not simulator.runs


async def test_a_blocking_answer_that_ends_early_is_empty() -> None:
    async with Simulator() as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, "[[n=5 eof=3]]", response_mode="blocking")
    assert (answer.status, answer.body, answer.complete) == (200, b"", True)


async def test_nothing_and_garbage_are_no_http() -> None:
    async with Simulator() as simulator:
        for directive, expected in (("nostatus", b""), ("garbage", b"\x00\xff\x16")):
            asked = await start(simulator, apps.DEMO_CHAT, f"[[{directive}]]")
            assert (await asked.reader.read()).startswith(expected)
            asked.writer.close()


async def test_a_typo_in_a_directive_is_refused_by_name() -> None:
    async with Simulator() as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, "[[dealy=3]]")
    assert answer.status == 400
    assert "dealy" in answer.document["message"]


async def test_split_writes_lose_nothing_and_cut_characters() -> None:
    async with Simulator() as simulator:
        asked = await start(simulator, apps.DEMO_CHAT, "[[unicode split=1]]")
        whole = await asked.read_all()
        plain = await ask(simulator, apps.DEMO_CHAT, "[[unicode]]")
    assert whole.text == plain.text


async def test_glued_events_share_a_chunk() -> None:
    async with Simulator() as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, "[[n=6 glue=3]]")
    assert [chunk.count(b"data: ") for chunk in answer.chunks] == [3, 3, 2]


async def test_pings_keep_the_rhythm_of_the_run_and_mute_stops_them() -> None:
    async with Simulator(ping_interval=0.05) as simulator:
        loud = await start(simulator, apps.DEMO_CHAT, "[[n=1 first=0.25]]")
        mute = await start(simulator, apps.DEMO_CHAT, "[[n=1 mute]]")
        answer = await loud.read_all()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(mute.reader.read(1), 0.05)
        mute.writer.close()
    assert 2 <= answer.body.count(b"event: ping\n\n") <= 6
    assert answer.chunks[0] == b"event: ping\n\n"


async def test_a_failure_may_leave_the_socket_open() -> None:
    async with Simulator(ping_interval=0.02) as simulator:
        asked = await start(simulator, apps.DEMO_CHAT, "[[fail=429 errorhang]]")
        await asked.read_head()
        chunks = [await asked.read_chunk() for _ in range(3)]
        asked.writer.close()
    assert b'"event":"error"' in chunks[0]
    assert chunks[1:] == [b"event: ping\n\n"] * 2


async def test_a_connection_serves_several_requests() -> None:
    async with Simulator() as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        path, body = generation(apps.DEMO_CHAT, "[[n=2]]")
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nAuthorization: Bearer {apps.DEMO_CHAT.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        for _ in range(3):
            writer.write(head.encode() + data)
            assert b"message_end" in await reader.readuntil(b"\r\n0\r\n\r\n")
        writer.close()
    assert simulator.accepted_connections == 1
    assert len(simulator.requests) == 3
    assert simulator.requests[0].headers["authorization"] == "Bearer Demo Chatbot"


async def test_a_chunked_body_and_expect_continue_are_understood() -> None:
    async with Simulator() as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        path, body = generation(apps.DEMO_CHAT, "[[n=2]]", response_mode="blocking")
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nAuthorization: Bearer {apps.DEMO_CHAT.key}\r\nExpect: 100-continue\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"5\r\n" + data[:5] + b"\r\n%x\r\n" % len(data[5:]) + data[5:] + b"\r\n0\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert b'"answer": "w1 w2 "' in answer


@pytest.mark.parametrize("name", ["chat_stream", "chatflow_stream", "chat_block", "err_conv_unknown", "unicode_chat"])
@pytest.mark.parametrize("version", ["0.15.3", "1.12.1"])
async def test_a_replay_is_the_recording(version: str, name: str) -> None:
    trace = json.loads((TRACES / version / f"{name}.json").read_text())
    recorded = (TRACES / version / trace["response"]["file"]).read_bytes()
    async with Simulator(version, traces_dir=TRACES) as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, f"[[replay={version}/{name}]]")
    assert answer.body == recorded
    assert str(answer.status) in trace["response"]["status_line"]
    assert answer.headers["Content-Type"] == dict(trace["response"]["headers"])["Content-Type"]
    if answer.chunks:
        assert len(answer.chunks) == recorded.count(b"\n\n")


@pytest.mark.parametrize("name", ["../../pyproject", "/etc/passwd", "1.12.1/nothing", "1.12.1/../../unit/x"])
async def test_a_replay_stays_in_its_directory(name: str) -> None:
    async with Simulator(traces_dir=TRACES) as simulator:
        answer = await ask(simulator, apps.DEMO_CHAT, f"[[replay={name}]]")
    assert answer.status == 400
    assert "no recording" in answer.document["message"]


async def test_conversations_belong_to_their_user() -> None:
    async with Simulator(speed=1000) as simulator:
        first = await ask(simulator, apps.DEMO_CHAT, "one [[n=2]]", response_mode="blocking")
        conversation_id = first.document["conversation_id"]
        second = await ask(simulator, apps.DEMO_CHAT, "two [[prompt]]", conversation_id=conversation_id)
        thief = await ask(simulator, apps.DEMO_CHAT, "mine?", conversation_id=conversation_id, user="thief")
        listed = await call(simulator, "GET", "/v1/conversations?user=u1", apps.DEMO_CHAT)
        path = f"/v1/messages?user=u1&conversation_id={conversation_id}"
        messages = await call(simulator, "GET", path, apps.DEMO_CHAT)
        deleted = await call(
            simulator, "DELETE", f"/v1/conversations/{conversation_id}", apps.DEMO_CHAT, {"user": "u1"}
        )
        gone = await ask(simulator, apps.DEMO_CHAT, "three", conversation_id=conversation_id)
    assert [message["content"] for message in json.loads(second.text)] == ["one [[n=2]]", "w1 w2", "two [[prompt]]"]
    assert thief.status == 404
    assert [row["id"] for row in listed.document["data"]] == [conversation_id]
    assert [row["query"] for row in messages.document["data"]] == ["one [[n=2]]", "two [[prompt]]"]
    assert (deleted.status, gone.status) == (204, 404)


async def test_later_turns_inputs_are_checked_only_on_newer_releases() -> None:
    statuses = {}
    for version in ("0.15.3", "1.12.1"):
        async with Simulator(version, speed=1000) as simulator:
            first = await ask(simulator, apps.FORM_CHAT, "[[n=1]]", inputs={"name": "Bob"}, response_mode="blocking")
            fields = {"conversation_id": first.document["conversation_id"], "response_mode": "blocking"}
            statuses[version] = (await ask(simulator, apps.FORM_CHAT, "[[n=1]]", **fields)).status
    assert statuses == {"0.15.3": 200, "1.12.1": 400}


async def test_apps_change_while_it_runs() -> None:
    async with Simulator() as simulator:
        simulator.apps.change(apps.DEMO_CHAT.key, name="Renamed", mode="chat")
        renamed = await call(simulator, "GET", "/v1/info", apps.DEMO_CHAT)
        simulator.apps.change(apps.DEMO_CHAT.key, api_enabled=False)
        disabled = await call(simulator, "GET", "/v1/info", apps.DEMO_CHAT)
        del simulator.apps[apps.DEMO_CHAT.key]
        deleted = await call(simulator, "GET", "/v1/info", apps.DEMO_CHAT)
    assert renamed.document["name"] == "Renamed"
    assert (disabled.status, deleted.status) == (403, 401)


async def test_a_busy_app_refuses_more_runs() -> None:
    async with Simulator(stop_delay=0) as simulator:
        simulator.apps.change(apps.DEMO_CHAT.key, max_active_requests=1)
        asked = await start(simulator, apps.DEMO_CHAT, "[[stall]]")
        await eventually(lambda: bool(simulator.runs))
        refused = await ask(simulator, apps.DEMO_CHAT, "[[n=1]]")
        asked.writer.close()
    assert refused.status == 400
    assert refused.document["message"].startswith("Too many requests.")


async def test_a_new_conversation_waits_a_second_unless_it_needs_no_name() -> None:
    async with Simulator(speed=4) as simulator:
        begun = time.monotonic()
        await ask(simulator, apps.DEMO_CHAT, "[[n=1]]")
        quick = time.monotonic() - begun
        await ask(simulator, apps.DEMO_CHAT, "[[n=1]]", auto_generate_name=True)
        named = time.monotonic() - begun - quick
    assert quick < 0.2
    assert named >= 0.24


async def test_the_old_release_closes_late_unless_it_needs_no_name() -> None:
    async with Simulator("0.15.3", speed=10) as simulator:
        asked = await start(simulator, apps.DEMO_CHAT, "[[n=1]]", auto_generate_name=True)
        await asked.read_head()
        while b"message_end" not in await asked.read_chunk():
            pass
        ended = time.monotonic()
        await asked.read_chunk()
        asked.writer.close()
    assert time.monotonic() - ended >= 0.08


async def test_a_run_can_be_resumed_on_1_16() -> None:
    async with Simulator("1.16.0") as simulator:
        asked = await start(simulator, apps.DEMO_WORKFLOW, "[[n=20 delay=0.01]]")
        await asked.read_head()
        run_id = simulator.runs[0].workflow_run_id
        asked.writer.close()
        rest = await call(simulator, "GET", f"/v1/workflow/{run_id}/events?user=u1", apps.DEMO_WORKFLOW)
        again = await call(simulator, "GET", f"/v1/workflow/{run_id}/events?user=u1", apps.DEMO_WORKFLOW)
        thief = await call(simulator, "GET", f"/v1/workflow/{run_id}/events?user=thief", apps.DEMO_WORKFLOW)
    assert rest.events[-1]["data"]["outputs"]["text"].endswith("w20 ")
    assert [event["event"] for event in again.events] == ["workflow_finished"]
    assert thief.status == 404


async def test_stopping_the_simulator_leaves_nothing_behind() -> None:
    before = asyncio.all_tasks()
    simulator = await Simulator().start()
    asked = [await start(simulator, apps.DEMO_CHAT, f"[[{fault}]]") for fault in ("stall", "hang", "n=99 delay=1")]
    await eventually(lambda: len(simulator.runs) == 3)
    await simulator.stop()
    for one in asked:
        one.writer.close()
    await asyncio.sleep(0.01)
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_command_announces_itself_and_leaves_quietly(number: int) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulator", "--dify-version", "1.16.0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    base, keys = [(await process.stdout.readline()).decode().strip() for _ in range(2)]
    process.send_signal(number)
    _, errors = await process.communicate()
    assert base.startswith("DIFY_API_BASE=http://127.0.0.1:")
    assert base.endswith("/v1")
    assert keys.startswith("DIFY_API_KEYS=app-demochat0000000000000001,")
    assert len(keys.split(",")) == 6
    assert (process.returncode, errors) == (0, b"")


async def test_an_http_1_0_client_reads_to_the_end_of_the_connection() -> None:
    async with Simulator() as simulator:
        reader, writer = await asyncio.open_connection("127.0.0.1", simulator.port)
        path, body = generation(apps.DEMO_CHAT, "[[n=2]]")
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.0\r\nAuthorization: Bearer {apps.DEMO_CHAT.key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        answer = await reader.read()
        writer.close()
    assert b"chunked" not in answer
    assert answer.endswith(b"\n\n")


async def test_an_upload_can_be_attached() -> None:
    part = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nx\r\n'
    )
    part += b'--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nu1\r\n--b--\r\n'
    async with Simulator("1.12.1") as simulator:
        upload = Ask(simulator)
        headers = {"Authorization": f"Bearer {apps.VISION_CHAT.key}", "Content-Type": "multipart/form-data; boundary=b"}
        await upload.open("POST", "/v1/files/upload", headers, part)
        stored = await upload.read_all()
        file = {"type": "image", "transfer_method": "local_file", "upload_file_id": stored.document["id"]}
        answer = await ask(simulator, apps.VISION_CHAT, "[[n=2]]", files=[file])
    assert stored.status == 201
    assert {event["event"] for event in answer.events} == {"message_file", "message_end"}
    assert answer.text == "w1 w2 "
