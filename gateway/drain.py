"""How a gateway ends: it is told to the load balancer first, then nobody loses an answer that may still finish."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress

from gateway.errors import ShuttingDown
from gateway.services import Services
from gateway.settings import Settings
from gateway.web.client_connection import Exchange
from gateway.web.http_server import CappedHTTPServer

log = logging.getLogger(__name__)

# A client that keeps a connection may be sending on it right now; one that has just connected surely is about to.
_IDLE_SECONDS = 0.25
_FRESH_SECONDS = 1.0
_LAST_WORDS_SECONDS = 1.5  # for the error that ends an answer to reach its client; a follower looks every second


def longest_drain(settings: Settings) -> float:
    """Seconds that `drain` takes at most."""
    return settings.unready_seconds + settings.shutdown_seconds + 2 * _LAST_WORDS_SECONDS


async def drain(
    server: CappedHTTPServer, services: Services, *, unready_seconds: float, stop_now: asyncio.Event
) -> None:
    """Be unready for a while, accept nothing new, let open answers finish, then end the rest and stop their runs.

    `stop_now` cuts every wait short but the last words.
    """
    services.draining = True
    log.info("shutting down, %d answers in flight", services.answers_in_flight)
    # From the beginning, so that no busy client's connection is left when the idle ones are closed: it could lose one.
    server.close_after_requests()
    with suppress(TimeoutError):
        await asyncio.wait_for(stop_now.wait(), unready_seconds)
    server.stop()
    await _all_closed(server, services, services.settings.shutdown_seconds, stop_now)
    cut = ShuttingDown("The gateway is shutting down; the answer was cut.")
    services.dify.end_streams(cut)
    if services.peers is not None:
        services.peers.ended_by = cut
    await _all_closed(server, services, _LAST_WORDS_SECONDS)
    server.close_all()  # clients that take nothing
    await _all_closed(server, services, _LAST_WORDS_SECONDS)


async def _all_closed(
    server: CappedHTTPServer, services: Services, seconds: float, stop_now: asyncio.Event | None = None
) -> None:
    """Wait until no connection is open and no answer in flight, at most `seconds`, or until `stop_now`.

    Not answers alone: a request that is being read is none yet, and its client would lose it.
    """
    began = services.clock()

    def has_waited(exchange: Exchange) -> bool:
        waits = _IDLE_SECONDS if exchange.is_idle else _FRESH_SECONDS
        return services.clock() - max(began, exchange.since) >= waits

    while server.open_connections or services.answers_in_flight:
        if services.clock() - began >= seconds or (stop_now is not None and stop_now.is_set()):
            return
        server.close_silent(has_waited)
        await asyncio.sleep(0.02)  # polled: many things are waited for, once in a process's life
