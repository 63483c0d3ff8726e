"""A Dify that cannot be reached is not asked again and again; one that answers, whatever it says, always is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.integration.edge_tools import metric, until
from tests.integration.raw_dify import KEY, MODEL, Exchange, RawDify, say, whole
from tests.simulator.apps import DEMO_CHAT
from tests.simulator.server import Simulator

COOL_DOWN_SECONDS = 1.0


async def cool_down(times: int = 1) -> None:
    """It takes a random part of the time, all of it at most."""
    await asyncio.sleep(times * COOL_DOWN_SECONDS + 0.05)


def states(gateway: Gateway) -> list[str]:
    return sorted(gateway.services.dify.circuits().values())


async def open_circuit(gateway: Gateway, model: str = "Demo Chatbot") -> httpx.Response:
    """Ask a host that is down until it is asked no more."""
    for _ in range(4):
        response = await gateway.chat(model)
        if response.json()["error"]["code"] == "upstream_circuit_open":
            return response
    raise AssertionError(response.text)


async def test_it_opens_refuses_at_once_and_closes_when_the_host_is_back(
    start_gateway: StartGateway, start_simulator: StartSimulator
) -> None:
    simulator = await start_simulator()
    gateway = await start_gateway(simulator)
    port, host = simulator.port, simulator.base_url.removesuffix("/v1")
    gauge = f'gateway_upstream_circuit_open{{upstream="{host}"}}'
    assert await metric(gateway.http, gauge) == 0
    await simulator.stop()
    response = await open_circuit(gateway)
    assert response.status_code == 502
    assert 1 <= int(response.headers["retry-after"]) <= 3
    assert "x-should-retry" not in response.headers  # nothing was sent
    assert states(gateway) == ["open"]
    assert await metric(gateway.http, gauge) == 1
    ready = await gateway.http.get("/readyz")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")

    await simulator.start(port=port)
    assert (await gateway.chat("Demo Chatbot")).json()["error"]["code"] == "upstream_circuit_open"
    assert simulator.runs == []  # not asked before its time
    await cool_down()
    assert (await gateway.chat("Demo Chatbot")).status_code == 200
    assert states(gateway) == ["closed"]
    assert await metric(gateway.http, gauge) == 0
    assert (await gateway.http.get("/readyz")).status_code == 200
    assert gateway.services.dify.load() == {}


async def test_a_look_at_the_apps_closes_it(start_gateway: StartGateway, start_simulator: StartSimulator) -> None:
    simulator = await start_simulator()
    gateway = await start_gateway(simulator)
    port = simulator.port
    await simulator.stop()
    await open_circuit(gateway)
    await simulator.start(port=port)
    await cool_down()
    await gateway.services.refresher.refresh()
    assert states(gateway) == ["closed"]
    assert all(state.error is None for state in gateway.services.registry.states)


async def test_a_probe_that_fails_keeps_it_open_for_longer(
    start_gateway: StartGateway, start_simulator: StartSimulator
) -> None:
    simulator = await start_simulator()
    gateway = await start_gateway(simulator)
    await simulator.stop()
    await open_circuit(gateway)
    await cool_down()
    response = await gateway.chat("Demo Chatbot")  # the probe, and then no further try
    assert response.json()["error"]["code"] in ("upstream_refused", "upstream_circuit_open")
    assert states(gateway) == ["open"]
    await asyncio.sleep(0.8 * COOL_DOWN_SECONDS)  # the second time is between one and two of the first
    assert (await gateway.chat("Demo Chatbot")).json()["error"]["code"] == "upstream_circuit_open"


async def test_one_probe_goes_and_the_others_are_refused(start_gateway: StartGateway) -> None:
    released = asyncio.Event()

    async def held(exchange: Exchange) -> None:
        await released.wait()
        await say(whole("back"))(exchange)

    async with RawDify(held) as dify:
        gateway = await start_gateway(**dify.environ())
        await dify.stop_listening()
        await open_circuit(gateway, MODEL)
        await dify.listen_again()
        await cool_down()
        asking = [asyncio.create_task(gateway.chat(MODEL)) for _ in range(10)]
        await until(lambda: sum(task.done() for task in asking) == 9)
        assert states(gateway) == ["half_open"]
        assert len(dify.exchanges) == 1
        released.set()
        responses = await asyncio.gather(*asking)
        codes = [response.json().get("error", {}).get("code") for response in responses]
        assert sorted(codes, key=str) == [None] + ["upstream_circuit_open"] * 9
        assert states(gateway) == ["closed"]
        assert gateway.services.dify.load() == {}


async def test_a_probe_without_an_answer_is_a_failed_one(start_gateway: StartGateway) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.gone()

    async with RawDify(silent) as dify:
        gateway = await start_gateway(**dify.environ(FIRST_BYTE_TIMEOUT="0.3", CONNECT_TIMEOUT="0.2"))
        await dify.stop_listening()
        await open_circuit(gateway, MODEL)
        await dify.listen_again()
        await cool_down()
        silence = await gateway.chat(MODEL)
        assert silence.json()["error"]["code"] == "upstream_first_byte_timeout"
        assert states(gateway) == ["open"]
        dify.script = say(whole("back"))
        await cool_down(2)
        assert (await gateway.chat(MODEL)).status_code == 200


ANSWERS = [
    *("http=400", "http=401", "http=404", "http=429", "http=500", "http=502html", "http=503html", "http=limit"),
    *("fail=401", "fail=429", "fail=500", "fail=503", "fail=timeout", "garbage", "nostatus", "rst=2", "drop"),
]


async def test_what_a_host_answers_never_opens_it(gateway: Gateway) -> None:
    for answer in ANSWERS:
        responses = await asyncio.gather(*(gateway.chat("Demo Chatbot", f"[[{answer}]]") for _ in range(7)))
        assert all(response.status_code >= 400 for response in responses), answer
        assert states(gateway) == ["closed"], answer
    assert (await gateway.chat("Demo Chatbot")).status_code == 200


async def test_clients_mistakes_never_open_it(gateway: Gateway) -> None:
    for _ in range(10):
        await gateway.chat("Demo Chatbot", temperature="hot")
        await gateway.chat("No Such Model")
        await gateway.http.post("/v1/chat/completions", content=b"{")
    assert states(gateway) == ["closed"]


async def test_one_open_host_of_two(start_simulator: StartSimulator, start_gateway: StartGateway) -> None:
    down, up = await start_simulator(), await start_simulator()
    up.apps.change(DEMO_CHAT.key, name="Other Chatbot")
    keys = f"{DEMO_CHAT.key}@{down.base_url},{DEMO_CHAT.key}@{up.base_url}"
    gateway = await start_gateway(DIFY_API_KEYS=keys)
    host = down.base_url.removesuffix("/v1")
    await down.stop()
    await open_circuit(gateway)
    assert states(gateway) == ["closed", "open"]
    assert (await gateway.chat("Other Chatbot")).status_code == 200
    ready = await gateway.http.get("/readyz")
    assert ready.status_code == 200
    assert f"{host} open" in ready.text


async def test_a_host_that_a_reload_removed_counts_no_more(start_gateway: StartGateway, simulator: Simulator) -> None:
    """Else its closed circuit would make a gateway ready that can reach nothing."""
    async with RawDify() as other:
        keys = f"{DEMO_CHAT.key}@{simulator.base_url},{KEY}@{other.base_url}"
        gateway = await start_gateway(DIFY_API_KEYS=keys)
        assert states(gateway) == ["closed", "closed"]
        settings: Any = gateway.services.settings
        (kept,) = [key for key in settings.app_keys if key.base_url == simulator.base_url]
        await gateway.services.use(replace(settings, app_keys=(kept,)))
        assert states(gateway) == ["closed"]


async def test_a_reload_says_anew_how_long_a_probe_may_take(gateway: Gateway) -> None:
    services = gateway.services
    await services.use(replace(services.settings, connect_timeout=29.0))
    assert [breaker.limits.probe_seconds for breaker in services.dify._breakers.values()] == [30.0]
