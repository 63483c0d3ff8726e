"""As much of systemd as a service sees: it binds the socket, starts the process, and hears what that says."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]

# The process itself must have the id in LISTEN_PID, so the environment is completed behind the fork.
_HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "gateway"])
"""

Message = dict[str, str]


class ServiceManager:
    """Runs one gateway after another on the same socket."""

    def __init__(
        self, directory: Path, *, listener: socket.socket | None = None, watchdog_seconds: float = 20.0, **settings: str
    ) -> None:
        self._directory = directory
        self._listener = listener or socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._settings = settings
        self._watchdog_seconds = watchdog_seconds
        self._notifications = directory / "notify"
        self.messages: list[Message] = []

    async def __aenter__(self) -> ServiceManager:
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(self._notifications))
        self._channel.setblocking(False)
        self._processes: list[Process] = []
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
            process._transport.close()  # type: ignore[attr-defined]
        self._channel.close()
        self._listener.close()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    async def start(self) -> Process:
        """Start the service and wait until it says that it is ready."""
        command = [sys.executable, "-c", _HAND_OVER, str(self._listener.fileno())]
        environ = {
            **{"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SERVER_PORT": "1"},  # not what it listens on
            **{"NOTIFY_SOCKET": str(self._notifications), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "http"},
            "WATCHDOG_USEC": str(int(self._watchdog_seconds * 1e6)),
            **self._settings,
        }
        process = await asyncio.create_subprocess_exec(
            *command, cwd=self._directory, env=environ, pass_fds=(3, self._listener.fileno())
        )
        self._processes.append(process)
        await self.hears("READY=1")
        return process

    async def stop(self, process: Process) -> int:
        """Ask it to stop; its exit status."""
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            return await process.wait()

    async def hears(self, line: str, seconds: float = 15.0) -> Message:
        """The next message with this line in it; those before it are heard, too."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            while True:
                datagram = await loop.sock_recv(self._channel, 4096)
                message = dict(part.split("=", 1) for part in datagram.decode().split("\n"))
                self.messages.append(message)
                if line in datagram.decode().split("\n"):
                    return message

    def close_notifications(self) -> None:
        """As if systemd itself were gone."""
        self._channel.close()
        self._notifications.unlink()
