"""The whole URL table on one page."""

from __future__ import annotations

from typing import Any

from gateway.idempotency.desk import AnswerDesk
from gateway.openai_api import chat
from gateway.services import Services
from gateway.web.answers import AnswerHandler
from gateway.web.event_stream import Heartbeat
from gateway.web.files import FileContentHandler, FileHandler, FileUploadHandler
from gateway.web.models import ModelHandler, ModelListHandler
from gateway.web.operations import HealthHandler, MetricsHandler, ReadyHandler

Route = tuple[str, type, dict[str, Any]]


def routes(services: Services) -> list[Route]:
    """Path pattern, handler, and what the handler is given. A trailing slash is tolerated."""
    heartbeat = Heartbeat(services.clock)
    shared: dict[str, Any] = {"desk": AnswerDesk(services), "heartbeat": heartbeat}
    return [
        (r"/v1/chat/completions/?", AnswerHandler, {"endpoint": chat.ENDPOINT, **shared}),
        (r"/v1/files/?", FileUploadHandler, {}),
        (r"/v1/files/([^/]+)/?", FileHandler, {}),
        (r"/v1/files/([^/]+)/content/?", FileContentHandler, {}),
        (r"/v1/models/?", ModelListHandler, {}),
        (r"/v1/models/(.+)", ModelHandler, {}),  # ids may hold slashes, and old SDKs do not escape them
        (r"/healthz", HealthHandler, {}),
        (r"/readyz", ReadyHandler, {}),
        (r"/metrics", MetricsHandler, {}),
    ]
