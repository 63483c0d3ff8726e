"""The whole URL table on one page."""

from __future__ import annotations

import re
from typing import Any

from tornado.escape import url_unescape

from gateway.idempotency.desk import AnswerDesk
from gateway.openai_api import chat
from gateway.services import Services
from gateway.web.answers import AnswerHandler
from gateway.web.base import ApiHandler, UnknownRouteHandler
from gateway.web.event_stream import Heartbeat
from gateway.web.files import FileContentHandler, FileHandler, FileUploadHandler
from gateway.web.models import ModelHandler, ModelListHandler
from gateway.web.operations import HealthHandler, MetricsHandler, ReadyHandler

Given = dict[str, Any]  # to a handler's `initialize`
Found = tuple[type[ApiHandler], Given, tuple[bytes, ...]]  # with what the path says, for the handler's method


def routes(services: Services) -> RouteTable:
    """Path pattern, handler, and what the handler is given. A trailing slash is tolerated."""
    heartbeat = Heartbeat(services.clock)
    shared: Given = {"desk": AnswerDesk(services), "heartbeat": heartbeat}
    return RouteTable(
        (r"/v1/chat/completions/?", AnswerHandler, {"endpoint": chat.ENDPOINT, **shared}),
        (r"/v1/files/?", FileUploadHandler, {}),
        (r"/v1/files/([^/]+)/?", FileHandler, {}),
        (r"/v1/files/([^/]+)/content/?", FileContentHandler, {}),
        (r"/v1/models/?", ModelListHandler, {}),
        (r"/v1/models/(.+)", ModelHandler, {}),  # ids may hold slashes, and old SDKs do not escape them
        (r"/healthz", HealthHandler, {}),
        (r"/readyz", ReadyHandler, {}),
        (r"/metrics", MetricsHandler, {}),
    )


class RouteTable:
    """Finds the handler of a path: a look-up where the path is fixed, else pattern by pattern."""

    def __init__(self, *routes: tuple[str, type[ApiHandler], Given]) -> None:
        self._fixed: dict[str, Found] = {}
        self._patterns: list[tuple[re.Pattern[str], type[ApiHandler], Given]] = []
        for pattern, handler, given in routes:
            path = pattern.removesuffix("/?")
            if re.escape(path) == path:
                self._fixed |= dict.fromkeys((path, pattern.replace("?", "")), (handler, given, ()))
            else:
                self._patterns.append((re.compile(pattern), handler, given))

    def find(self, path: str) -> Found:
        if (found := self._fixed.get(path)) is not None:
            return found
        for pattern, handler, given in self._patterns:
            if match := pattern.fullmatch(path):
                return handler, given, tuple(url_unescape(group, None, plus=False) for group in match.groups())
        return UnknownRouteHandler, {}, ()
