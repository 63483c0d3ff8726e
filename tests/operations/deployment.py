"""Two gateways behind a load balancer, all of them processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx

from tests.operations.gateways import RunningGateway, running_gateways
from tests.operations.load_balancers import balancer
from tests.simulator.server import Simulator


@asynccontextmanager
async def deployment(
    name: str, simulator: Simulator, directory: Path, change: dict[str, str] | None = None, **settings: str
) -> AsyncIterator[tuple[str, list[RunningGateway]]]:
    """Two gateways behind a balancer: its base URL, and them."""
    async with AsyncExitStack() as opened:
        gateways = await opened.enter_async_context(running_gateways(simulator, directory, **settings))
        ports = [gateway.port for gateway in gateways]
        base_url = await opened.enter_async_context(balancer(name, ports, directory, change))
        async with asyncio.timeout(15), httpx.AsyncClient(base_url=base_url, trust_env=False) as http:
            while (await http.get("/v1/models")).status_code != 200:  # until the first health check
                await asyncio.sleep(0.05)
        yield base_url, list(gateways)
