"""Asks Dify about every key, at start and on a periodic callback, and hands the answers to the registry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from tornado.ioloop import PeriodicCallback

from gateway.apps.registry import AppRegistry
from gateway.dify_api import calls
from gateway.dify_api.app import AppKey, AppMode
from gateway.dify_api.description import AppDescription, mode_from_probes, read_description
from gateway.errors import AppUnavailable, GatewayError, InternalError
from gateway.observability.metrics import Metrics
from gateway.settings import Settings
from gateway.upstream.dify_client import DifyClient

log = logging.getLogger(__name__)

_PROBE_USER = "opendify-gateway"
_JITTER = 0.1  # of the period, so that nodes started together do not ask together
_AT_ONCE = 8  # a stock Dify serves ten connections per worker, and its users come first
_HEAL_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)  # after a refresh in which keys failed that never worked


class AppRefresher:
    """Keeps the registry fresh."""

    def __init__(self, settings: Settings, dify: DifyClient, registry: AppRegistry, metrics: Metrics) -> None:
        self._keys = settings.app_keys
        self._dify = dify
        self._registry = registry
        self._metrics = metrics
        self._periodic = PeriodicCallback(self.refresh, settings.app_refresh_seconds * 1000, jitter=_JITTER)
        self._modes: dict[AppKey, AppMode] = {}  # found by probing; asked once per key
        self._results: dict[AppKey, AppDescription | GatewayError] = {}  # of the last refresh
        self._refreshing = asyncio.Lock()
        self._heal: asyncio.TimerHandle | None = None
        self._heal_task: asyncio.Task[None] | None = None
        self._failures = 0

    def start(self) -> None:
        """Refresh periodically from now on; the first refresh is the caller's to await."""
        self._periodic.start()

    def stop(self) -> None:
        """No further refresh."""
        self._periodic.stop()
        if self._heal is not None:
            self._heal.cancel()
        if self._heal_task is not None:
            self._heal_task.cancel()

    async def use(self, settings: Settings) -> None:
        """Serve these keys from now on (a reload); apps that stay keep their entries."""
        self._keys = settings.app_keys
        self._periodic.stop()
        self._periodic.callback_time = settings.app_refresh_seconds * 1000
        self._periodic.start()
        await self.refresh()

    async def refresh(self) -> None:
        """Ask Dify about all keys concurrently and swap the snapshot."""
        await self._refresh(lambda key: True)

    async def _refresh(self, is_due: Callable[[AppKey], bool]) -> None:
        async with self._refreshing:
            keys = self._keys
            slots = asyncio.Semaphore(_AT_ONCE)
            results = await asyncio.gather(
                *(self._describe(key, slots) if is_due(key) else self._known(key) for key in keys)
            )
            self._results = dict(zip(keys, results, strict=True))
            failed_before = {state.key: state.error for state in self._registry.states}
            self._registry.update(list(zip(keys, results, strict=True)), time.time())
        self._report(failed_before)
        self._heal_soon()

    async def _known(self, key: AppKey) -> AppDescription | GatewayError:
        return self._results[key]

    async def _describe(self, key: AppKey, slots: asyncio.Semaphore) -> AppDescription | GatewayError:
        async with slots:
            try:
                return await self._ask(key)
            except GatewayError as error:
                return error
            except Exception:
                log.exception("refresh failed key=%s", key.hint)
                return InternalError("The gateway failed to read the app's description.")

    async def _ask(self, key: AppKey) -> AppDescription:
        info, parameters = await asyncio.gather(
            self._dify.fetch(key, calls.info()), self._dify.fetch(key, calls.parameters())
        )
        for answer in (info, parameters):
            if answer.head.status != 200:
                raise answer.error()
        described = read_description(info.json(), parameters.json())
        mode = key.mode or described.mode or self._modes.get(key) or await self._probe_mode(key)
        return replace(described, mode=mode)

    async def _probe_mode(self, key: AppKey) -> AppMode:
        """Servers before 1.4 do not tell the mode; wrong-mode questions do, and start no run."""
        probes = calls.mode_probes(_PROBE_USER)
        answers = await asyncio.gather(*(self._dify.fetch(key, probe) for probe in probes))
        mode = mode_from_probes([(answer.head.status, answer.json()) for answer in answers])
        if mode is None:
            raise AppUnavailable("Dify does not tell this app's mode; write it behind its key: app-key?mode=chat")
        self._modes[key] = mode
        return mode

    def _report(self, failed_before: dict[AppKey, str | None]) -> None:
        states = self._registry.states
        for state in states:
            if state.error and failed_before.get(state.key) != state.error:
                log.warning("app refresh failed key=%s error=%s", state.key.hint, state.error)
            elif not state.error and failed_before.get(state.key):
                log.info("app is back key=%s model=%s", state.key.hint, state.app.model_id if state.app else "")
        failed = sum(1 for state in states if state.error)
        result = "ok" if not failed else "partial" if failed < len(states) else "failed"
        metrics = self._metrics
        metrics.refreshes.labels(result).inc()
        metrics.apps.set(len(self._registry.snapshot.models))
        if result != "failed":
            metrics.last_refresh.set(time.time())
        for gauge in (metrics.app_up, metrics.app_described, metrics.app_info):
            gauge.clear()
        for number, state in enumerate(states, start=1):
            name = state.app.model_id if state.app else f"key {number}"
            metrics.app_up.labels(name).set(0 if state.error else 1)
            if state.app and state.refreshed:
                metrics.app_described.labels(name).set(state.refreshed)
                metrics.app_info.labels(name, state.app.mode, state.key.host).set(1)

    def _heal_soon(self) -> None:
        """A key that has never worked is asked again sooner than the period."""
        if self._heal is not None:
            self._heal.cancel()
            self._heal = None
        if all(state.app for state in self._registry.states):
            self._failures = 0
            return
        delay = _HEAL_SECONDS[min(self._failures, len(_HEAL_SECONDS) - 1)]
        self._failures += 1
        self._heal = asyncio.get_running_loop().call_later(delay, self._heal_now)

    def _heal_now(self) -> None:
        seen = {state.key for state in self._registry.states if state.app}
        heal = self._refresh(lambda key: key not in seen or key not in self._results)
        self._heal_task = asyncio.get_running_loop().create_task(heal)
