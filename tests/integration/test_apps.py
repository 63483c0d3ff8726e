"""The registry keeps up with Dify, and a listing never has to ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.integration.conftest import Gateway, StartGateway, StartSimulator
from tests.simulator.apps import DEMO_CHAT, DEMO_WORKFLOW
from tests.simulator.server import Simulator


async def ids(gateway: Gateway) -> list[str]:
    return [model["id"] for model in (await gateway.http.get("/v1/models")).json()["data"]]


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def test_a_listing_asks_nobody(gateway: Gateway, simulator: Simulator) -> None:
    before = len(simulator.requests)
    for _ in range(20):
        await ids(gateway)
        await gateway.http.get("/v1/models/Demo Chatbot")
    assert len(simulator.requests) == before


async def test_changes_in_dify_show_after_the_next_refresh(start_gateway: StartGateway, simulator: Simulator) -> None:
    gateway = await start_gateway(simulator, APP_REFRESH_SECONDS="1", DIFY_API_KEYS=DEMO_CHAT.key)
    simulator.apps.change(DEMO_CHAT.key, name="Renamed")
    await until(lambda: "Renamed" in gateway.services.registry.snapshot.models)
    assert await ids(gateway) == ["Renamed"]
    for name in ("Renamed", "Demo Chatbot"):
        assert (await gateway.chat(name, "[[n=1]]")).status_code == 200


async def test_an_app_that_fails_keeps_its_last_good_entry(gateway: Gateway, simulator: Simulator) -> None:
    del simulator.apps[DEMO_CHAT.key]
    await gateway.services.refresher.refresh()
    assert "Demo Chatbot" in await ids(gateway)
    state = next(state for state in gateway.services.registry.states if state.key.key == DEMO_CHAT.key)
    assert state.error
    assert DEMO_CHAT.key not in state.error
    metrics = (await gateway.http.get("/metrics")).text
    assert 'gateway_app_up{model="Demo Chatbot"} 0.0' in metrics
    assert 'gateway_app_up{model="Demo Workflow"} 1.0' in metrics
    assert (await gateway.http.get("/readyz")).status_code == 200


async def test_dify_may_be_down_at_the_start(start_gateway: StartGateway, start_simulator: StartSimulator) -> None:
    simulator = await start_simulator()
    port, base = simulator.port, simulator.base_url
    await simulator.stop()
    gateway = await start_gateway(DIFY_API_BASE=base, DIFY_API_KEYS=",".join(simulator.apps))
    ready = await gateway.http.get("/readyz")
    assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
    assert (await gateway.http.get("/healthz")).status_code == 200
    chat = await gateway.chat("Demo Chatbot")
    assert (chat.status_code, chat.json()["error"]["code"], "retry-after" in chat.headers) == (503, "not_ready", True)
    assert (await gateway.http.get("/v1/models")).status_code == 503

    await simulator.start(port=port)
    await until(lambda: gateway.services.registry.ready)
    assert (await gateway.http.get("/readyz")).status_code == 200
    assert (await gateway.chat("Demo Chatbot", "[[n=1]]")).status_code == 200


async def test_two_apps_of_one_name_answer_each_for_itself(start_gateway: StartGateway, simulator: Simulator) -> None:
    simulator.apps.change(DEMO_WORKFLOW.key, name="Demo Chatbot")
    gateway = await start_gateway(simulator, DIFY_API_KEYS=f"{DEMO_CHAT.key},{DEMO_WORKFLOW.key}")
    same = [model for model in await ids(gateway) if model.startswith("Demo Chatbot")]
    assert len(set(same)) == 2
    for model in same:
        assert (await gateway.chat(model, "[[n=1]]")).status_code == 200
    assert {run.app.mode for run in simulator.runs} == {"chat", "workflow"}


async def test_old_servers_are_asked_for_the_mode_once_and_run_nothing(
    start_simulator: StartSimulator, start_gateway: StartGateway
) -> None:
    simulator = await start_simulator("0.15.3")
    gateway = await start_gateway(simulator)
    modes = {app.name: app.mode for app in gateway.services.registry.snapshot.models.values()}
    assert modes["Demo Chatflow"] == "advanced-chat"
    assert modes["Demo Text Generator"] == "completion"
    assert modes["Demo Workflow"] == "workflow"
    assert simulator.runs == []
    posts = sum(record.method == "POST" for record in simulator.requests)
    await gateway.services.refresher.refresh()
    assert sum(record.method == "POST" for record in simulator.requests) == posts


async def test_the_configured_mode_is_taken_as_it_is(
    start_simulator: StartSimulator, start_gateway: StartGateway
) -> None:
    simulator = await start_simulator("0.15.3")
    gateway = await start_gateway(simulator, DIFY_API_KEYS=f"{DEMO_CHAT.key}?mode=advanced-chat")
    assert gateway.services.registry.find("Demo Chatbot").mode == "advanced-chat"
    assert all(record.method == "GET" for record in simulator.requests)


async def test_no_request_sees_a_half_made_map(gateway: Gateway) -> None:
    async def refresh() -> None:
        for _ in range(20):
            await gateway.services.refresher.refresh()

    async def list_all() -> set[int]:
        return {len(await ids(gateway)) for _ in range(100)}

    _, sizes = await asyncio.gather(refresh(), list_all())
    assert sizes == {len(gateway.services.registry.states)}


async def test_apps_of_several_difys(start_simulator: StartSimulator, start_gateway: StartGateway) -> None:
    one, other = await start_simulator("0.15.3"), await start_simulator("1.16.0")
    keys = f"{DEMO_CHAT.key},{DEMO_WORKFLOW.key}@{other.base_url}"
    gateway = await start_gateway(DIFY_API_BASE=one.base_url, DIFY_API_KEYS=keys)
    for model, simulator in (("Demo Chatbot", one), ("Demo Workflow", other)):
        assert (await gateway.chat(model, "[[n=1]]")).status_code == 200
        assert len(simulator.runs) == 1
