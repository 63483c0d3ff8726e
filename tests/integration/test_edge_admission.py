"""Slots: what Dify may be asked at once, who waits, who is told to come back, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import body_of, metric, reset, send_request, until
from tests.integration.test_process import gateway_process
from tests.simulator.apps import DEMO_CHAT
from tests.simulator.server import Simulator

LONG = "[[n=500 delay=0.02]]"


def waiting(gateway: Gateway) -> int:
    return sum(load.waiting for load in gateway.services.dify.load().values())


def streams(gateway: Gateway) -> int:
    return sum(load.streams for load in gateway.services.dify.load().values())


async def occupy(gateway: Gateway, count: int, model: str = "Demo Chatbot") -> list[asyncio.StreamWriter]:
    """Answers that take all slots; to leave them is to close what is returned."""
    writers = []
    for _ in range(count):
        reader, writer = await send_request(gateway.port, model, LONG)
        await reader.readuntil(b"w1")
        writers.append(writer)
    return writers


async def no_slot_is_lost(gateway: Gateway) -> None:
    await until(lambda: gateway.services.dify.load() == {})
    assert gateway.services.dify.open_streams == 0


@pytest.mark.parametrize(
    ("limits", "status", "code"),
    [
        ({"MAX_STREAMS_PER_DIFY": "2"}, 429, "upstream_busy"),
        ({"MAX_STREAMS": "2"}, 503, "gateway_overloaded"),
    ],
    ids=["per host", "per process"],
)
async def test_who_finds_no_slot_in_time_is_told_to_come_back(
    start_gateway: StartGateway, simulator: Simulator, limits: dict[str, str], status: int, code: str
) -> None:
    gateway = await start_gateway(simulator, QUEUE_SECONDS="0.3", QUEUE_LENGTH="3", **limits)
    writers = await occupy(gateway, 2)
    responses = await asyncio.gather(*(gateway.chat("Demo Chatbot", stream=n % 2 == 0) for n in range(8)))
    for response in responses:
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert 1 <= int(response.headers["retry-after"]) <= 60
        assert "x-should-retry" not in response.headers  # the status says it
    assert len(simulator.runs) == 2  # Dify never heard of the others
    for writer in writers:
        writer.close()
    await no_slot_is_lost(gateway)
    assert (await gateway.chat("Demo Chatbot")).status_code == 200
    await no_slot_is_lost(gateway)


async def test_a_queue_of_no_length_refuses_at_once(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, MAX_STREAMS_PER_DIFY="1", QUEUE_LENGTH="0", QUEUE_SECONDS="60")
    writers = await occupy(gateway, 1)
    assert (await gateway.chat("Demo Chatbot")).status_code == 429
    writers[0].close()
    await no_slot_is_lost(gateway)


async def end_by_itself(gateway: Gateway, simulator: Simulator) -> None:
    assert (await gateway.chat("Demo Chatbot", "[[n=10 delay=0.05]]")).status_code == 200


async def client_leaves(gateway: Gateway, simulator: Simulator) -> None:
    (writer,) = await occupy(gateway, 1)
    await asyncio.sleep(0.2)
    writer.close()


async def client_resets(gateway: Gateway, simulator: Simulator) -> None:
    (writer,) = await occupy(gateway, 1)
    await asyncio.sleep(0.2)
    reset(writer)


async def dify_fails(gateway: Gateway, simulator: Simulator) -> None:
    assert (await gateway.chat("Demo Chatbot", "[[first=0.3 fail=429]]")).status_code == 429


async def dify_refuses(gateway: Gateway, simulator: Simulator) -> None:
    assert (await gateway.chat("Demo Chatbot", "[[http=400]]")).status_code >= 400


async def dify_breaks_off(gateway: Gateway, simulator: Simulator) -> None:
    assert (await gateway.chat("Demo Chatbot", "[[n=10 delay=0.05 rst=5]]")).status_code == 502


async def dify_is_silent(gateway: Gateway, simulator: Simulator) -> None:
    assert (await gateway.chat("Demo Chatbot", "[[hang]]")).status_code == 504


ENDS: list[Callable[[Gateway, Simulator], Awaitable[None]]] = [
    end_by_itself,
    client_leaves,
    client_resets,
    dify_fails,
    dify_refuses,
    dify_breaks_off,
    dify_is_silent,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
async def test_a_slot_goes_to_the_waiter_however_its_answer_ends(
    start_gateway: StartGateway, simulator: Simulator, end: Callable[[Gateway, Simulator], Awaitable[None]]
) -> None:
    gateway = await start_gateway(
        simulator, MAX_STREAMS_PER_DIFY="1", QUEUE_SECONDS="10", FIRST_BYTE_TIMEOUT="0.3", CONNECT_TIMEOUT="0.2"
    )
    first = asyncio.create_task(end(gateway, simulator))
    await until(lambda: streams(gateway) == 1 or first.done())
    response = await gateway.chat("Demo Chatbot", "[[n=3]]")
    assert response.status_code == 200
    await first
    await no_slot_is_lost(gateway)


async def test_a_waiter_that_leaves_frees_its_place_and_dify_never_hears_of_it(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, MAX_STREAMS_PER_DIFY="1", QUEUE_LENGTH="2", QUEUE_SECONDS="10")
    (holder,) = await occupy(gateway, 1)
    _, leaving = await send_request(gateway.port, "Demo Chatbot", "[[text=never]]")
    staying = asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=3]]"))
    await until(lambda: waiting(gateway) == 2)
    leaving.close()
    await until(lambda: waiting(gateway) == 1)
    another = asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=3]]"))  # the place is free
    await until(lambda: waiting(gateway) == 2)
    holder.close()
    assert [(await staying).status_code, (await another).status_code] == [200, 200]
    assert not [run for run in simulator.runs if "never" in run.query]
    await no_slot_is_lost(gateway)


async def test_waiters_and_slot_holders_all_leaving_at_once_lose_nothing(
    start_gateway: StartGateway, simulator: Simulator
) -> None:
    gateway = await start_gateway(simulator, MAX_STREAMS_PER_DIFY="5", QUEUE_LENGTH="100", QUEUE_SECONDS="10")
    for round_ in range(3):
        writers = [(await send_request(gateway.port, "Demo Chatbot", LONG))[1] for _ in range(60)]
        await until(lambda: streams(gateway) == 5)
        for number, writer in enumerate(writers):
            reset(writer) if (number + round_) % 2 else writer.close()
            if number % 7 == 0:
                await asyncio.sleep(0.01)
        await no_slot_is_lost(gateway)
    await gateway.services.background.finish(5)
    await until(lambda: all(run.state == "stopped" for run in simulator.runs))


async def test_a_full_host_does_not_block_another(start_simulator: StartSimulator, start_gateway: StartGateway) -> None:
    full, free = await start_simulator(), await start_simulator()
    free.apps.change(DEMO_CHAT.key, name="Other Chatbot")
    keys = f"{DEMO_CHAT.key}@{full.base_url},{DEMO_CHAT.key}@{free.base_url}"
    gateway = await start_gateway(DIFY_API_KEYS=keys, MAX_STREAMS_PER_DIFY="1", QUEUE_LENGTH="5", QUEUE_SECONDS="10")
    (holder,) = await occupy(gateway, 1)
    queue = [asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=1]]")) for _ in range(3)]
    await until(lambda: waiting(gateway) == 3)
    assert (await gateway.chat("Other Chatbot", "[[n=3]]")).status_code == 200
    assert not any(task.done() for task in queue)
    holder.close()
    assert [(await task).status_code for task in queue] == [200] * 3
    await no_slot_is_lost(gateway)


async def test_a_burst_is_started_at_the_configured_rate(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, STARTS_PER_SECOND="100", QUEUE_LENGTH="200", QUEUE_SECONDS="10")
    responses = await asyncio.gather(*(gateway.chat("Demo Chatbot", "[[n=1]]") for _ in range(200)))
    assert [response.status_code for response in responses] == [200] * 200
    asked = sorted(record.time for record in simulator.requests if record.path.endswith("/chat-messages"))
    assert len(asked) == 200
    # A bucket of one second's starts, then one each 10 ms: the last of 200 cannot go before one second is over.
    assert asked[-1] - asked[0] > 0.95
    await no_slot_is_lost(gateway)


async def test_load_is_told(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, MAX_STREAMS_PER_DIFY="2", QUEUE_SECONDS="10")
    host = simulator.base_url.removesuffix("/v1")
    writers = await occupy(gateway, 2)
    queue = [asyncio.create_task(gateway.chat("Demo Chatbot", "[[n=1]]")) for _ in range(3)]
    await until(lambda: waiting(gateway) == 3)
    assert await metric(gateway.http, f'gateway_upstream_streams{{upstream="{host}"}}') == 2
    assert await metric(gateway.http, f'gateway_upstream_waiting{{upstream="{host}"}}') == 3
    assert await metric(gateway.http, "gateway_answers_in_flight") == 5
    await asyncio.sleep(0.3)
    for writer in writers:
        writer.close()
    await asyncio.gather(*queue)
    await no_slot_is_lost(gateway)
    assert await metric(gateway.http, 'gateway_own_time_seconds_sum{stage="queue"}') > 0.8
    assert await metric(gateway.http, f'gateway_upstream_streams{{upstream="{host}"}}') == 0
    assert await metric(gateway.http, "gateway_answers_in_flight") == 0


async def test_a_reload_changes_the_limits(tmp_path: Path, simulator: Simulator) -> None:
    env_file = tmp_path / ".env"

    def configure(slots: int) -> None:
        env_file.write_text(
            f"DIFY_API_BASE={simulator.base_url}\nDIFY_API_KEYS={DEMO_CHAT.key}\n"
            f"MAX_STREAMS_PER_DIFY={slots}\nQUEUE_SECONDS=30\n"
        )

    configure(1)
    async with (
        gateway_process(tmp_path) as process,
        httpx.AsyncClient(base_url=await process.base_url(), timeout=20, trust_env=False) as http,
    ):
        ask = [
            asyncio.create_task(http.post("/v1/chat/completions", json=body_of("Demo Chatbot", "[[n=60 delay=0.05]]")))
            for _ in range(3)
        ]
        await until(lambda: len(simulator.runs) == 1)
        await asyncio.sleep(0.2)
        assert len(simulator.runs) == 1
        configure(3)
        process.process.send_signal(signal.SIGHUP)
        await until(lambda: len(simulator.runs) == 3)  # those that wait go at once
        assert simulator.runs[0].state == "running"
        assert [(await task).status_code for task in ask] == [200] * 3
