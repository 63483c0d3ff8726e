"""How long after a client's close Dify knows of it: the connection's close, and the stop call.

One client at a time: it reads a few events of an endless answer and closes. Prints p50, p99 and the longest of

* client's close → the upstream connection is closed (goal: p99 under 20 ms)
* client's close → the stop call has arrived at Dify (goal: p99 under 100 ms)

    python -m tests.performance.leaving [count]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.edge_tools import port_of, reset, send_request
from tests.integration.raw_dify import HEAD, MODEL, Exchange, RawDify, chunk, message
from tests.integration.test_process import gateway_process


class Watch(RawDify):
    """Notes when its stream is closed and when it is told to stop."""

    def __init__(self) -> None:
        super().__init__(self._endless)
        self.closed: asyncio.Future[float]
        self.stopped: asyncio.Future[float]

    def expect(self) -> None:
        loop = asyncio.get_running_loop()
        self.closed, self.stopped = loop.create_future(), loop.create_future()

    async def _endless(self, exchange: Exchange) -> None:
        await exchange.send(HEAD)
        telling = asyncio.create_task(self._tell(exchange))
        await exchange.gone()
        self.closed.set_result(time.perf_counter())
        telling.cancel()

    async def _tell(self, exchange: Exchange) -> None:
        while True:
            await exchange.send(chunk(message("w ")))
            await asyncio.sleep(0.02)

    def _small_answer(self, target: str) -> bytes:
        if target.endswith("/stop") and not self.stopped.done():
            self.stopped.set_result(time.perf_counter())
        return super()._small_answer(target)


async def measure(count: int) -> None:
    closes, stops = [], []
    with tempfile.TemporaryDirectory() as directory:
        async with Watch() as dify, gateway_process(Path(directory), **dify.environ()) as process:
            port = port_of(await process.base_url())
            for number in range(count + 20):
                dify.expect()
                reader, writer = await send_request(port, MODEL)
                for _ in range(3):
                    await reader.readuntil(b"w ")
                left = time.perf_counter()
                reset(writer) if number % 2 else writer.close()
                closes.append(await dify.closed - left)
                stops.append(await dify.stopped - left)
    report("client's close -> upstream closed", closes[20:], 20)
    report("client's close -> stop call at Dify", stops[20:], 100)


def report(what: str, seconds: list[float], goal: int) -> None:
    ordered = sorted(one * 1000 for one in seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    met = "met" if p99 < goal else "NOT met"
    print(f"{what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, max {ordered[-1]:.1f} ms (goal p99 < {goal} ms: {met})")


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
