"""The Tornado application, for the server and for tests alike."""

from __future__ import annotations

from gateway.services import Services
from gateway.web.dispatch import GatewayApplication
from gateway.web.routes import routes


def make_app(services: Services) -> GatewayApplication:
    """Routes and nothing else."""
    return GatewayApplication(services, routes(services))
