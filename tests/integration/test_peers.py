"""Several gateways and a real Redis: a request joins what another gateway answers; without Redis each goes on alone."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import ConnectionError as RedisConnectionError
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from gateway.drain import drain
from gateway.errors import UpstreamTruncated
from gateway.exchange.answer import AnswerStamp, Finished, TextDelta
from gateway.peers import follower as follower_module
from gateway.peers import publication as publication_module
from gateway.peers import redis_link
from gateway.peers.claiming import claim_answer
from gateway.peers.follower import Follower
from gateway.peers.publication import Publication
from gateway.peers.redis_link import Claim, Peers, Silence
from tests.integration.conftest import Gateway, StartGateway
from tests.integration.test_idempotency import (
    LONG,
    ask,
    counted,
    error_of,
    id_and_text,
    read_until,
    streaming,
    until,
)
from tests.integration.test_process import gateway_process
from tests.simulator.server import Simulator

SECRET = "correct-horse"  # what a question must not leave behind


@dataclass
class RedisServer:
    """A redis-server of the test's own."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"redis://:pass@127.0.0.1:{self.port}/0"

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    program = shutil.which("redis-server")
    assert program, "redis-server is missing; on Debian: apt-get install redis-server"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--requirepass",
        "pass",
        "--save",
        "",
        "--dir",
        str(tmp_path),
    ]
    server = RedisServer(subprocess.Popen([program, *options], stdout=subprocess.DEVNULL), port)
    try:
        retry = Retry(ConstantBackoff(0.05), 100)
        with Redis.from_url(server.url, retry=retry, retry_on_error=[RedisConnectionError]) as client:
            client.ping()
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.fixture
async def nodes(start_gateway: StartGateway, simulator: Simulator, redis: RedisServer) -> list[Gateway]:
    return [await start_gateway(simulator, REDIS_URL=redis.url) for _ in range(2)]


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (redis_link, publication_module, follower_module):
        monkeypatch.setattr(module, "LEASE_SECONDS", 1.0)
    monkeypatch.setattr(follower_module, "_BLOCK_SECONDS", 0.3)


def claims(client: Redis) -> list[str]:
    return [name for name in client.keys("opendify:*") if name.count(":") == 1]


# --- joining ----------------------------------------------------------------------------------------------------------


async def test_another_gateway_joins_a_finished_answer(nodes: list[Gateway], simulator: Simulator) -> None:
    first = await ask(nodes[0], "k1")
    for stream in (False, True, False):
        assert id_and_text(await ask(nodes[1], "k1", stream=stream)) == id_and_text(first)
    assert len(simulator.runs) == 1
    assert counted(nodes[0], "started") == 1
    assert (counted(nodes[1], "started"), counted(nodes[1], "joined_finished")) == (0, 3)


async def test_who_follows_is_told_when_its_own_gateway_ends(nodes: list[Gateway], simulator: Simulator) -> None:
    async with streaming(nodes[0], "k1", LONG) as first:
        await read_until(first, "w20")
        async with streaming(nodes[1], "k1", LONG) as second:
            await read_until(second, "w20")
            at_once = asyncio.Event()
            at_once.set()
            ending = asyncio.create_task(drain(nodes[1].server, nodes[1].services, unready_seconds=0, stop_now=at_once))
            await read_until(second, "shutting_down")
        await ending
        await read_until(first, "w60")
    assert len(simulator.runs) == 1


async def test_another_gateway_joins_a_running_answer_from_its_start(
    nodes: list[Gateway], simulator: Simulator
) -> None:
    text = "[[n=80 delay=0.02]]"
    async with streaming(nodes[0], "k1", text) as first:
        await read_until(first, "w20")
        joined = await asyncio.gather(*(ask(nodes[1], "k1", text, stream=n == 1) for n in range(3)))
        await read_until(first, "[DONE]")
    assert len({id_and_text(answer) for answer in joined}) == 1
    assert id_and_text(joined[0])[2].split()[:80] == [f"w{n}" for n in range(1, 81)]
    assert id_and_text(joined[0]) == id_and_text(await ask(nodes[0], "k1", text))
    assert len(simulator.runs) == 1
    assert counted(nodes[1], "joined_running") == 3


async def test_the_text_arrives_while_it_is_made(nodes: list[Gateway], simulator: Simulator) -> None:
    text = "[[n=100 delay=0.02]]"
    async with streaming(nodes[0], "k1", text) as first, streaming(nodes[1], "k1", text) as second:
        await read_until(second, "w10")
        assert simulator.runs[0].state == "running"
        await read_until(second, "[DONE]")
        await read_until(first, "[DONE]")


