"""What smooth streaming does to what a client sees, and what it costs, over real sockets.

    python tests/performance/smooth_streaming.py [--plot FILE.png]

A Dify that speaks on schedule, one gateway with SMOOTH_STREAMING=off and one with on, and this client are processes of
their own on the loopback. The two gateways are measured in turns; on a busy machine trust the comparison, not the
milliseconds. `gap` is the time between two chunks with text; `while text waits` counts only the gaps in which text was
at hand all the time. Bursts further apart than SMOOTH_MAX_DELAY leave a silence that no pacing within that delay fills.
`delay` is the time from Dify's write to the client's read. The cost is the gateway's CPU time for many even streams.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[2]
MODEL = "Smooth App"
TEXT = "The gateway turns bursts of text into an even flow, and keeps every word of it. "
MODES = ("off", "on")

GAP_GOAL, LAST_GOAL, COST_GOAL = 0.060, 0.250, 0.15
SAME = 0.005  # seconds; what is less is not measurable beside other work


@dataclass(frozen=True)
class Plan:
    """What Dify is asked to say: `count` events of `size` characters, one each `every` seconds."""

    count: int
    every: float
    size: int

    def text(self) -> str:
        return "".join(self.pieces())

    def pieces(self) -> Iterator[str]:
        whole = TEXT * (self.count * self.size // len(TEXT) + 1)
        return (whole[i * self.size : (i + 1) * self.size] for i in range(self.count))


BURSTS, WHOLE, TOKENS = "1,000 characters each second", "2,000 characters in one event", "token by token, 30 a second"
SCENARIOS = {BURSTS: Plan(5, 1.0, 1000), WHOLE: Plan(1, 0.0, 2000), TOKENS: Plan(150, 1 / 30, 4)}


class Dify:
    """Says what the question asks for, and tells at /sent when it said what."""

    def __init__(self) -> None:
        self._sent: dict[str, list[float]] = {}

    async def serve(self) -> None:
        """Serve on a free port, told on stdout, until stdin ends."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        os._exit(0)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = [line[15:] for line in head.lower().split("\r\n") if line.startswith("content-length:")]
                body = await reader.readexactly(int(length[0]) if length else 0)
                path = head.split(" ")[1].partition("?")[0]
                if path.endswith("/chat-messages"):
                    question = json.loads(json.loads(body)["query"])
                    await self._say(writer, question["id"], Plan(**question["plan"]))
                    continue
                answer = json.dumps(self._small_answer(path)).encode()
                kind = b"Content-Type: application/json\r\n"
                writer.write(b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (kind, len(answer), answer))
        writer.close()

    def _small_answer(self, path: str) -> object:
        if "/sent/" in path:
            return self._sent[path.rpartition("/")[2]]
        if path.endswith("/info"):
            return {"name": MODEL, "mode": "chat", "description": "", "tags": []}
        if path.endswith("/parameters"):
            return {"user_input_form": [], "opening_statement": "", "file_upload": {}, "system_parameters": {}}
        return {"result": "success"}

    async def _say(self, writer: asyncio.StreamWriter, question: str, plan: Plan) -> None:
        sent = self._sent[question] = []
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        began = time.monotonic()
        for number, piece in enumerate(plan.pieces()):
            if (wait := began + number * plan.every - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            sent.append(time.monotonic())
            writer.write(_event("message", answer=piece))
        usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
        writer.write(_event("message_end", metadata={"usage": usage}) + b"0\r\n\r\n")
        await writer.drain()


def _event(name: str, **fields: Any) -> bytes:
    event = {"event": name, "task_id": "task", "message_id": "message", "conversation_id": "conversation", **fields}
    data = b"data: %b\n\n" % json.dumps(event).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)


