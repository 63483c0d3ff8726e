"""Gateways as processes on ports that they keep over a restart."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.operations.load_balancers import free_port, listening
from tests.simulator.server import Simulator

ROOT = Path(__file__).parents[2]


class RunningGateway:
    """`python -m gateway` on one port; its log in a file."""

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.port = free_port()
        self.log_path = directory / f"gateway-{self.port}.log"
        self._directory = directory
        self._settings = settings
        self._process: Process | None = None

    async def start(self) -> None:
        """Start it and wait until it accepts connections."""
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SERVER_PORT": str(self.port), **self._settings}
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "gateway"), cwd=self._directory, env=environ, stdout=log, stderr=log
            )
        await listening(self.port, self._process, self.log_path)

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        async with asyncio.timeout(30):
            status = await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
        return status

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")


@asynccontextmanager
async def running_gateways(
    simulator: Simulator, directory: Path, count: int = 2, **settings: str
) -> AsyncIterator[Sequence[RunningGateway]]:
    """Equal gateways in front of one simulated Dify."""
    environ = {
        "DIFY_API_BASE": simulator.base_url,
        "DIFY_API_KEYS": ",".join(simulator.apps),
        "TRUSTED_PROXIES": "127.0.0.1",
        "UNREADY_SECONDS": "1",
        **settings,
    }
    gateways = [RunningGateway(directory, environ) for _ in range(count)]
    async with AsyncExitStack() as opened:
        for gateway in gateways:
            opened.push_async_callback(gateway.end, signal.SIGKILL)
        await asyncio.gather(*(gateway.start() for gateway in gateways))
        yield gateways
