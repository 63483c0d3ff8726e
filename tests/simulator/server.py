"""The simulator: a listening socket in front of a small Dify."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.simulator.apps import App, AppTable, apps_of
from tests.simulator.generation import Caller, remember
from tests.simulator.producer import Producer
from tests.simulator.replies import AnyReply, ApiError, unexpected_error
from tests.simulator.routes import route
from tests.simulator.runs import Run
from tests.simulator.sending import Sender
from tests.simulator.store import Store
from tests.simulator.versions import VERSIONS
from tests.simulator.wire import BadRequest, Connection, HttpRequest

log = logging.getLogger("simulator")


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """A request as it arrived; the key in `authorization` is replaced by the app's name."""

    method: str
    path: str
    query: str
    headers: dict[str, str]  # lower-case names
    body: Any  # parsed JSON, or the bytes
    app: str | None  # the app's name
    time: float  # time.monotonic()


class Simulator:
    """A Dify of one release. `start` it in a running loop, then talk to `base_url`."""

    def __init__(
        self,
        version: str = "1.12.1",
        apps: Iterable[App] | None = None,
        *,
        stop_delay: float = 0.4,
        ping_interval: float = 10.0,
        keep_alive: float = 75.0,
        speed: float = 1.0,
        traces_dir: Path | str | None = None,
    ) -> None:
        self.profile = VERSIONS[version]
        self.apps = AppTable.of(apps_of(self.profile) if apps is None else apps)
        self.requests: list[RequestRecord] = []
        self.runs: list[Run] = []
        self.accepted_connections = 0
        self.store = Store()
        self.traces_dir = Path(traces_dir) if traces_dir is not None else None
        self._stop_delay = stop_delay
        self._ping_interval = ping_interval
        self._keep_alive = keep_alive
        self._speed = speed
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    @property
    def version(self) -> str:
        return self.profile.name

    @property
    def port(self) -> int:
        assert self._server is not None, "not started"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        assert self._server is not None, "not started"
        host = self._server.sockets[0].getsockname()[0]
        if host in ("0.0.0.0", "::"):
            host = "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/v1"

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> Simulator:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._accept), host, port)
        return self

    async def stop(self) -> None:
        """Close every socket and end every run."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        tasks = list(self._connections.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for run in self.runs:
            await run.cancel()
        await self._server.wait_closed()
        self._server = None

    async def __aenter__(self) -> Simulator:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # what the routes use

    def start_run(self, producer: Producer, streaming: bool) -> Run:
        run = Run(producer, self._speed, on_end=lambda ended: remember(self, ended, streaming))
        self.runs.append(run)
        return run

    def stop_run(self, task_id: str, caller: Caller) -> None:
        """Another user's stop does nothing, or on some releases harm."""
        for run in self.runs:
            if run.task_id == task_id and run.state == "running":
                own = (run.app.key, run.user) == (caller.app.key, caller.user)
                if own or self.profile.foreign_stop_aborts:
                    run.stop(self._stop_delay, foreign=not own)

    def find_workflow_run(self, workflow_run_id: str, caller: Caller) -> Run | None:
        owned = (run for run in self.runs if (run.app.key, run.user) == (caller.app.key, caller.user))
        return next((run for run in owned if run.workflow_run_id == workflow_run_id), None)

    # connections

    def _accept(self, connection: Connection) -> None:
        self.accepted_connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(connection))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection, None))

    async def _serve(self, connection: Connection) -> None:
        try:
            while await self._serve_request(connection):
                pass
        except (BadRequest, TimeoutError):
            pass
        finally:
            connection.close()

    async def _serve_request(self, connection: Connection) -> bool:
        async with asyncio.timeout(self._keep_alive):
            request = await connection.read_request()
        if request is None:
            return False
        self._record(request)
        sender = Sender(connection, request, self.profile, self._ping_interval)
        return await sender.send(self._answer(request))

    def _answer(self, request: HttpRequest) -> AnyReply:
        try:
            return route(self, request)
        except ApiError as refusal:
            return refusal.reply
        except Exception:
            log.exception("a bug of the simulator, at %s %s", request.method, request.path)
            return unexpected_error(self.profile).reply

    def _record(self, request: HttpRequest) -> None:
        headers = dict(request.headers)
        scheme, _, key = headers.get("authorization", "").partition(" ")
        app = self.apps.get(key.strip())
        if "authorization" in headers:
            headers["authorization"] = f"{scheme} {app.name if app else 'an unknown key'}"
        body: Any = request.body
        if headers.get("content-type", "").startswith("application/json"):
            try:
                body = json.loads(request.body)
            except (ValueError, RecursionError):
                body = request.body
        name = app.name if app else None
        record = RequestRecord(request.method, request.path, request.query, headers, body, name, time.monotonic())
        self.requests.append(record)
