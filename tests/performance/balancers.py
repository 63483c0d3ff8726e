"""What a load balancer costs a stream: time to the first text, and pieces that arrive together.

    python tests/performance/balancers.py [--answers 20]

One gateway is asked directly, then two gateways through HAProxy and nginx with the shipped files; Dify is simulated and
sends a word every 50 ms, the first one at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.operations.gateways import running_gateways
from tests.operations.load_balancers import balancer
from tests.simulator.server import Simulator

_MARK = b'"delta":{"content"'


async def stream(port: int) -> tuple[float, int, int]:
    """One answer: seconds to its first text, pieces in all, and those that came together with another one."""
    question = {"role": "user", "content": "[[n=20 delay=0.05]]"}
    body = json.dumps({"model": "Demo Chatbot", "stream": True, "messages": [question]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    first, counts, data = 0.0, [], b""
    while b"[DONE]" not in data:
        data = await reader.read(1 << 16)
        assert data, "the stream broke off"
        counts.append(data.count(_MARK))
        first = first or (time.perf_counter() - began if counts[-1] else 0.0)
    writer.close()
    return first, sum(counts), sum(count for count in counts if count > 1)


async def report(name: str, port: int, answers: int) -> None:
    """Print a row: the answers come one after another."""
    await stream(port)  # warm
    results = [await stream(port) for _ in range(answers)]
    firsts = sorted(1000 * first for first, _, _ in results)
    lumped = sum(together for _, _, together in results) / sum(pieces for _, pieces, _ in results)
    print(
        f"{name:8} first text: median {statistics.median(firsts):.1f} ms, worst {firsts[-1]:.1f} ms; lumps {lumped:.0%}"
    )


async def main(answers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        async with (
            Simulator("1.12.1", stop_delay=0.05) as simulator,
            running_gateways(simulator, directory, UNREADY_SECONDS="0") as gateways,
        ):
            await report("direct", gateways[0].port, answers)
            for name in ("haproxy", "nginx"):
                async with balancer(name, [gateway.port for gateway in gateways], directory) as base_url:
                    await asyncio.sleep(1)  # the first health checks
                    await report(name, int(base_url.rsplit(":", 1)[1]), answers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=20)
    asyncio.run(main(parser.parse_args().answers))