async def test_a_dify_that_is_silent_for_long_is_no_dead_gateway(
    nodes: list[Gateway], simulator: Simulator, short_lease: None
) -> None:
    text = "[[first=3 n=5]]"
    first, second = await asyncio.gather(ask(nodes[0], "k1", text), ask(nodes[1], "k1", text))
    assert id_and_text(first) == id_and_text(second)
    assert len(simulator.runs) == 1


async def test_a_crowd_at_both_gateways_is_one_run(nodes: list[Gateway], simulator: Simulator) -> None:
    answers = await asyncio.gather(*(ask(nodes[n % 2], "k1", "[[n=20 delay=0.01]]") for n in range(20)))
    assert len({id_and_text(answer) for answer in answers}) == 1
    assert len(simulator.runs) == 1


async def test_another_question_under_the_same_key_is_refused_everywhere(
    nodes: list[Gateway], simulator: Simulator
) -> None:
    await ask(nodes[0], "k1", "[[n=5]] one")
    assert error_of(await ask(nodes[1], "k1", "[[n=5]] two"))[:2] == (422, "idempotency_key_reused")
    assert (await ask(nodes[1], "k1", "[[n=5]] one")).status_code == 200  # the refusal is not what is kept
    assert len(simulator.runs) == 1


async def test_a_failed_run_is_remembered_everywhere(nodes: list[Gateway], simulator: Simulator) -> None:
    first = await ask(nodes[0], "k1", "[[fail=500]]")
    assert error_of(await ask(nodes[1], "k1", "[[fail=500]]", stream=True)) == error_of(first)
    assert len(simulator.runs) == 1


async def test_what_did_not_reach_dify_is_tried_again_anywhere(
    nodes: list[Gateway], simulator: Simulator, redis: RedisServer
) -> None:
    await ask(nodes[0], "k1", "[[http=limit]]")
    with Redis.from_url(redis.url, decode_responses=True) as client:
        await until(lambda: not claims(client))
    for node in nodes:
        await ask(node, "k1", "[[http=limit]]")
        await asyncio.sleep(0.1)
    assert len([record for record in simulator.requests if record.path.endswith("/chat-messages")]) == 3


async def test_a_very_long_answer_is_refused_everywhere(
    start_gateway: StartGateway, simulator: Simulator, redis: RedisServer
) -> None:
    nodes = [await start_gateway(simulator, REDIS_URL=redis.url, IDEMPOTENCY_BYTES=str(1 << 20)) for _ in range(2)]
    text = "[[n=1500 delay=0.001]]"
    assert (await ask(nodes[0], "k1", text, stream=True)).status_code == 200
    for stream in (False, True):  # also a stream is refused before its first word
        refused = await ask(nodes[1], "k1", text, stream=stream)
        assert error_of(refused) == (409, "idempotency_conflict", "false")
    assert len(simulator.runs) == 1


async def test_after_the_window_it_is_a_new_request(
    start_gateway: StartGateway, simulator: Simulator, redis: RedisServer, short_lease: None
) -> None:
    nodes = [await start_gateway(simulator, REDIS_URL=redis.url, IDEMPOTENCY_SECONDS="0.2") for _ in range(2)]
    await ask(nodes[0], "k1")
    with Redis.from_url(redis.url) as client:
        await until(lambda: not client.keys())
    await ask(nodes[1], "k1")
    assert len(simulator.runs) == 2


async def test_what_lies_in_redis(nodes: list[Gateway], simulator: Simulator, redis: RedisServer) -> None:
    await ask(nodes[0], SECRET + "-key", f"[[n=5]] {SECRET}", client_key=f"sk-{SECRET}", user=SECRET)
    with Redis.from_url(redis.url, decode_responses=True) as client:
        await until(lambda: client.keys("*:events"))
        names = client.keys()
        assert all(0 < client.ttl(name) <= 606 for name in names)
        kept = [client.get(name) if client.type(name) == "string" else client.xrange(name) for name in names]
    assert "w5" in str(kept)  # the answer, as the setting says
    assert SECRET not in str([names, kept])
    assert "app-" not in str([names, kept])


# --- clients that leave -----------------------------------------------------------------------------------------------


async def test_a_retry_at_another_gateway_joins_within_the_grace(
    start_gateway: StartGateway, simulator: Simulator, redis: RedisServer
) -> None:
    nodes = [await start_gateway(simulator, REDIS_URL=redis.url, IDEMPOTENCY_GRACE_SECONDS="0.5") for _ in range(2)]
    text = "[[n=100 delay=0.03]]"  # much longer than the grace
    async with streaming(nodes[0], "k1", text) as first:
        await read_until(first, "w3")
    assert id_and_text(await ask(nodes[1], "k1", text))[2].split()[:100] == [f"w{n}" for n in range(1, 101)]
    assert [run.state for run in simulator.runs] == ["finished"]


