"""Life of the process: sockets, start, signals, reload, and its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Sequence

from tornado.ioloop import PeriodicCallback
from tornado.netutil import bind_sockets

from gateway import __version__
from gateway.app import make_app
from gateway.drain import drain, longest_drain
from gateway.load_settings import BadSettings, after_reload
from gateway.observability.logs import set_up_logs
from gateway.services import BACKGROUND_SECONDS, Services, build_services
from gateway.settings import Settings
from gateway.systemd.notify import Notifier
from gateway.web.http_server import CappedHTTPServer, connection_cap

log = logging.getLogger(__name__)

_FIRST_REFRESH_SECONDS = 5.0  # the first requests should find the apps; a Dify that is down must not hold the start
_EXIT_SECONDS = 5.0  # for the interpreter to end, on a busy machine
_BACKLOG = 1024


class Server:
    """One gateway on one port."""

    def __init__(
        self,
        settings: Settings,
        reload_settings: Callable[[], Settings],
        *,
        sockets: Sequence[socket.socket] = (),
        notifier: Notifier,
    ) -> None:
        self._settings = settings
        self._reload_settings = reload_settings
        self._sockets = sockets  # bound by systemd; without any, the settings say where to listen
        self._notifier = notifier
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._unready_seconds = 0.0  # before the end
        self._services: Services  # from run() on
        self._complaint = ""  # of a reload that failed; shown until one succeeds
        self._had_terminal = False
        self._reloading = asyncio.Lock()
        self._reload_waits = False  # behind the one that runs: it will see all files as they are then

    async def run(self) -> None:
        """Serve until a signal ends it. Raises OSError when the address cannot be bound."""
        settings = self._settings
        sockets = self._sockets or bind_sockets(settings.server_port, settings.server_host, backlog=_BACKLOG)
        services = self._services = build_services(settings)
        cap = settings.max_connections or connection_cap()
        server = CappedHTTPServer(make_app(services), max_connections=cap)
        self._handle_signals()
        services.start()
        async with self._reloading:  # a reload waits until the start is over
            await asyncio.wait([asyncio.ensure_future(services.refresher.refresh())], timeout=_FIRST_REFRESH_SECONDS)
            _collect_rarely()
            server.add_sockets(sockets)
            log.info("gateway %s listens on %s", __version__, " ".join(_address(one) for one in sockets))
            self._notifier.ready(self._status())
        watchdog = self._watchdog()
        await self._stop.wait()
        longest = longest_drain(self._settings) + BACKGROUND_SECONDS + _EXIT_SECONDS
        self._notifier.stopping(self._status(), longest)
        await drain(server, services, unready_seconds=self._unready_seconds, stop_now=self._stop_now)
        await services.close()
        watchdog.stop()
        log.info("stopped")

    # --- what systemd is told -----------------------------------------------------------------------------------------

    def _watchdog(self) -> PeriodicCallback:
        """Tell from the loop itself, never from a thread, that the loop turns: until the very end of the drain."""
        seconds = self._notifier.watchdog_seconds
        ping = PeriodicCallback(lambda: self._notifier.alive(self._status()), (seconds or 1.0) * 1000 / 2)
        if seconds is not None:
            ping.start()
        return ping

    def _status(self) -> str:
        services = self._services
        doing = "shutting down" if self._stop.is_set() else "serving"
        apps = len(services.registry.snapshot.models)
        return f"{doing}, {apps} apps, {services.answers_in_flight} answers in flight{self._complaint}"

    # --- signals ------------------------------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: self._on_stop(self._settings.unready_seconds))
        loop.add_signal_handler(signal.SIGINT, self._on_stop)
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
        self._had_terminal = not ignored and _has_terminal()
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_stop(self, unready_seconds: float = 0.0) -> None:
        if self._stop.is_set():
            self._stop_now.set()  # asked twice: at once
        self._unready_seconds = unready_seconds
        self._stop.set()

    def _on_hangup(self) -> None:
        """Reload; but where the terminal that started the process was closed, stop."""
        if self._had_terminal and not _has_terminal():
            self._on_stop()
            return
        if not self._reload_waits:
            self._reload_waits = True
            self._services.background.start(self._reload())

    async def _reload(self) -> None:
        """Read keys and settings again; a bad configuration keeps the old one."""
        async with self._reloading:
            self._reload_waits = False
            if self._stop.is_set():
                log.warning("not reloaded: the gateway is shutting down")
                return
            self._notifier.reloading()
            try:
                await self._use_new_settings()
            finally:
                self._notifier.ready(self._status())

    async def _use_new_settings(self) -> None:
        services = self._services
        try:
            settings, unchanged = after_reload(self._settings, self._reload_settings())
        except (BadSettings, OSError) as error:
            log.error("reload failed, the old configuration stays: %s", error)
            self._complaint = f"; the last reload failed: {error}"
            services.metrics.reloads.labels("failed").inc()
            return
        self._settings = settings
        self._complaint = ""
        set_up_logs(settings.log_level, settings.log_format)
        await services.use(settings)
        services.metrics.reloads.labels("ok").inc()
        log.info("reloaded, %d keys", len(settings.app_keys))
        if unchanged:
            log.warning("a restart is needed for %s", ", ".join(unchanged))


def _collect_rarely() -> None:
    """Let the garbage collector pass over what lives as long as the process, and look less often at the rest.

    Nearly nothing that a request makes is garbage in cycles. With 500 streams its share of the time falls from 3.4 % to
    1.4 %; above 5,000 it is the pauses that grow.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 10, 10)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _address(one: socket.socket) -> str:
    name = one.getsockname()
    if not isinstance(name, tuple):
        return str(name)  # a Unix socket's path
    host, port = name[:2]
    return f"http://[{host}]:{port}" if one.family == socket.AF_INET6 else f"http://{host}:{port}"
