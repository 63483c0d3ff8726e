"""What a newcomer without any key sees: one command, and what it prints works when pasted."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


async def free_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return int(port)


async def test_the_demo_prints_a_curl_line_that_works() -> None:
    environ = {"PATH": os.environ["PATH"], "SERVER_PORT": str(await free_port())}
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        "scripts/serve_or_demo.py",
        cwd=ROOT,
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert demo.stdout is not None
    try:
        async with asyncio.timeout(30):
            printed = (await demo.stdout.readuntil(b"Ctrl-C ends both.")).decode()
        assert "DEMO" in printed
        curl = re.search(r"(curl -N .*?'\n)", printed, re.DOTALL)
        assert curl is not None
        pasted = await asyncio.create_subprocess_shell(
            curl[1], stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        answer, _ = await asyncio.wait_for(pasted.communicate(), 30)
        assert b"chat.completion.chunk" in answer
        assert answer.rstrip().endswith(b"data: [DONE]")
    finally:
        demo.send_signal(signal.SIGINT)
        status = await asyncio.wait_for(demo.wait(), 15)
        demo._transport.close()  # type: ignore[attr-defined]
    assert status == 0
