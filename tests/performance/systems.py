"""Who is measured: the gateway, the floor under it, and its peers."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.performance.machine import ROOT

TOOLS = ROOT / ".bench"  # what only the measuring needs; ignored by git
LITELLM = "litellm[proxy]==1.106.0"
PORTKEY = "@portkey-ai/gateway@1.15.2"
# Later ones hand on the upstream's headers, which Portkey cannot write to: every answer is a 500.
_PORTKEY_PACKAGES = {"dependencies": {"@portkey-ai/gateway": "1.15.2"}, "overrides": {"@hono/node-server": "1.8.0"}}


class CannotRun(Exception):
    """A system is not to be had on this machine; the message says why."""


@dataclass(frozen=True)
class Started:
    """How to start a system, and how a client asks it."""

    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/chat/completions"
    ready_path: str = "/v1/models"
    header: str = ""


@dataclass(frozen=True)
class System:
    """One row of the table."""

    name: str
    what: str
    start: Callable[[int, int, Path], Started]  # its port, the upstream's, a folder for its files
    lean: bool = True  # whether the scenarios with thousands of streams make sense


def _gateway(port: int, upstream: int, folder: Path) -> Started:
    env = {
        "DIFY_API_BASE": f"http://127.0.0.1:{upstream}/v1",
        "DIFY_API_KEYS": "app-rig",
        "VALID_API_KEYS": "sk-rig",
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": str(port),
        "MAX_STREAMS": "20000",
        "MAX_STREAMS_PER_DIFY": "20000",
    }
    return Started([sys.executable, "-m", "gateway"], env, ready_path="/readyz")


_NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log warn;
worker_rlimit_nofile 40000;
events {{ worker_connections 20000; }}
http {{
  access_log off; keepalive_requests 100000000; tcp_nodelay on;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream rig {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location /v1/ {{
      proxy_pass http://rig/openai/v1/; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"""


def _nginx(port: int, upstream: int, folder: Path) -> Started:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise CannotRun("nginx is missing (on Debian: apt-get install nginx-light)")
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(port=port, upstream=upstream, folder=folder))
    return Started([program, "-c", str(config)])


def _bare(port: int, upstream: int, folder: Path) -> Started:
    return Started([sys.executable, "-m", "tests.performance.bare_tornado", str(port), str(upstream)])


def _litellm(port: int, upstream: int, folder: Path) -> Started:
    program = TOOLS / "litellm/bin/litellm"
    if not program.exists():
        _install("LiteLLM", [sys.executable, "-m", "venv", str(TOOLS / "litellm")])
        _install("LiteLLM", [str(TOOLS / "litellm/bin/pip"), "install", "--quiet", LITELLM])
    to = {"model": "openai/rig", "api_base": f"http://127.0.0.1:{upstream}/openai/v1", "api_key": "sk-upstream"}
    config = folder / "litellm.yaml"  # JSON is YAML
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": "rig", "litellm_params": to}],
                "general_settings": {"master_key": "sk-rig"},
                "litellm_settings": {"telemetry": False},
            }
        )
    )
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return Started(command, env, ready_path="/health/readiness")


def _portkey(port: int, upstream: int, folder: Path) -> Started:
    program = TOOLS / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js"
    node = shutil.which("node")
    if node is None:
        raise CannotRun("node is missing")
    if not program.exists():
        (TOOLS / "portkey").mkdir(parents=True, exist_ok=True)
        (TOOLS / "portkey/package.json").write_text(json.dumps(_PORTKEY_PACKAGES))
        words = ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", "--ignore-scripts", "--prefix"]
        _install("Portkey", [*words, str(TOOLS / "portkey")])
    to = {"provider": "openai", "api_key": "sk-upstream", "custom_host": f"http://127.0.0.1:{upstream}/openai/v1"}
    header = f"x-portkey-config: {json.dumps(to)}"
    env = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost", "NODE_ENV": "production"}
    return Started([node, str(program), f"--port={port}", "--headless"], env, ready_path="/", header=header)


def _install(name: str, command: list[str]) -> None:
    print(f"installing {name} for the comparison …", file=sys.stderr, flush=True)
    TOOLS.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"{name} cannot be installed: {done.stderr.strip()[-200:]}")


def other(text: str) -> System:
    """Any gateway: `NAME=COMMAND`, with {port} and {upstream} in it; its model is `rig`, its key `sk-rig`.

    Raises CannotRun.
    """
    name, _, command = text.partition("=")
    if not (name and command):
        raise CannotRun(f"--compare wants NAME=COMMAND, not {text!r}")

    def start(port: int, upstream: int, folder: Path) -> Started:
        return Started(shlex.split(command.format(port=port, upstream=upstream, folder=folder)))

    return System(name, "given by --compare", start)


GATEWAY = System("gateway", "this gateway: Dify's events → OpenAI chunks", _gateway)
FLOOR = System("nginx", "the floor: copies an OpenAI stream, transforms nothing", _nginx)
PEERS = [
    System("bare Tornado", "Tornado and its curl client, copying; what the frame itself costs", _bare),
    System("Portkey", f"{PORTKEY}, OpenAI → OpenAI", _portkey, lean=False),
    System("LiteLLM", f"{LITELLM}, OpenAI → OpenAI", _litellm, lean=False),
]


def folder_for(name: str) -> Path:
    """A fresh one; the system's log stays in it."""
    return Path(tempfile.mkdtemp(prefix=f"bench-{name.lower()}-"))
