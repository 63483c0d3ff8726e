"""For the whole session: a process with simulated Difys and a gateway process in front of it."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conformance.processes import Process

KEY = "sk-abc123"

_RUNNING: list[Process] = []


@dataclass(frozen=True)
class Gateway:
    """The address of the gateway under test."""

    url: str  # http://127.0.0.1:PORT
    process: Process

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"


@dataclass(frozen=True)
class Dify:
    """What the simulated Difys were asked, as they told it."""

    process: Process

    def requests(self, user: str) -> list[dict[str, Any]]:
        """All requests for this end user, oldest first."""
        lines = self.process.output_path.read_text().split("\n")[1:-1]
        entries = [json.loads(line) for line in lines if user in line]
        return [entry for entry in entries if entry["body"].get("user") == user]

    def wait_for_stop(self, user: str, seconds: float = 5.0) -> dict[str, Any]:
        """The call that stops a run of this end user."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for entry in self.requests(user):
                if entry["path"].endswith("/stop"):
                    return entry
            time.sleep(0.02)
        raise AssertionError(f"no run of {user} was stopped; Dify was asked {self.requests(user)}")


@pytest.fixture(scope="session")
def run_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    """Start a command that lives as long as the session."""
    directory = tmp_path_factory.mktemp("processes")

    def run(name: str, *arguments: str, **environ: str) -> Process:
        process = Process(name, [sys.executable, *arguments], directory, **environ)
        _RUNNING.append(process)
        return process

    yield run
    while _RUNNING:
        _RUNNING.pop().stop()


@pytest.fixture(scope="session")
def dify(run_process: Callable[..., Process]) -> Dify:
    return Dify(run_process("dify", "-m", "tests.conformance.dify"))


@pytest.fixture(scope="session")
def gateway(run_process: Callable[..., Process], dify: Dify) -> Gateway:
    keys = dify.process.wait_for(r"^DIFY_API_KEYS=(.+)$", dify.process.output_path)
    arguments = ("-m", "gateway", "--env-file", os.devnull)  # a developer's own .env is not what is tested
    environ = {"DIFY_API_KEYS": keys, "VALID_API_KEYS": KEY, "SERVER_PORT": "0", "SHUTDOWN_SECONDS": "1"}
    environ["UNREADY_SECONDS"] = "0"
    environ["CONVERSATION_MEMORY_MODE"] = "1"  # texts are compared to the letter: nothing hidden in them
    process = run_process("gateway", *arguments, **environ)
    url = process.wait_for(r"listens on (http://127\.0\.0\.1:\d+)", process.log_path)
    # The port is the one that this very process took; that it serves our apps shows that it reached our Dify.
    answer = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}, trust_env=False)
    assert answer.headers["server"] == "opendify-gateway"
    assert len(answer.json()["data"]) == len(keys.split(",")), process.recent_log()
    return Gateway(url, process)


@pytest.fixture(scope="session")
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    """A client without any SDK's habits."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=gateway.url, headers=headers, timeout=20, trust_env=False) as client:
        yield client


@pytest.fixture
def user() -> str:
    """An end user that no other test has: finds this test's requests in Dify's journal."""
    return f"user-{uuid.uuid4()}"


@pytest.fixture(autouse=True)
def _watch_logs() -> Iterator[None]:
    """No client and no Dify of these tests may surprise the gateway."""
    for process in _RUNNING:
        process.mark()
    yield
    for process in _RUNNING:
        assert " ERROR " not in process.recent_log()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """A failed test shows what the gateway and Dify logged meanwhile."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {process.name}", process.recent_log()) for process in _RUNNING]
    return report
