"""python -m tests.conformance.dify: one Dify of each release in one process, and a journal of what they are asked.

Prints `DIFY_API_KEYS=…`, then a line of JSON for each request.
"""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from tests.conformance.models import FILES, LIMITED, MODES, ODD_NAMES, model
from tests.simulator.apps import ANY_FILE_CHAT, DEMO_CHAT, FILE_WORKFLOW, FORM_CHAT, App, AppTable, apps_of
from tests.simulator.server import RequestRecord, Simulator
from tests.simulator.versions import VERSIONS

TRACES = Path(__file__).parents[1] / "traces"
SPEED = 20.0  # times as fast as Dify


class Journal(list[RequestRecord]):
    """Takes the place of a simulator's list of requests: tells them to whoever started this process."""

    def append(self, record: RequestRecord) -> None:
        body = record.body if isinstance(record.body, dict) else {}
        entry = {"method": record.method, "path": record.path, "app": record.app, "body": body}
        print(json.dumps(entry), flush=True)


def workspace(version: str) -> list[App]:
    """One app of each mode, named after mode and release; the newest has the special ones as well."""
    demos = {app.mode: app for app in apps_of(VERSIONS[version]) if app.in_demo}
    apps = [replace(demos[mode], name=model(mode, version)) for mode in MODES[version]]
    apps.append(replace(ANY_FILE_CHAT, key=f"app-files{version}", name=FILES[version]))
    if version == "1.12.1":
        apps += [FORM_CHAT, FILE_WORKFLOW]
        apps.append(replace(DEMO_CHAT, key="app-limited", name=LIMITED, max_active_requests=1))
        apps += [replace(DEMO_CHAT, key=f"app-odd{number}", name=name) for number, name in enumerate(ODD_NAMES)]
    return apps


async def main() -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    keys: list[str] = []
    async with AsyncExitStack() as opened:
        for version in MODES:
            apps = AppTable.of(workspace(version))
            simulator = Simulator(version, apps.values(), speed=SPEED, stop_delay=0.05, traces_dir=TRACES)
            simulator.requests = Journal()
            await opened.enter_async_context(simulator)
            keys += [f"{key}@{simulator.base_url}" for key in apps]
        print(f"DIFY_API_KEYS={','.join(keys)}", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