async def test_a_follower_that_leaves_stops_nothing(nodes: list[Gateway], simulator: Simulator) -> None:
    text = "[[n=100 delay=0.02]]"
    async with streaming(nodes[0], "k1", text) as first:
        async with streaming(nodes[1], "k1", text) as second:
            await read_until(second, "w10")
        await read_until(first, "[DONE]")
    assert [run.state for run in simulator.runs] == ["finished"]


async def test_when_all_have_left_the_run_is_stopped(
    start_gateway: StartGateway, simulator: Simulator, redis: RedisServer, short_lease: None
) -> None:
    nodes = [await start_gateway(simulator, REDIS_URL=redis.url, IDEMPOTENCY_GRACE_SECONDS="0.3") for _ in range(2)]
    async with streaming(nodes[0], "k1", LONG) as first:
        await read_until(first, "w3")
        async with streaming(nodes[1], "k1", LONG) as second:
            await read_until(second, "w3")
    await until(lambda: simulator.runs[0].state == "stopped", 8)
    with Redis.from_url(redis.url, decode_responses=True) as client:
        await until(lambda: not claims(client))


# --- failures of gateways ---------------------------------------------------------------------------------------------


async def test_a_gateway_that_is_killed_leaves_an_error_that_is_not_retried(
    start_gateway: StartGateway, simulator: Simulator, redis: RedisServer, opened: AsyncExitStack, tmp_path: Path
) -> None:
    keys = ",".join(simulator.apps)
    settings = {"DIFY_API_KEYS": keys, "DIFY_API_BASE": simulator.base_url, "REDIS_URL": redis.url}
    settings["CONVERSATION_MEMORY_MODE"] = "1"  # as the other one has it: else it is another question
    owner = await opened.enter_async_context(gateway_process(tmp_path, **settings))
    other = await start_gateway(simulator, REDIS_URL=redis.url)
    async with httpx.AsyncClient(base_url=await owner.base_url(), trust_env=False) as http:
        killed = Gateway(other.services, other.server, 0, http)
        async with streaming(killed, "k1", LONG) as first:
            await read_until(first, "w5")
            second = asyncio.create_task(ask(other, "k1", LONG))
            await asyncio.sleep(0.5)
            owner.process.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                await read_until(first, "[DONE]")
    assert error_of(await second) == (502, "upstream_truncated", "false")
    # Dify may still be running it: within the window nobody starts it again.
    assert error_of(await ask(other, "k1", LONG)) == (502, "upstream_truncated", "false")
    assert len(simulator.runs) == 1


# --- failures of Redis ------------------------------------------------------------------------------------------------