class Stream(asyncio.Protocol):
    """One answer at the client: what came when, looked at only when all is over."""

    def __init__(self, question: str, plan: Plan) -> None:
        self._question, self._plan = question, plan
        self._reads: list[tuple[float, bytes]] = []
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        text = json.dumps({"id": self._question, "plan": asdict(self._plan)})
        request = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": text}]}
        body = json.dumps(request).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n"
        kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        transport.write(head + kind + body)

    def data_received(self, data: bytes) -> None:
        self._reads.append((time.monotonic(), data))

    def connection_lost(self, exc: Exception | None) -> None:
        self.over.set_result(None)

    def reads(self) -> int:
        return len(self._reads)

    def chunks(self) -> list[tuple[float, str]]:
        """When which text was there. Raises RuntimeError when the answer is not whole."""
        data = b"".join(read for _, read in self._reads)
        ends = list(accumulate(len(read) for _, read in self._reads))
        chunks: list[tuple[float, str]] = []
        at = 0
        for line in data.splitlines(keepends=True):
            at += len(line)
            if line.startswith(b"data: {"):
                for choice in json.loads(line[6:])["choices"]:
                    if text := choice["delta"].get("content"):
                        chunks.append((self._reads[bisect_left(ends, at)][0], text))
        whole = "".join(text for _, text in chunks) == self._plan.text()
        if not whole or b"data: [DONE]" not in data or not data.endswith(b"0\r\n\r\n"):
            raise RuntimeError(f"an answer of {self._question} is not whole: {data[:300]!r} ... {data[-300:]!r}")
        return chunks


