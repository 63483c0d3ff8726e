"""What load balancers and Prometheus ask for: /healthz, /readyz, /metrics."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.errors import NotReady
from gateway.web.base import ApiHandler


class HealthHandler(ApiHandler):
    """The process is alive."""

    endpoint_name = "healthz"
    needs_client_key = counted = False

    def get(self) -> None:
        self.write("ok\n")

    head = get


class ReadyHandler(ApiHandler):
    """The process can answer: it knows an app and is not about to stop."""

    endpoint_name = "readyz"
    needs_client_key = counted = False

    def get(self) -> None:
        if self.services.draining:
            raise NotReady("The gateway is shutting down.")
        if not self.services.registry.ready:
            raise NotReady("No Dify app is known yet.")
        self.write("ready\n")

    head = get


class MetricsHandler(ApiHandler):
    """Prometheus' text format."""

    endpoint_name = "metrics"
    needs_client_key = counted = False

    def get(self) -> None:
        metrics = self.services.metrics
        metrics.answers_in_flight.set(self.services.answers_in_flight)
        metrics.ready.set(self.services.registry.ready and not self.services.draining)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.write(generate_latest(metrics.registry))
