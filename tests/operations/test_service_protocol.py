"""The process under a service manager: ready, watched, reloaded, stopped and started again on the same socket."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.operations.service_manager import ServiceManager
from tests.operations.workers import Workers
from tests.simulator.apps import DEMO_CHAT, DEMO_WORKFLOW
from tests.simulator.server import Simulator


def settings(simulator: Simulator, key: str = DEMO_CHAT.key) -> str:
    return f"DIFY_API_BASE={simulator.base_url}\nDIFY_API_KEYS={key}\n"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20, trust_env=False) as http:
        yield http


async def hear_all(manager: ServiceManager, line: str) -> None:
    """Until none comes any more; what was on its way may still come. Raises TimeoutError, always."""
    while True:
        await manager.hears(line, seconds=1)


async def test_it_is_ready_when_the_inherited_socket_answers(
    tmp_path: Path, simulator: Simulator, http: httpx.AsyncClient
) -> None:
    (tmp_path / ".env").write_text(settings(simulator))
    async with ServiceManager(tmp_path, UNREADY_SECONDS="0") as manager:
        early = asyncio.create_task(http.get(f"{manager.base_url}/readyz"))  # waits in the socket's queue
        process = await manager.start()
        assert (await early).status_code == 200
        assert manager.messages == [{"READY": "1", "STATUS": "serving, 1 apps, 0 answers in flight"}]
        assert await manager.stop(process) == 0


async def test_a_unix_socket_serves_as_well(tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / ".env").write_text(settings(simulator))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "http"))
    listener.listen()
    transport = httpx.AsyncHTTPTransport(uds=str(tmp_path / "http"))
    async with (
        ServiceManager(tmp_path, listener=listener, UNREADY_SECONDS="0") as manager,
        httpx.AsyncClient(transport=transport, timeout=20) as http,
    ):
        process = await manager.start()
        assert (await http.get("http://gateway/v1/models")).status_code == 200
        assert await manager.stop(process) == 0


async def test_the_watchdog_hears_a_live_loop_and_no_stopped_one(tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / ".env").write_text(settings(simulator))
    async with ServiceManager(tmp_path, watchdog_seconds=0.4, UNREADY_SECONDS="0") as manager:
        process = await manager.start()
        for _ in range(3):
            assert "serving" in (await manager.hears("WATCHDOG=1"))["STATUS"]
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(TimeoutError):
            await hear_all(manager, "WATCHDOG=1")
        process.send_signal(signal.SIGCONT)
        await manager.hears("WATCHDOG=1")
        assert await manager.stop(process) == 0


async def test_a_reload_is_told_from_its_begin_to_its_end(
    tmp_path: Path, simulator: Simulator, http: httpx.AsyncClient
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(settings(simulator))
    async with ServiceManager(tmp_path, UNREADY_SECONDS="0") as manager:

        async def model() -> str:
            (only,) = (await http.get(f"{manager.base_url}/v1/models")).json()["data"]
            return str(only["id"])

        process = await manager.start()
        env_file.write_text(settings(simulator, DEMO_WORKFLOW.key))
        asked_at = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        process.send_signal(signal.SIGHUP)
        assert int((await manager.hears("RELOADING=1"))["MONOTONIC_USEC"]) >= asked_at
        await manager.hears("READY=1")
        assert await model() == "Demo Workflow"

        env_file.write_text("SERVER_PORT=no\nLOG_LEVEL=loud\n")
        process.send_signal(signal.SIGHUP)
        await manager.hears("RELOADING=1")
        told = (await manager.hears("READY=1"))["STATUS"]
        assert "the last reload failed: LOG_LEVEL='loud': not one of" in told
        assert await model() == "Demo Workflow"

        env_file.write_text(settings(simulator))
        process.send_signal(signal.SIGHUP)
        await manager.hears("RELOADING=1")
        assert (await manager.hears("READY=1"))["STATUS"] == "serving, 1 apps, 0 answers in flight"
        assert await manager.stop(process) == 0


async def test_many_reloads_at_once_are_two(tmp_path: Path, simulator: Simulator) -> None:
    """The one that runs, and one after it, which sees whatever was written meanwhile."""
    (tmp_path / ".env").write_text(settings(simulator))
    async with ServiceManager(tmp_path, UNREADY_SECONDS="0") as manager:
        process = await manager.start()
        for _ in range(5):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.1)  # noqa: ASYNC251  Dify lives in this loop: the first reload waits for it all the time
        with pytest.raises(TimeoutError):
            await hear_all(manager, "RELOADING=1")
        assert await manager.stop(process) == 0
    # On a busy machine signals of one number may become one before anybody takes them.
    assert sum("RELOADING" in message for message in manager.messages) in (1, 2)


async def test_the_end_is_told_with_the_time_that_it_may_take(
    tmp_path: Path, simulator: Simulator, http: httpx.AsyncClient
) -> None:
    (tmp_path / ".env").write_text(settings(simulator))
    async with ServiceManager(tmp_path, watchdog_seconds=0.4, UNREADY_SECONDS="0.8", SHUTDOWN_SECONDS="600") as manager:
        process = await manager.start()
        process.send_signal(signal.SIGTERM)
        stopping = await manager.hears("STOPPING=1")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 600e6
        assert (await http.get(f"{manager.base_url}/readyz")).status_code == 503
        assert (await http.get(f"{manager.base_url}/healthz")).status_code == 200
        assert "shutting down" in (await manager.hears("WATCHDOG=1"))["STATUS"]
        assert await process.wait() == 0


async def test_restarts_under_load_lose_nobody(tmp_path: Path, simulator: Simulator) -> None:
    (tmp_path / ".env").write_text(settings(simulator))
    async with ServiceManager(tmp_path, UNREADY_SECONDS="1") as manager:  # an answer takes half of it
        process = await manager.start()
        async with Workers(manager.base_url, count=10) as workers:
            for _ in range(2):
                await workers.more(5)
                assert await manager.stop(process) == 0
                process = await manager.start()
            await workers.more(5)
        assert await manager.stop(process) == 0
    assert workers.lost == []


async def test_a_service_manager_that_is_gone_cuts_nothing(
    tmp_path: Path, simulator: Simulator, http: httpx.AsyncClient
) -> None:
    (tmp_path / ".env").write_text(settings(simulator))
    async with ServiceManager(tmp_path, watchdog_seconds=0.2, UNREADY_SECONDS="0.1") as manager:
        process = await manager.start()
        manager.close_notifications()
        await asyncio.sleep(0.3)
        assert (await http.get(f"{manager.base_url}/readyz")).status_code == 200
        assert await manager.stop(process) == 0
