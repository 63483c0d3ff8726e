"""How long a scrape of many busy apps holds the loop, and how long it takes.

    python tests/performance/scrape.py [--apps 200] [--scrapes 20]

The gateway runs in this process and is scraped by curl; beside it a task looks every millisecond how late it is woken,
and how much CPU time the loop has spent on others meanwhile: where a machine is shared, only that is the scrape's.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tornado.netutil import bind_sockets

sys.path.insert(0, str(Path(__file__).parents[2]))

from prometheus_client import Counter, Gauge, Histogram, generate_latest

from gateway.app import make_app
from gateway.load_settings import load_settings
from gateway.observability.metrics import Metrics
from gateway.services import build_services
from gateway.web.http_server import CappedHTTPServer

EXEMPLAR = {"request_id": "req_" + 24 * "a"}


def keep_busy(metrics: Metrics, apps: int) -> None:
    """Give every app every series that it can have."""
    for collector in vars(metrics).values():
        if not isinstance(collector, Counter | Gauge | Histogram) or "model" not in collector._labelnames:
            continue
        for number in range(apps):
            labels = dict.fromkeys(collector._labelnames, "x") | {"model": f"Department {number}: an assistant"}
            child = collector.labels(**labels)
            if isinstance(child, Histogram):
                for value in (0.0001, 0.02, 0.3, 4, 50, 1000):
                    child.observe(value, EXEMPLAR)
            else:
                child.inc()


@dataclass
class Look:
    """The worst seen, in seconds."""

    late: float = 0.0
    busy: float = 0.0

    async def run(self) -> None:
        """Look every millisecond."""
        while True:
            began, spent = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0.001)
            self.late = max(self.late, time.perf_counter() - began - 0.001)
            self.busy = max(self.busy, time.thread_time() - spent)

    def __str__(self) -> str:
        return f"the loop is busy {1000 * self.busy:.1f} ms at once, late {1000 * self.late:.1f} ms, at most"


async def scrape(port: int, times: int, accept: str) -> tuple[float, Look]:
    """Let curl scrape so many times: the longest one's seconds, and how the loop was meanwhile."""
    url = f"http://127.0.0.1:{port}/metrics?[1-{times}]"
    command = ("curl", "-sS", "-o", "/dev/null", "-w", "%{time_total}\n", "-H", f"Accept: {accept}", url)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    look = Look()  # from here on: to start a process takes longer than what is measured
    watch = asyncio.create_task(look.run())
    output, _ = await process.communicate()
    watch.cancel()
    return max(map(float, output.split())), look


async def main(apps: int, scrapes: int) -> None:
    services = build_services(load_settings({}))
    keep_busy(services.metrics, apps)
    began = time.perf_counter()
    text = generate_latest(services.metrics.registry)
    print(f"{apps} busy apps: {text.count(10)} lines, {len(text) / 1e6:.1f} MB")
    print(f"in one go: {1000 * (time.perf_counter() - began):.0f} ms of the loop")
    server = CappedHTTPServer(make_app(services), max_connections=100)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    port = sockets[0].getsockname()[1]
    quiet = Look()
    with suppress(TimeoutError):
        await asyncio.wait_for(quiet.run(), scrapes / 5)
    print(f"no scrape: {quiet}")
    for name, accept in (("text", "text/plain"), ("OpenMetrics", "application/openmetrics-text;version=1.0.0")):
        took, look = await scrape(port, scrapes, accept)
        print(f"{name}: {look}; a scrape takes {1000 * took:.0f} ms at most")
    server.stop()
    await server.close_all_connections()
    await services.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apps", type=int, default=200)
    parser.add_argument("--scrapes", type=int, default=20)
    options = parser.parse_args()
    asyncio.run(main(options.apps, options.scrapes))
