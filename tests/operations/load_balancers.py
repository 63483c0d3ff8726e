"""HAProxy and nginx with the shipped files, whose ports and paths are replaced."""

from __future__ import annotations

import asyncio
import socket
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

CONF = Path(__file__).parents[2] / "conf"

SHIPPED_PORTS = (9001, 9002)


def replaced(text: str, replacements: dict[str, str]) -> str:
    """The text with other words; each word to replace is there."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is no part of the file"
        text = text.replace(old, new)
    return text


def haproxy(text: str, port: int, gateways: Sequence[int], directory: Path) -> tuple[str, list[str]]:
    """HAProxy's file for these ports, and the command that runs it."""
    lines = [line for line in text.splitlines() if line.split()[:1] not in (["user"], ["group"], ["chroot"])]
    ports = dict(zip(SHIPPED_PORTS, gateways, strict=True))
    text = replaced(
        "\n".join(lines) + "\n",
        {
            "bind :8080": f"bind 127.0.0.1:{port}",
            "bind 127.0.0.1:8404": f"bind unix@{directory}/operators.sock",
            "/run/haproxy/admin.sock": f"{directory}/admin.sock",
            **{f"127.0.0.1:{shipped}": f"127.0.0.1:{used}" for shipped, used in ports.items()},
        },
    )
    return text, ["haproxy", "-db", "-f", str(directory / "haproxy")]


def nginx(text: str, port: int, gateways: Sequence[int], directory: Path) -> tuple[str, list[str]]:
    """nginx's file for these ports, and the command that runs it."""
    temporary = "".join(
        f"    {name}_temp_path {directory}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    ports = dict(zip(SHIPPED_PORTS, gateways, strict=True))
    text = replaced(
        text,
        {
            "user www-data;\n": "",
            "/run/nginx.pid": f"{directory}/nginx.pid",
            "/var/log/nginx": str(directory),
            "listen 8080": f"listen 127.0.0.1:{port}",
            "http {\n": f"http {{\n{temporary}",
            **{f"127.0.0.1:{shipped}": f"127.0.0.1:{used}" for shipped, used in ports.items()},
        },
    )
    return text, ["nginx", "-e", str(directory / "error.log"), "-c", str(directory / "nginx"), "-g", "daemon off;"]


Balancer = Callable[[str, int, Sequence[int], Path], tuple[str, list[str]]]
BALANCERS: dict[str, Balancer] = {"haproxy": haproxy, "nginx": nginx}
FILES = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}


@asynccontextmanager
async def balancer(
    name: str, gateways: Sequence[int], directory: Path, change: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """The balancer in front of these gateways: its base URL. `change` replaces words of the shipped file."""
    port = free_port()
    text = replaced((CONF / FILES[name]).read_text(), change or {})
    text, command = BALANCERS[name](text, port, gateways, directory)
    (directory / name).write_text(text)
    with (directory / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        await listening(port, process, directory / "output")
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def listening(port: int, process: Process, output: Path) -> None:
    """Wait until something accepts connections."""
    async with asyncio.timeout(15):
        while True:
            assert process.returncode is None, output.read_text("utf-8", "replace")  # noqa: ASYNC240
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


def free_port() -> int:
    """One that the system has just given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
