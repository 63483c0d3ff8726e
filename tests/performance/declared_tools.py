"""What it costs a client to declare tools that are not called: the first text must not wait for them.

One client at a time, with and without tools by turns; Dify writes the first text when the question has come. Prints
p50 and p99 of

* Dify's first text → the client has it: the way on which a detector could hold it back
* the client's question → the client has the first text: reading and writing the tools included

and what the detector takes for one token.

    python -m tests.performance.declared_tools [count] [tools]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gateway.exchange.answer import AnswerEvent, TextDelta
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.tool_calling.tool_call_stage import ToolCallStage
from gateway.exchange.turn import ToolChoice, ToolSpec
from tests.integration.edge_tools import body_of, port_of
from tests.integration.raw_dify import END, HEAD, LAST_CHUNK, MODEL, Exchange, RawDify, chunk, message
from tests.integration.test_process import gateway_process

WARM_UP = 20


class Speaker(RawDify):
    """Notes when it says the first word."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.spoke_at = 0.0

    async def _answer(self, exchange: Exchange) -> None:
        await exchange.send(HEAD)
        self.spoke_at = time.perf_counter()
        await exchange.send(chunk(message("Hello ")))
        await asyncio.sleep(0.01)  # what follows travels alone
        await exchange.send(chunk(message("world")) + chunk(END) + LAST_CHUNK)


def tool(number: int) -> dict[str, Any]:
    """One tool as agents declare them."""
    properties = {f"field_{index}": {"type": "string", "description": f"Field {index}"} for index in range(5)}
    parameters = {"type": "object", "properties": properties, "required": ["field_0"], "additionalProperties": False}
    function = {
        "name": f"tool_{number}",
        "description": "Does one thing and says how it went",
        "parameters": parameters,
    }
    return {"type": "function", "function": function}


def request_of(tools: list[dict[str, Any]]) -> bytes:
    body = json.dumps({**body_of(MODEL, "Hello"), "tools": tools}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def measure(count: int, number: int) -> None:
    requests = [request_of([]), request_of([tool(index) for index in range(number)])]
    ways: tuple[list[float], list[float]] = ([], [])
    wholes: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as directory:
        async with Speaker() as dify, gateway_process(Path(directory), **dify.environ()) as process:
            port = port_of(await process.base_url())
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for turn in range(2 * (count + WARM_UP)):
                asked = time.perf_counter()
                writer.write(requests[turn % 2])
                await reader.readuntil(b"Hello ")
                got = time.perf_counter()
                ways[turn % 2].append(got - dify.spoke_at)
                wholes[turn % 2].append(got - asked)
                await reader.readuntil(b"0\r\n\r\n")
            writer.close()
    for what, figures in (("Dify's first text -> client", ways), ("question -> first text", wholes)):
        for tools, seconds in zip((0, number), figures, strict=True):
            report(f"{what}, {tools} tools", seconds[WARM_UP:])


def report(what: str, seconds: list[float]) -> None:
    ordered = sorted(one * 1000 for one in seconds)
    print(f"{what}: p50 {ordered[len(ordered) // 2]:.2f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.2f} ms")


def measure_detector(tokens: int = 100_000) -> None:
    stage = ToolCallStage(ToolChoice((ToolSpec("clock"),)), CallSyntax("k3v9qx"), str, live=True)
    batch: list[AnswerEvent] = [TextDelta("word ")]
    began = time.perf_counter()
    for _ in range(tokens):
        stage.feed(batch)
    print(f"the detector: {(time.perf_counter() - began) / tokens * 1e6:.2f} µs a token")


if __name__ == "__main__":
    count, number = [*map(int, sys.argv[1:]), *(300, 20)[len(sys.argv) - 1 :]]
    asyncio.run(measure(count, number))
    measure_detector()
