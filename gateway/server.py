"""Life of the process: sockets, start, signals, reload, drain, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable

from tornado.netutil import bind_sockets

from gateway import __version__
from gateway.app import make_app
from gateway.errors import ShuttingDown
from gateway.load_settings import BadSettings, after_reload
from gateway.observability.logs import set_up_logs
from gateway.services import Services, build_services
from gateway.settings import Settings
from gateway.web.http_server import CappedHTTPServer, connection_cap

log = logging.getLogger(__name__)

_FIRST_REFRESH_SECONDS = 5.0  # the first requests should find the apps; a Dify that is down must not hold the start
_LAST_WORDS_SECONDS = 1.0  # for the error that ends an answer to reach its client
_BACKLOG = 1024


class Server:
    """One gateway on one port."""

    def __init__(self, settings: Settings, reload_settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reload_settings = reload_settings
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._services: Services | None = None
        self._had_terminal = False
        self._reloading: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve until a signal ends it. Raises OSError when the address cannot be bound."""
        settings = self._settings
        sockets = bind_sockets(settings.server_port, settings.server_host, backlog=_BACKLOG)
        services = self._services = build_services(settings)
        cap = settings.max_connections or connection_cap()
        server = CappedHTTPServer(make_app(services), max_connections=cap)
        self._handle_signals()
        services.start()
        await asyncio.wait([asyncio.ensure_future(services.refresher.refresh())], timeout=_FIRST_REFRESH_SECONDS)
        server.add_sockets(sockets)
        log.info("gateway %s listens on %s", __version__, " ".join(_address(one) for one in sockets))
        await self._stop.wait()
        await self._drain(server, services)

    async def _drain(self, server: CappedHTTPServer, services: Services) -> None:
        """Accept nothing new, let open answers finish, then end the rest and stop their runs in Dify."""
        services.draining = True
        server.conn_params.no_keep_alive = True  # a header alone would not close the connections
        server.stop()
        log.info("shutting down, %d answers in flight", services.answers_in_flight)
        await self._answers_end(services, self._settings.shutdown_seconds)
        services.dify.end_streams(ShuttingDown("The gateway is shutting down; the answer was cut."))
        self._stop_now.clear()
        await self._answers_end(services, _LAST_WORDS_SECONDS)
        await server.close_all_connections()  # clients that take nothing
        await self._answers_end(services, _LAST_WORDS_SECONDS)
        await services.close()
        log.info("stopped")

    async def _answers_end(self, services: Services, seconds: float) -> None:
        """Wait until no answer is in flight, at most `seconds`, or until the second signal."""
        deadline = services.clock() + seconds
        # Polled, since three things are waited for and this happens once in a process's life.
        while services.answers_in_flight and services.clock() < deadline and not self._stop_now.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop)
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # nohup
        self._had_terminal = not ignored and _has_terminal()
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_stop(self) -> None:
        if self._stop.is_set():
            self._stop_now.set()  # asked twice: at once
        self._stop.set()

    def _on_hangup(self) -> None:
        """Reload; but where the terminal that started the process was closed, stop."""
        if self._had_terminal and not _has_terminal():
            self._on_stop()
            return
        self._reloading = asyncio.ensure_future(self._reload())

    async def _reload(self) -> None:
        """Read keys and settings again; a bad configuration keeps the old one."""
        services = self._services
        assert services is not None
        try:
            settings, unchanged = after_reload(self._settings, self._reload_settings())
        except (BadSettings, OSError) as error:
            log.error("reload failed, the old configuration stays: %s", error)
            services.metrics.reloads.labels("failed").inc()
            return
        self._settings = settings
        set_up_logs(settings.log_level, settings.log_format)
        await services.use(settings)
        services.metrics.reloads.labels("ok").inc()
        log.info("reloaded, %d keys", len(settings.app_keys))
        if unchanged:
            log.warning("a restart is needed for %s", ", ".join(unchanged))


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _address(one: socket.socket) -> str:
    host, port = one.getsockname()[:2]
    return f"http://[{host}]:{port}" if one.family == socket.AF_INET6 else f"http://{host}:{port}"
