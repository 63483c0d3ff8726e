"""A simulated Dify and a gateway in front of it, both on free ports of the loopback, in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tornado.netutil import bind_sockets

from gateway.app import make_app
from gateway.load_settings import load_settings
from gateway.services import Services, build_services
from gateway.web.http_server import CappedHTTPServer
from tests.simulator.server import Simulator

TRACES = Path(__file__).parent.parent / "traces"


@dataclass
class Gateway:
    """A running gateway and a client that talks to it."""

    services: Services
    server: CappedHTTPServer
    port: int
    http: httpx.AsyncClient

    async def chat(self, model: str, text: str = "Hello", **more: Any) -> httpx.Response:
        """POST one user message, whole answer."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return await self.http.post("/v1/chat/completions", json=body)

    async def stream(self, model: str, text: str = "Hello", **more: Any) -> tuple[httpx.Response, list[str]]:
        """POST one user message with stream: true; the response and the data of every event."""
        response = await self.chat(model, text, stream=True, **more)
        frames = [frame for frame in response.text.split("\n\n") if frame]
        return response, [frame.removeprefix("data: ") for frame in frames if not frame.startswith(":")]


StartSimulator = Callable[..., Awaitable[Simulator]]
StartGateway = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def opened() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def start_simulator(opened: AsyncExitStack) -> StartSimulator:
    async def start(version: str = "1.12.1", **options: Any) -> Simulator:
        options = {"stop_delay": 0.05, "traces_dir": TRACES, **options}
        return await opened.enter_async_context(Simulator(version, **options))

    return start


@pytest.fixture
def start_gateway(opened: AsyncExitStack) -> StartGateway:
    async def start(simulator: Simulator | None = None, **environ: str) -> Gateway:
        if simulator is not None:
            environ.setdefault("DIFY_API_BASE", simulator.base_url)
            environ.setdefault("DIFY_API_KEYS", ",".join(simulator.apps))
        environ.setdefault("CONVERSATION_MEMORY_MODE", "1")  # texts are compared to the letter: nothing hidden in them
        services = build_services(load_settings(environ))
        services.start()
        opened.push_async_callback(services.close)
        await services.refresher.refresh()
        server = CappedHTTPServer(make_app(services), max_connections=services.settings.max_connections or 10_000)
        sockets = bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        opened.push_async_callback(server.close_all_connections)
        opened.callback(server.stop)
        port = sockets[0].getsockname()[1]
        http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
        await opened.enter_async_context(http)
        return Gateway(services, server, port, http)

    return start


@pytest.fixture
async def simulator(start_simulator: StartSimulator) -> Simulator:
    return await start_simulator()


@pytest.fixture
async def gateway(start_gateway: StartGateway, simulator: Simulator) -> Gateway:
    return await start_gateway(simulator)
