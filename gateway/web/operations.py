"""What load balancers and Prometheus ask for: /healthz, /readyz, /metrics."""

from __future__ import annotations

import asyncio

from gateway.errors import NotReady
from gateway.observability.exposition import content_type, exposition
from gateway.policy.circuit_breaker import CircuitState
from gateway.services import Services
from gateway.web.base import ApiHandler

_OPENNESS = {CircuitState.CLOSED: 0.0, CircuitState.HALF_OPEN: 0.5, CircuitState.OPEN: 1.0}


class HealthHandler(ApiHandler):
    """The process is alive."""

    endpoint_name = "healthz"
    needs_client_key = counted = for_browsers = False

    def get(self) -> None:
        self.write("ok\n")

    head = get


class ReadyHandler(ApiHandler):
    """The process can answer: it knows an app and is not about to stop."""

    endpoint_name = "readyz"
    needs_client_key = counted = for_browsers = False

    def get(self) -> None:
        if why := unready(self.services):
            raise NotReady(why)
        self.write("ready\n")
        for host, state in self.services.dify.circuits().items():
            self.write(f"{host} {state}\n")

    head = get


def unready(services: Services) -> str | None:
    """Why no request should come here now."""
    if services.draining:
        return "The gateway is shutting down."
    if not services.registry.ready:
        return "No Dify app is known yet."
    circuits = services.dify.circuits()
    if circuits and all(state is CircuitState.OPEN for state in circuits.values()):
        return "No Dify can be reached: every circuit is open."
    return None


class MetricsHandler(ApiHandler):
    """What Prometheus scrapes, as OpenMetrics if it asks for that."""

    endpoint_name = "metrics"
    needs_client_key = counted = for_browsers = False

    async def get(self) -> None:
        self._look()
        accept = self.request.headers.get("Accept", "")
        self.set_header("Content-Type", content_type(accept))
        for piece in exposition(self.services.metrics.registry, accept):
            self.write(piece)
            await self.flush()  # else a megabyte would be joined and hashed at once
            await asyncio.sleep(0)  # the answers in flight go first

    def _look(self) -> None:
        """What is not counted but looked at."""
        metrics, dify = self.services.metrics, self.services.dify
        for gauge, values in (
            (metrics.upstream_streams, {host: load.streams for host, load in dify.load().items()}),
            (metrics.upstream_waiting, {host: load.waiting for host, load in dify.load().items()}),
            (metrics.circuit_open, {host: _OPENNESS[state] for host, state in dify.circuits().items()}),
        ):
            gauge.clear()
            for host, value in values.items():
                gauge.labels(host).set(value)
        metrics.answers_in_flight.set(self.services.answers_in_flight)
        metrics.ready.set(unready(self.services) is None)
        metrics.draining.set(self.services.draining)