@dataclass
class Seen:
    """What a client saw of one scenario, over all rounds; seconds."""

    chunks: list[int] = field(default_factory=list)  # of each round
    gaps: list[float] = field(default_factory=list)
    waiting: list[float] = field(default_factory=list)  # those gaps in which text was at hand
    delays: list[float] = field(default_factory=list)  # of each chunk's last character
    lasts: list[float] = field(default_factory=list)  # of each round's last character
    came: list[tuple[float, int]] = field(default_factory=list)  # the last round: when, how many characters by then

    def add(self, plan: Plan, sent: list[float], chunks: list[tuple[float, str]]) -> None:
        times = [when for when, _ in chunks]
        done = list(accumulate(len(text) for _, text in chunks))
        for (before, after), so_far in zip(pairwise(times), done, strict=False):
            self.gaps.append(after - before)
            if bisect_right(sent, before) * plan.size > so_far:
                self.waiting.append(after - before)
        self.chunks.append(len(chunks))
        self.delays += [when - sent[(so_far - 1) // plan.size] for when, so_far in zip(times, done, strict=True)]
        self.lasts.append(times[-1] - sent[-1])
        self.came = [(when - sent[0], so_far) for when, so_far in zip(times, done, strict=True)]


class Processes:
    """The Dify and the two gateways; ended, by their ids, at the end."""

    def __init__(self, directory: Path, streams: int, ending: contextlib.ExitStack) -> None:
        self._directory = directory
        self._running: list[subprocess.Popen[bytes]] = []
        ending.callback(self._end)
        self.dify_port = self._start_dify()
        self.gateways = {mode: self._start_gateway(mode, streams) for mode in MODES}
        self.ports = {mode: self._port(mode) for mode in MODES}

    def cpu_seconds(self, mode: str) -> float:
        fields = Path(f"/proc/{self.gateways[mode].pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _end(self) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start_dify(self) -> int:
        command = [sys.executable, __file__, "--dify"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._running.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline())

    def _start_gateway(self, mode: str, streams: int) -> subprocess.Popen[bytes]:
        settings = {
            "DIFY_API_BASE": f"http://127.0.0.1:{self.dify_port}/v1",
            "DIFY_API_KEYS": "app-smooth",
            "SERVER_PORT": "0",
            "CONVERSATION_MEMORY_MODE": "0",
            "SMOOTH_STREAMING": mode,
            "MAX_STREAMS": str(2 * streams + 100),
            "MAX_STREAMS_PER_DIFY": str(2 * streams + 100),
            "QUEUE_LENGTH": str(streams + 100),
            "QUEUE_SECONDS": "60",
            "STARTS_PER_SECOND": "100000",
        }
        with self._log(mode).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                cwd=self._directory,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT), **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._running.append(process)
        return process

    def _port(self, mode: str) -> int:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.gateways[mode].poll() is None:
            _, found, rest = self._log(mode).read_text().partition(" listens on http://127.0.0.1:")
            if found and "\n" in rest:
                return int(rest.partition("\n")[0])
            time.sleep(0.05)
        raise RuntimeError(f"the gateway did not start:\n{self._log(mode).read_text()}")

    def _log(self, mode: str) -> Path:
        return self._directory / f"gateway-{mode}.log"


async def answer(port: int, question: str, plan: Plan) -> Stream:
    """Ask, and wait for the end."""
    loop = asyncio.get_running_loop()
    _, stream = await loop.create_connection(lambda: Stream(question, plan), "127.0.0.1", port)
    await stream.over
    return stream


async def sent(port: int, question: str) -> list[float]:
    """When Dify said each piece."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /sent/%b HTTP/1.1\r\n\r\n" % question.encode())
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0]))
    writer.close()
    return json.loads(body)


async def look(processes: Processes, rounds: int) -> dict[str, dict[str, Seen]]:
    """Every scenario through both gateways, in turns; one stream at a time."""
    seen = {name: {mode: Seen() for mode in MODES} for name in SCENARIOS}
    for number in range(rounds):
        for name, plan in SCENARIOS.items():
            for mode in MODES:
                question = f"{mode}-{number}-{list(SCENARIOS).index(name)}"
                stream = await answer(processes.ports[mode], question, plan)
                seen[name][mode].add(plan, await sent(processes.dify_port, question), stream.chunks())
    return seen


async def load(processes: Processes, mode: str, streams: int, plan: Plan) -> tuple[float, str]:
    """Many streams at a time: the gateway's CPU seconds, and in how many pieces the text arrived.

    Where the machine stalls, several tokens come with one read, which is cheaper: compare rounds with equal reads.
    """
    before = processes.cpu_seconds(mode)

    async def one(number: int) -> Stream:
        await asyncio.sleep(number * 2.0 / streams)
        return await answer(processes.ports[mode], f"load-{number}", plan)

    done = await asyncio.gather(*map(one, range(streams)))
    spent = processes.cpu_seconds(mode) - before
    chunks, reads = (sum(counts) for counts in zip(*((len(one.chunks()), one.reads()) for one in done), strict=True))
    return spent, f"{spent:.2f} s ({chunks:,} chunks in {reads:,} reads)"


async def cost(processes: Processes, rounds: int, streams: int, plan: Plan) -> None:
    for mode in MODES:
        await load(processes, mode, min(streams, 100), Plan(10, 0.05, plan.size))  # warm up
    total = dict.fromkeys(MODES, 0.0)
    ratios = []
    for number in range(rounds):
        figures = {}
        for mode in MODES:
            figures[mode] = await load(processes, mode, streams, plan)
            total[mode] += figures[mode][0]
        (off, off_shown), (on, on_shown) = figures["off"], figures["on"]
        ratios.append(on / off - 1)
        print(f"  round {number + 1}: off {off_shown}; on {on_shown}; on costs {ratios[-1]:+.1%}", flush=True)
    together = total["on"] / total["off"] - 1
    print(f"  all rounds {together:+.1%}, median {median(ratios):+.1%} ({goal(together <= COST_GOAL, '15 %')})")


def goal(met: bool, what: str) -> str:
    return f"goal {what}: {'met' if met else 'NOT met'}"


def part(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


def report(seen: dict[str, dict[str, Seen]]) -> None:
    head = ("milliseconds", "chunks", "gap p50", "p99", "while text waits p50", "p99", "delay p50", "p99", "last")
    row = "{:42}{:>7}{:>10}{:>7}{:>23}{:>7}{:>12}{:>7}{:>7}"
    print(row.format(*head))
    for name, modes in seen.items():
        for mode, one in modes.items():
            pairs = [(values, share) for values in (one.gaps, one.waiting, one.delays) for share in (0.5, 0.99)]
            seconds = [*(part(*pair) for pair in pairs), median(one.lasts)]
            shown = ["-" if value != value else f"{1000 * value:.0f}" for value in seconds]
            print(row.format(f"{name}, {mode}", median(one.chunks), *shown))
        off, on = modes["off"], modes["on"]
        later = median(on.lasts) - median(off.lasts)
        print(f"  last character {1000 * later:+.0f} ms ({goal(later <= LAST_GOAL, '250 ms')})")
        if name is TOKENS:
            moved = [part(on.delays, share) - part(off.delays, share) for share in (0.5, 0.99)]
            same = on.chunks == off.chunks and abs(moved[0]) < SAME
            print(f"  delay p50 {1000 * moved[0]:+.1f} ms, p99 {1000 * moved[1]:+.1f} ms ({goal(same, 'no change')})")
        else:
            p99 = part(on.waiting, 0.99)
            print(f"  gaps while text waits: p99 {1000 * p99:.0f} ms ({goal(p99 <= GAP_GOAL, '60 ms')})")


def plot(path: str, seen: dict[str, dict[str, Seen]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    looks = {"off": ("before", "#c0392b", "--"), "on": ("after: smooth streaming", "#1f6fb2", "-")}
    ranges = {BURSTS: (-0.1, 5.1), WHOLE: (-0.02, 0.4)}
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for axis, (name, limits) in zip(axes, ranges.items(), strict=True):
        for mode, (label, colour, style) in looks.items():
            came = seen[name][mode].came
            times = [limits[0], *(when for when, _ in came), limits[1]]
            sums = [0, *(so_far for _, so_far in came), came[-1][1]]
            dots = {"marker": "." if mode == "on" else "", "ms": 5, "markevery": slice(1, -1)}
            axis.step(times, sums, where="post", color=colour, ls=style, label=label, lw=1.8, **dots)
        axis.set(title=name, xlabel="seconds", ylabel="characters at the client", xlim=limits, ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(loc="lower right", frameon=False)
    figure.savefig(path, dpi=100)


async def measure(options: argparse.Namespace) -> None:
    rate = options.tokens
    plan = Plan(round(options.seconds * rate), 1 / rate, options.size)
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as ending:
        processes = Processes(Path(directory), options.streams, ending)
        async with asyncio.timeout(options.limit):
            if not options.only_cost:
                seen = await look(processes, options.rounds)
                report(seen)
                sys.stdout.flush()
                if options.plot:
                    plot(options.plot, seen)
            if options.streams:
                print(
                    f"CPU time of the gateway, {options.streams:,} even streams, {rate * options.size:g} characters "
                    f"a second each, {options.size} at a time, for {options.seconds:g} s",
                    flush=True,
                )
                await cost(processes, options.rounds, options.streams, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of each measurement (3)")
    parser.add_argument("--streams", type=int, default=1000, help="for the cost; 0: not measured (1000)")
    parser.add_argument("--tokens", type=float, default=7.5, help="for the cost: a second, in each stream (7.5)")
    parser.add_argument("--size", type=int, default=4, help="for the cost: characters of a token (4)")
    parser.add_argument("--seconds", type=float, default=10.0, help="for the cost: length of each stream (10)")
    parser.add_argument("--only-cost", action="store_true", help="leave out what a client sees")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which all is given up (600)")
    parser.add_argument("--plot", metavar="FILE.png", help="draw what arrived when; needs matplotlib")
    parser.add_argument("--dify", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if options.dify:
        asyncio.run(Dify().serve())
        return
    if options.plot:
        import matplotlib  # noqa: F401  better now than after the measurement
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
