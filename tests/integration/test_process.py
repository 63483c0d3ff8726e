"""The gateway as a process: start, refusals, signals, and the commands beside `serve`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import StartSimulator
from tests.simulator.apps import DEMO_CHAT, DEMO_WORKFLOW
from tests.simulator.server import Simulator

ROOT = Path(__file__).parent.parent.parent


class Process:
    """`python -m gateway`, its output line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.lines.append(line.decode())

    async def line_with(self, text: str) -> str:
        async with asyncio.timeout(15):
            while not (found := [line for line in self.lines if text in line]):
                assert self.process.returncode is None, self.lines
                await asyncio.sleep(0.02)
        return found[0]

    async def base_url(self) -> str:
        return (await self.line_with("listens on ")).split("listens on ")[1].strip()

    async def end(self) -> int:
        async with asyncio.timeout(15):
            status = await self.process.wait()
            await self._reading
        return status


StartProcess = Callable[..., Awaitable[Process]]


def environ_with(settings: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SERVER_PORT": "0", "UNREADY_SECONDS": "0", **settings}


@asynccontextmanager
async def gateway_process(tmp_path: Path, *arguments: str, **settings: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        cwd=tmp_path,
        env=environ_with(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    running = Process(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.end()
        process._transport.close()  # type: ignore[attr-defined]


@pytest.fixture
async def start_process(opened: AsyncExitStack, tmp_path: Path) -> StartProcess:
    async def start(*arguments: str, **settings: str) -> Process:
        return await opened.enter_async_context(gateway_process(tmp_path, *arguments, **settings))

    return start


async def run(tmp_path: Path, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run one command to its end: status, output, errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "gateway",
        *arguments,
        cwd=tmp_path,
        env=environ_with(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_it_serves_until_it_is_told_to_stop(start_process: StartProcess, simulator: Simulator) -> None:
    gateway = await start_process(DIFY_API_KEYS=DEMO_CHAT.key, DIFY_API_BASE=simulator.base_url)
    async with httpx.AsyncClient(base_url=await gateway.base_url(), trust_env=False) as http:
        assert (await http.get("/readyz")).status_code == 200
    gateway.process.send_signal(signal.SIGTERM)
    assert await gateway.end() == 0
    assert not [line for line in gateway.lines if "Traceback" in line or " ERROR " in line]


async def test_it_finishes_open_answers_before_it_stops(start_process: StartProcess, simulator: Simulator) -> None:
    gateway = await start_process(DIFY_API_KEYS=DEMO_CHAT.key, DIFY_API_BASE=simulator.base_url)
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=30 delay=0.05]]"}]}
    async with (
        httpx.AsyncClient(base_url=await gateway.base_url(), trust_env=False) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = response.aiter_lines()
        while "w2" not in await anext(lines):
            pass
        gateway.process.send_signal(signal.SIGTERM)
        rest = [line async for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert await gateway.end() == 0


async def test_a_second_signal_ends_it_now_and_stops_the_runs(
    start_process: StartProcess, simulator: Simulator
) -> None:
    gateway = await start_process(DIFY_API_KEYS=DEMO_CHAT.key, DIFY_API_BASE=simulator.base_url)
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=999 delay=0.05]]"}]}
    async with (
        httpx.AsyncClient(base_url=await gateway.base_url(), trust_env=False) as http,
        http.stream("POST", "/v1/chat/completions", json=body) as response,
    ):
        lines = response.aiter_lines()
        while "w2" not in await anext(lines):
            pass
        gateway.process.send_signal(signal.SIGTERM)
        await gateway.line_with("shutting down")
        gateway.process.send_signal(signal.SIGTERM)
        rest = [line async for line in lines if line]
    assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert await gateway.end() == 0
    assert [record.path for record in simulator.requests if record.path.endswith("/stop")]


async def test_everything_wrong_is_listed_at_once(tmp_path: Path) -> None:
    status, _, errors = await run(
        tmp_path,
        DIFY_API_KEYS="app-secret-one,app-secret-two@nowhere",
        SERVER_PORT="http",
        CONVERSATION_MEMORY_MODE="9",
        SERVER_HOST="0.0.0.0",
    )
    assert status == 78
    for name in (
        "DIFY_API_KEYS, key 1",
        "DIFY_API_KEYS, key 2",
        "SERVER_PORT",
        "CONVERSATION_MEMORY_MODE",
        "SERVER_HOST",
    ):
        assert name in errors
    assert "secret" not in errors
    assert "Traceback" not in errors


async def test_what_is_odd_in_the_settings_is_logged_like_everything(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DIFY_API_KEYS=app-one,\napp-two\nSERVR_PORT=1\n")
    status, _, errors = await run(tmp_path, "check-settings", DIFY_API_BASE="http://127.0.0.1:1/v1")
    assert status == 0
    told = [line.split(" ", 2) for line in errors.splitlines()]
    assert [(level, text) for _, level, text in told] == [
        ("WARNING", "gateway.configuration .env, line 2: no NAME=value (`export`?), ignored as systemd does"),
        ("WARNING", "gateway.configuration .env: SERVR_PORT is no setting of the gateway"),
    ]


async def test_a_taken_port_is_said_in_a_line(
    start_process: StartProcess, simulator: Simulator, tmp_path: Path
) -> None:
    status, _, errors = await run(
        tmp_path, DIFY_API_KEYS=DEMO_CHAT.key, DIFY_API_BASE=simulator.base_url, SERVER_PORT=str(simulator.port)
    )
    assert status == 1
    assert f"127.0.0.1:{simulator.port}" in errors
    assert "Traceback" not in errors


async def test_check_and_apps_report_every_key(start_simulator: StartSimulator, tmp_path: Path) -> None:
    simulator = await start_simulator()
    environ = {"DIFY_API_BASE": simulator.base_url, "DIFY_API_KEYS": f"{DEMO_WORKFLOW.key},app-revokedrevoked1234"}
    status, output, errors = await run(tmp_path, "check", **environ)
    assert (status, errors) == (1, "")
    assert "1 of 2 keys work." in output
    status, output, _ = await run(tmp_path, "apps", **environ)
    header, workflow, revoked = output.splitlines()
    assert status == 0
    assert header.split() == ["MODEL", "MODE", "REQUIRED", "INPUTS", "KEY", "STATE"]
    assert workflow.split() == ["Demo", "Workflow", "workflow", "text", f"…{DEMO_WORKFLOW.key[-4:]}", "ok"]
    assert "…1234" in revoked
    assert "app-revoked" not in output
    status, output, _ = await run(tmp_path, "check", **{**environ, "DIFY_API_KEYS": DEMO_CHAT.key})
    assert (status, "1 of 1 keys work." in output) == (0, True)


async def test_a_reload_takes_new_keys_and_drops_no_request(
    start_process: StartProcess, simulator: Simulator, tmp_path: Path
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"DIFY_API_BASE={simulator.base_url}\nDIFY_API_KEYS={DEMO_CHAT.key}\n")
    gateway = await start_process()
    body = {"model": "Demo Chatbot", "stream": True, "messages": [{"role": "user", "content": "[[n=40 delay=0.05]]"}]}
    async with httpx.AsyncClient(base_url=await gateway.base_url(), trust_env=False) as http:

        async def ids() -> list[str]:
            return [model["id"] for model in (await http.get("/v1/models")).json()["data"]]

        assert await ids() == ["Demo Chatbot"]
        async with http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.aiter_lines()
            while "w2" not in await anext(lines):
                pass
            env_file.write_text(f"DIFY_API_BASE={simulator.base_url}\nDIFY_API_KEYS={DEMO_WORKFLOW.key}\n")
            gateway.process.send_signal(signal.SIGHUP)
            await gateway.line_with("reloaded, 1 keys")
            assert await ids() == ["Demo Workflow"]
            rest = [line async for line in lines if line]
        assert rest[-1] == "data: [DONE]"

        env_file.write_text("SERVER_PORT=no\nDIFY_API_KEYS=app-x\n")
        gateway.process.send_signal(signal.SIGHUP)
        line = await gateway.line_with("reload failed")
        assert "DIFY_API_KEYS" in line
        assert await ids() == ["Demo Workflow"]


async def test_logs_tell_each_request_and_no_key(start_process: StartProcess, simulator: Simulator) -> None:
    gateway = await start_process(DIFY_API_KEYS=DEMO_CHAT.key, DIFY_API_BASE=simulator.base_url, LOG_FORMAT="json")
    body = {"model": "Demo Chatbot", "messages": [{"role": "user", "content": "private words [[n=2]]"}]}
    base_url = json.loads(await gateway.line_with("listens on"))["message"].split("listens on ")[1]
    async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
        response = await http.post(
            "/v1/chat/completions", json=body, headers={"Authorization": "Bearer sk-client-secret-key"}
        )
    entry = json.loads(await gateway.line_with("chat.completions"))
    assert entry["request_id"] == response.headers["x-request-id"]
    assert (entry["model"], entry["status"], entry["completion_tokens"] > 0) == ("Demo Chatbot", 200, True)
    everything = "".join(gateway.lines)
    assert DEMO_CHAT.key not in everything
    assert "sk-client-secret-key" not in everything
    assert "private words" not in everything
