"""Serves the configured apps; without any, serves a simulated Dify's apps and says how to try them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gateway.configuration import read_settings  # noqa: E402 - the checkout is not installed
from gateway.load_settings import BadSettings  # noqa: E402
from gateway.settings import Settings  # noqa: E402

GATEWAY = [sys.executable, "-m", "gateway"]
SIMULATOR = [sys.executable, "-m", "tests.simulator", "--port", "0"]

DEMO = """
This is a DEMO: no DIFY_API_KEYS are set, so a simulated Dify answers. Nothing you send leaves this machine.
Put your own keys into .env (cp .env.example .env) and start again.

  curl -N {base}/chat/completions -H 'Content-Type: application/json'{curl_key} \\
    -d '{{"model": "Demo Chatbot", "stream": true, "messages": [{{"role": "user", "content": "Hello!"}}]}}'

{python} -m pip install -q openai && {python} - <<'EOF'
from openai import OpenAI
client = OpenAI(base_url="{base}", api_key="{key}")
print([model.id for model in client.models.list()])
for chunk in client.chat.completions.create(
    model="Demo Chatbot", stream=True, messages=[{{"role": "user", "content": "Hello!"}}]
):
    print(chunk.choices[0].delta.content, end="", flush=True)
print()
EOF

Ctrl-C ends both.
"""


def main() -> int:
    try:
        settings = read_settings(None)
    except (BadSettings, OSError):
        settings = None  # the gateway itself says what is wrong
    if settings is None or settings.app_keys:
        os.execv(GATEWAY[0], GATEWAY)
    return asyncio.run(demo(settings))


async def demo(settings: Settings) -> int:
    """Run both until one ends or a signal comes; the other one ends with it."""
    simulator = await asyncio.create_subprocess_exec(*SIMULATOR, stdout=asyncio.subprocess.PIPE, start_new_session=True)
    settings = replace(settings, server_port=settings.server_port or _free_port(settings.server_host))
    environ = {**os.environ, "SERVER_PORT": str(settings.server_port)}
    is_taken = _is_open(settings)
    for _ in range(2):  # DIFY_API_BASE=…, DIFY_API_KEYS=…
        name, _, value = (await simulator.stdout.readline()).decode().strip().partition("=")
        environ[name] = value
    gateway = await asyncio.create_subprocess_exec(*GATEWAY, env=environ, start_new_session=True)
    drain = asyncio.create_task(simulator.stdout.read())  # its table of apps, or the pipe would fill

    def stop() -> None:
        if gateway.returncode is None:
            gateway.send_signal(signal.SIGINT)

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop)
    greeting = None if is_taken else asyncio.create_task(greet(settings))
    status = await gateway.wait()
    if greeting is not None:
        greeting.cancel()
    if simulator.returncode is None:
        simulator.terminate()
    await simulator.wait()
    await drain
    return status


async def greet(settings: Settings) -> None:
    """Print what to paste, once the gateway answers."""
    host = "127.0.0.1" if settings.server_host in ("0.0.0.0", "::", "localhost") else settings.server_host
    address = f"http://[{host}]" if ":" in host else f"http://{host}"
    address = f"{address}:{settings.server_port}"
    for _ in range(100):
        if await asyncio.to_thread(_ready, address):
            break
        await asyncio.sleep(0.1)
    key = "YOUR_CLIENT_KEY" if settings.valid_api_keys else "anything"
    curl_key = f" -H 'Authorization: Bearer {key}'" if settings.valid_api_keys else ""
    print(DEMO.format(base=f"{address}/v1", key=key, curl_key=curl_key, python=sys.executable), flush=True)


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


def _is_open(settings: Settings) -> bool:
    """Whether somebody else listens there already; the gateway will say that it cannot."""
    try:
        socket.create_connection((settings.server_host, settings.server_port), timeout=1).close()
    except OSError:
        return False
    return True


def _ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/readyz", timeout=1) as answer:
            return answer.status == 200
    except (URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(main())