async def test_without_redis_requests_are_served_as_by_one_gateway(
    nodes: list[Gateway], simulator: Simulator, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis.stop()
    with caplog.at_level(logging.WARNING, "gateway.peers.redis_link"):
        for key in ("k1", "k2", "k1"):
            assert (await ask(nodes[0], key)).status_code == 200
    assert len(simulator.runs) == 2
    assert counted(nodes[0], "redis_failed") == 2
    assert counted(nodes[0], "joined_finished") == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "pass" not in line.replace("passed", "")
    assert (await nodes[0].http.get("/readyz")).status_code == 200


async def test_a_slow_redis_costs_a_moment_and_is_caught_up_with(
    nodes: list[Gateway], simulator: Simulator, redis: RedisServer
) -> None:
    await ask(nodes[0], "warm")
    redis.send(signal.SIGSTOP)
    try:
        began = asyncio.get_running_loop().time()
        async with streaming(nodes[0], "k1", "[[n=100 delay=0.02]]") as first:
            await read_until(first, "w1")
            assert asyncio.get_running_loop().time() - began < 1.0
            await read_until(first, "w20")
            redis.send(signal.SIGCONT)
            with Redis.from_url(redis.url, decode_responses=True) as client:
                await until(lambda: len(client.keys("*:events")) == 2)
            second = await ask(nodes[1], "k1", "[[n=100 delay=0.02]]")
            await read_until(first, "[DONE]")
    finally:
        redis.send(signal.SIGCONT)
    assert id_and_text(second) == id_and_text(await ask(nodes[0], "k1", "[[n=100 delay=0.02]]"))
    assert id_and_text(second)[2].split()[:100] == [f"w{n}" for n in range(1, 101)]
    assert len(simulator.runs) == 2


async def test_a_redis_that_is_gone_is_not_pestered(
    nodes: list[Gateway], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    call = Peers.call

    async def counting(self: Peers, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        return await call(self, *arguments)

    redis.stop()
    monkeypatch.setattr(Peers, "call", counting)
    assert (await ask(nodes[0], "k1")).status_code == 200
    await asyncio.sleep(1)
    assert 2 <= calls < 8


async def test_the_lease_is_held_until_the_end_is_told(redis: RedisServer) -> None:
    """Between an entry that is sent once more and the end, a follower must not take this gateway for dead."""
    stamp = AnswerStamp("chatcmpl-1", 7)
    link = Peers(redis.url)
    publication = await claim_answer(link, Claim("name", "question", stamp), 60)
    assert isinstance(publication, Publication)
    publication.add([TextDelta("w1")])
    redis.send(signal.SIGSTOP)
    with pytest.raises(Silence):
        await publication._send()
    redis.send(signal.SIGCONT)
    publication.add([TextDelta("w2"), Finished()])
    publication.end(kept=True)
    follower = await claim_answer(link, Claim("name", "question", AnswerStamp("chatcmpl-2", 8)), 60)
    assert isinstance(follower, Follower)
    assert not await publication._send()
    await follower._look()
    assert follower.alive
    assert await publication._send()
    await follower._look()
    assert not follower.alive
    assert await follower.next_batch() == [TextDelta("w1"), TextDelta("w2"), Finished()]
    assert await follower.next_batch() == []
    await link.close()


async def test_a_text_with_a_hole_is_never_shown(redis: RedisServer) -> None:
    link = Peers(redis.url)
    publication = await claim_answer(link, Claim("name", "question", AnswerStamp("chatcmpl-1", 7)), 60)
    assert isinstance(publication, Publication)
    for word in ("w1", "w2", "w3"):
        publication.add([TextDelta(word)])
        await publication._send()
    with Redis.from_url(redis.url) as client:
        assert client.xdel("opendify:name:chatcmpl-1:events", "2-1") == 1
    follower = await claim_answer(link, Claim("name", "question", AnswerStamp("chatcmpl-2", 8)), 60)
    assert isinstance(follower, Follower)
    with pytest.raises(UpstreamTruncated):
        await follower.next_batch()
    await link.close()


async def test_a_redis_that_stops_in_the_middle_disturbs_only_who_follows(
    nodes: list[Gateway], simulator: Simulator, redis: RedisServer, short_lease: None
) -> None:
    text = "[[n=150 delay=0.02]]"
    async with streaming(nodes[0], "k1", text) as first, streaming(nodes[1], "k1", text) as second:
        await read_until(second, "w20")
        redis.stop()
        await read_until(first, "[DONE]")
        await read_until(second, '"code":"upstream_truncated"')
    assert id_and_text(await ask(nodes[0], "k1", text))[2].split()[149] == "w150"
    assert [run.state for run in simulator.runs] == ["finished"]
    await until(lambda: counted(nodes[0], "redis_failed"))


async def test_who_loses_sight_of_an_answer_may_ask_for_it_again(
    nodes: list[Gateway], simulator: Simulator, short_lease: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[[n=100 delay=0.02]]"

    async def silent(*_: object) -> None:
        raise Silence

    async with streaming(nodes[0], "k1", text) as first, streaming(nodes[1], "k1", text) as second:
        await read_until(second, "w5")
        with monkeypatch.context() as patched:
            patched.setattr(Peers, "read", silent)
            await read_until(second, '"code":"upstream_truncated"')
        await read_until(first, "[DONE]")
    assert id_and_text(await ask(nodes[1], "k1", text)) == id_and_text(await ask(nodes[0], "k1", text))
    assert len(simulator.runs) == 1


async def test_a_short_stop_of_redis_goes_unnoticed(
    nodes: list[Gateway], simulator: Simulator, redis: RedisServer
) -> None:
    text = "[[n=120 delay=0.02]]"
    async with streaming(nodes[0], "k1", text) as first, streaming(nodes[1], "k1", text) as second:
        await read_until(second, "w10")
        redis.send(signal.SIGSTOP)
        await asyncio.sleep(1.2)
        redis.send(signal.SIGCONT)
        whole = "".join([piece async for piece in second])
        await read_until(first, "[DONE]")
    assert all(f'"w{n} "' in whole or f"w{n}" in whole for n in range(60, 121))
    assert "[DONE]" in whole
    assert len(simulator.runs) == 1
