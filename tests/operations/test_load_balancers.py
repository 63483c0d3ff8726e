"""HAProxy and nginx as shipped, each in front of two gateways."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tests.operations.deployment import deployment
from tests.operations.load_balancers import BALANCERS, CONF, balancer
from tests.operations.workers import Workers
from tests.simulator.server import Simulator

each = pytest.mark.parametrize("name", BALANCERS)

QUESTION = {"model": "Demo Chatbot", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(autouse=True)
def _installed(name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed (scripts/debian-packages)")


@each
def test_the_shipped_file_is_valid(name: str, tmp_path: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("it names root's directories")
    command = {
        "haproxy": ["haproxy", "-c", "-q", "-f", str(CONF / "haproxy.cfg")],
        "nginx": ["nginx", "-t", "-q", "-c", str(CONF / "nginx.conf")],
    }[name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- one request ------------------------------------------------------------------------------------------------------


@each
async def test_what_passes_and_what_is_told_of_the_client(name: str, simulator: Simulator, tmp_path: Path) -> None:
    settings = {"LOG_FORMAT": "json", "UNREADY_SECONDS": "0"}
    async with (
        deployment(name, simulator, tmp_path, **settings) as (base_url, gateways),
        httpx.AsyncClient(base_url=base_url, trust_env=False) as http,
    ):
        for path in ("/metrics", "/readyz", "/status", "/", "/%6detrics", "/v1/../metrics", "/x/v1/models"):
            hidden = await http.get(path)
            assert hidden.status_code == 404, path
            assert hidden.json()["error"]["code"] == "unknown_url"
        if name == "haproxy":
            assert (await http.get("/healthz")).status_code == 200
        lies = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9"}
        ids = []
        for given in ("not an id", "one-of-several, not an id", "from-my-own-client"):
            answer = await http.post("/v1/chat/completions", json=QUESTION, headers={**lies, "X-Request-ID": given})
            assert answer.status_code == 200
            ids.append(answer.headers["x-request-id"])
        assert [" " in one for one in ids] == [False] * 3
        assert ids[2] == "from-my-own-client"
        for gateway in gateways:
            assert await gateway.end() == 0
        lines = [json.loads(line) for gateway in gateways for line in gateway.log().splitlines() if line[:1] == "{"]
        requests = {line["request_id"]: line for line in lines if line["message"] == "request" and "memory" in line}
        assert sorted(requests) == sorted(ids)
        assert {line["address"] for line in requests.values()} == {"127.0.0.1"}
        nobody = await http.post("/v1/chat/completions", json=QUESTION)  # both gateways are gone
        assert nobody.status_code in (502, 503)
        assert nobody.json()["error"]["type"] == "api_error"
        if name == "haproxy":
            async with asyncio.timeout(10):  # the health checks have to see it
                while (await http.get("/healthz")).status_code != 503:
                    await asyncio.sleep(0.05)


@each
async def test_a_question_that_has_left_is_never_sent_again(name: str, tmp_path: Path) -> None:
    """A gateway that dies with a request in its hands may have started the run."""
    heads: list[bytes] = []

    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /readyz"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        else:
            heads.append(head)
        writer.close()

    async with AsyncExitStack() as opened, asyncio.timeout(20):
        servers = [await asyncio.start_server(die, "127.0.0.1", 0) for _ in range(2)]
        for server in servers:
            opened.callback(server.close)
        ports = [server.sockets[0].getsockname()[1] for server in servers]
        base_url = await opened.enter_async_context(balancer(name, ports, tmp_path))
        async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
            while (await http.get("/healthz")).status_code == 503:
                await asyncio.sleep(0.05)
        # On a connection that has served before, HAProxy would close without a word.
        async with httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
            answer = await http.post("/v1/chat/completions", json=QUESTION)
        assert (answer.status_code, answer.headers["x-should-retry"]) == (502, "false")
        assert answer.json()["error"]["code"] == "gateway_lost"
    assert len(heads) == 1


# --- streams ----------------------------------------------------------------------------------------------------------


async def lumps(base_url: str) -> float:
    """The share of an answer's pieces that came together with another one; Dify sends one every 60 ms."""
    question = {"role": "user", "content": "[[n=25 delay=0.06]]"}
    body = json.dumps({"model": "Demo Chatbot", "stream": True, "messages": [question]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    # A socket, because HTTP clients take apart what came in one read.
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rsplit(":", 1)[1]))
    writer.write(head.encode() + body)
    pieces: list[int] = []
    async with asyncio.timeout(20):
        while b"[DONE]" not in (data := await reader.read(1 << 16)):
            pieces.append(data.count(b'"delta":{"content"'))
    writer.close()
    assert sum(pieces) + data.count(b'"delta":{"content"') >= 25
    return sum(count for count in pieces if count > 1) / sum(pieces)


