"""Prometheus itself reads two gateways, and its own tool judges the shipped files."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.operations.gateways import running_gateways
from tests.operations.load_balancers import CONF, free_port, listening, replaced
from tests.simulator.apps import DEMO_CHAT
from tests.simulator.server import Simulator

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="Prometheus is not installed (scripts/debian-packages)"
)

RULES = (CONF / "prometheus-rules.yml").read_text()
RECORDINGS = re.findall(r"record: (\S+)", RULES)
ALERTS = re.findall(r"alert: (\S+)", RULES)


def promtool(*arguments: object, directory: Path = CONF, text: str = "") -> subprocess.CompletedProcess[str]:
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(command, cwd=directory, input=text, capture_output=True, text=True, timeout=30)


# --- the files --------------------------------------------------------------------------------------------------------


def test_the_shipped_files_are_valid() -> None:
    for command in (
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "--lint=all", "--lint-fatal", "prometheus-rules.yml"),
        ("test", "rules", "prometheus-rules.test.yml"),
    ):
        done = promtool(*command)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_seen_to_fire() -> None:
    tests = (CONF / "prometheus-rules.test.yml").read_text()
    fires = {name for name, rest in re.findall(r"alertname: (\w+)\n(\s+exp_alerts:\n)", tests) if rest}
    assert fires == set(ALERTS)


@pytest.mark.parametrize(
    ("shipped", "other"),
    [
        ("ratio_rate5m > 0.05", "ratio_rate5m > 0.5"),
        ("_seconds:p95_5m > 15", "_seconds:p95_5m > 25"),
        ("max by (model)", "min by (model)"),
        ("[15m]) > 3", "[15m]) > 0"),
        ("queue|overload|circuit", "client_key"),
    ],
)
def test_the_tests_of_the_rules_see_a_change(shipped: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "prometheus-rules.yml").write_text(replaced(RULES, {shipped: other}))
    shutil.copy(CONF / "prometheus-rules.test.yml", tmp_path)
    assert promtool("test", "rules", "prometheus-rules.test.yml", directory=tmp_path).returncode == 1


# --- the server -------------------------------------------------------------------------------------------------------


class Prometheus:
    """Its API."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **parameters: str) -> Any:
        """What it answers. Raises AssertionError where it refuses."""
        answer = (await self._http.get(f"/api/v1/{path}", params=parameters)).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def query(self, query: str) -> list[dict[str, Any]]:
        """The series that a query finds now."""
        result: list[dict[str, Any]] = (await self.get("query", query=query))["result"]
        return result


@asynccontextmanager
async def prometheus(targets: list[int], directory: Path) -> AsyncIterator[Prometheus]:
    """The server with the shipped files, looking every half second."""
    config = replaced(
        (CONF / "prometheus.yml").read_text(),
        {
            "scrape_interval: 15s": "scrape_interval: 500ms",
            "evaluation_interval: 15s": "evaluation_interval: 500ms",
            "127.0.0.1:9001": f"127.0.0.1:{targets[0]}",
            "127.0.0.1:9002": f"127.0.0.1:{targets[1]}",
        },
    )
    (directory / "prometheus.yml").write_text(config)
    shutil.copy(CONF / "prometheus-rules.yml", directory)
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process: Process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--config.file={directory}/prometheus.yml",
            f"--storage.tsdb.path={directory}/data",
            "--enable-feature=exemplar-storage",
            stdout=log,
            stderr=log,
        )
    try:
        await listening(port, process, directory / "prometheus.log")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:
            yield Prometheus(http)
    finally:
        if process.returncode is None:
            process.kill()  # its data is of no use
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def questions(port: int, stop: asyncio.Event) -> list[str]:
    """Ask one gateway one thing after another; the request ids."""
    ids = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:
        while not stop.is_set():
            message = {"role": "user", "content": "[[n=5 delay=0.02]]"}
            for model in ("Demo Chatbot", "Nobody's"):
                body = {"model": model, "stream": True, "messages": [message]}
                ids.append((await http.post("/v1/chat/completions", json=body)).headers["x-request-id"])
    return ids


async def test_prometheus_reads_two_gateways(tmp_path: Path) -> None:
    longest = replace(DEMO_CHAT, key=f"{DEMO_CHAT.key}-2", name="答" * 300)  # one label too long, and a scrape is lost
    async with (
        Simulator("1.12.1", [DEMO_CHAT, longest]) as simulator,
        running_gateways(simulator, tmp_path) as gateways,
        prometheus([gateway.port for gateway in gateways], tmp_path) as server,
        asyncio.timeout(50),
    ):
        stop = asyncio.Event()
        asking = [asyncio.create_task(questions(gateway.port, stop)) for gateway in gateways]
        for name in RECORDINGS:
            while not await server.query(name):
                await asyncio.sleep(0.2)
        stop.set()
        ids = [request_id for one in await asyncio.gather(*asking) for request_id in one]

        up = await server.query('up{job="gateway"}')
        assert [series["value"][1] for series in up] == ["1", "1"]
        groups = (await server.get("rules"))["groups"]
        health = {rule["name"]: (rule["health"], rule.get("lastError")) for group in groups for rule in group["rules"]}
        assert health == dict.fromkeys([*RECORDINGS, *ALERTS], ("ok", None))
        models = {series["metric"]["model"] for series in await server.query("model:gateway_requests:rate5m")}
        assert models == {"Demo Chatbot", "other"}
        assert len(await server.query("process_open_fds > 0 and process_max_fds > 0")) == 2
        (most,) = await server.query('max(scrape_samples_scraped{job="gateway"})')
        assert int(most["value"][1]) < 1000
        found = await server.get(
            "query_exemplars", query="gateway_request_duration_seconds_bucket", start="0", end="9e9"
        )
        assert {exemplar["labels"]["request_id"] for one in found for exemplar in one["exemplars"]} <= set(ids)
        assert found

        for gateway in gateways:
            async with httpx.AsyncClient(trust_env=False) as http:
                text = (await http.get(f"http://127.0.0.1:{gateway.port}/metrics")).text
            done = promtool("check", "metrics", text=text)
            # Names that Prometheus' own library gives to the process and the interpreter.
            lint = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("python_")]
            assert lint == []


def test_the_tool_would_refuse_bad_metrics() -> None:
    """Else the last lines above are blind."""
    assert promtool("check", "metrics", text="# TYPE x_total gauge\nx_total 1\n").returncode != 0
