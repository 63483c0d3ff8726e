"""The Tornado application, for the server and for tests alike."""

from __future__ import annotations

from tornado.web import Application

from gateway.services import Services
from gateway.web.base import UnknownRouteHandler
from gateway.web.routes import routes


def make_app(services: Services) -> Application:
    """Routes and nothing else. Compression stays off: it would collect the streams."""
    return Application(
        routes(services),
        services=services,
        default_handler_class=UnknownRouteHandler,
        log_function=lambda handler: None,  # the handlers write their own access line
    )