@each
async def test_streams_arrive_as_dify_sends_them(name: str, simulator: Simulator, tmp_path: Path) -> None:
    async with deployment(name, simulator, tmp_path) as (base_url, _):
        assert await lumps(base_url) < 0.3 or await lumps(base_url) < 0.3  # the machine may be busy


@pytest.mark.parametrize("name", ["haproxy"])  # nginx obeys the gateway's X-Accel-Buffering, whatever its file says
async def test_haproxy_would_collect_them_by_default(name: str, simulator: Simulator, tmp_path: Path) -> None:
    """Else the test above is blind."""
    change = {"    option http-no-delay\n": ""}
    async with deployment(name, simulator, tmp_path, change) as (base_url, _):
        assert await lumps(base_url) > 0.5 or await lumps(base_url) > 0.5


@each
async def test_a_client_that_leaves_stops_its_run(name: str, simulator: Simulator, tmp_path: Path) -> None:
    async with deployment(name, simulator, tmp_path) as (base_url, _), asyncio.timeout(20):
        await leave(base_url, simulator, stream=True)
        await leave(base_url, simulator, stream=False)


async def leave(base_url: str, simulator: Simulator, *, stream: bool) -> None:
    """Close the connection while Dify answers, and wait until Dify is told."""
    simulator.runs.clear()
    simulator.requests.clear()
    question = {"role": "user", "content": "[[n=1000 delay=0.05]]"}
    body = json.dumps({"model": "Demo Chatbot", "stream": stream, "messages": [question]}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(base_url.rsplit(":", 1)[1]))
    writer.write(head.encode() + body)
    if stream:
        await reader.readuntil(b"w3")
    while not simulator.runs:
        await asyncio.sleep(0.02)
    writer.close()
    while not any(request.path.endswith("/stop") for request in simulator.requests):
        await asyncio.sleep(0.02)


# --- restarts ---------------------------------------------------------------------------------------------------------


def asked(simulator: Simulator) -> Counter[str]:
    """How often Dify was asked each question."""
    requests = [request for request in simulator.requests if request.path.endswith("/chat-messages")]
    return Counter(str(request.body["query"]).split(" ", 1)[0] for request in requests)


@each
async def test_a_rolling_restart_loses_nothing(name: str, simulator: Simulator, tmp_path: Path) -> None:
    async with (
        deployment(name, simulator, tmp_path) as (base_url, gateways),
        Workers(base_url) as workers,
    ):
        for gateway in gateways:
            await workers.more(20)
            assert await gateway.end() == 0
            await workers.more(40)
            await gateway.start()
            await asyncio.sleep(0.6)  # the balancer sees it
    assert workers.lost == []
    assert len(workers.answered) >= 120
    # Nothing was asked twice, whatever was retried on the way.
    assert asked(simulator) == Counter(workers.answered)


async def answering(port: int) -> None:
    """Wait until the balancer has given this gateway several answers to make; a slow start may keep it out for long."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http, asyncio.timeout(20):
        while (
            found := re.search(r"(?m)^gateway_answers_in_flight (\d+)", (await http.get("/metrics")).text)
        ) is None or (int(found[1]) < 5):
            await asyncio.sleep(0.05)


@each
async def test_a_gateway_that_is_killed_does_lose_answers(name: str, simulator: Simulator, tmp_path: Path) -> None:
    """Else the test above is blind."""
    async with (
        deployment(name, simulator, tmp_path) as (base_url, gateways),
        Workers(base_url) as workers,
    ):
        await workers.more(20)
        await answering(gateways[0].port)
        await gateways[0].end(signal.SIGKILL)
        await workers.more(40)
    assert workers.lost
    assert max(asked(simulator).values()) == 1
