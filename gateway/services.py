"""The objects that a process builds once and every request uses."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tornado.ioloop import PeriodicCallback

from gateway.apps.refresher import AppRefresher
from gateway.apps.registry import AppRegistry
from gateway.exchange.memory.known_chats import KnownChats
from gateway.observability.loop_lag import LoopLag
from gateway.observability.metrics import Metrics
from gateway.peers.redis_link import Peers
from gateway.policy.pacer import TICK_SECONDS, PacingLoad
from gateway.settings import Settings
from gateway.uploads import Uploads
from gateway.upstream.dify_client import DifyClient

if TYPE_CHECKING:
    from gateway.observability.tracing import Tracing

log = logging.getLogger(__name__)

BACKGROUND_SECONDS = 5.0  # at the end, for the stop calls that are under way
_BEAT_SECONDS = 1.0


class Background:
    """Work that outlives its request: it is kept alive, its faults are logged, and the end of the process waits."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` in the loop, now."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    async def finish(self, seconds: float) -> None:
        """Wait for all work, at most `seconds`, then end the rest."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._tasks and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)  # what ends may have started more
        late = list(self._tasks)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("background work failed", exc_info=error)


@dataclass
class Services:
    """What a request handler needs; `settings` is replaced whole by a reload."""

    settings: Settings
    metrics: Metrics
    dify: DifyClient
    registry: AppRegistry
    refresher: AppRefresher
    uploads: Uploads
    background: Background
    peers: Peers | None
    pacing: PacingLoad
    known_chats: KnownChats
    loop_lag: LoopLag
    clock: Callable[[], float]
    tracing: Tracing | None = None
    draining: bool = False
    answers_in_flight: int = 0

    def __post_init__(self) -> None:
        self.metrics.configured.set(time.time())
        self._beat = PeriodicCallback(self._look_at_load, _BEAT_SECONDS * 1000)

    def start(self) -> None:
        """Begin the periodic work; needs a running loop."""
        self.dify.start()
        self.refresher.start()
        self.loop_lag.start()
        self._beat.start()

    async def use(self, settings: Settings) -> None:
        """Go on with other settings and keys (a reload); open answers are not touched."""
        self.settings = settings
        self.metrics.configured.set(time.time())
        self.dify.use(settings)
        self.uploads.settings = settings
        await self.refresher.use(settings)

    async def close(self) -> None:
        """End the periodic work and every connection to Dify, after the stop calls that are under way."""
        self.refresher.stop()
        self.loop_lag.stop()
        self._beat.stop()
        await self.background.finish(BACKGROUND_SECONDS)
        self.dify.close()
        if self.peers is not None:
            await self.peers.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)

    def _look_at_load(self) -> None:
        lag = self.loop_lag.take_worst()
        self.metrics.loop_lag.observe(lag)
        level = self.pacing.note(lag, self.answers_in_flight, self.clock())
        self.metrics.pacing_interval.set(level.ticks * TICK_SECONDS)


def build_services(settings: Settings) -> Services:
    """Wire everything together, in a running loop; nothing runs before `Services.start`."""
    clock = time.monotonic  # the loop's own clock, without its layer: every piece of an answer is timed
    metrics = Metrics()
    dify = DifyClient(settings, clock)
    registry = AppRegistry()
    return Services(
        settings=settings,
        metrics=metrics,
        dify=dify,
        registry=registry,
        refresher=AppRefresher(settings, dify, registry, metrics),
        uploads=Uploads(settings, dify, metrics, clock),
        background=Background(),
        peers=Peers(settings.redis_url) if settings.redis_url else None,
        pacing=PacingLoad(),
        known_chats=KnownChats(),
        loop_lag=LoopLag(clock),
        clock=clock,
        tracing=_tracing(settings.otlp_endpoint) if settings.otlp_endpoint else None,
    )


def _tracing(endpoint: str) -> Tracing:
    from gateway.observability.tracing import Tracing  # its packages are optional

    return Tracing(endpoint)
