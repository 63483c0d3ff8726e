"""Base of the handlers that take a body: it is read as it comes in, up to MAX_BODY_BYTES."""

from __future__ import annotations

from gateway.web.base import ApiHandler
from gateway.web.header_fields import body_length
from gateway.web.limited_body import LimitedBody


class BodyHandler(ApiHandler):
    """A handler whose method calls `take_body` first."""

    def initialize(self) -> None:
        super().initialize()
        self._body = LimitedBody(self.services.settings.max_body_bytes)

    def prepare(self) -> None:
        super().prepare()
        headers = self.request.headers
        if "Expect" in headers and (length := body_length(headers)) is not None:
            self._body.expect(length)

    def data_received(self, chunk: bytes) -> None:
        self._body.add(chunk)

    def take_body(self) -> None:
        """Put the whole body where Tornado has it. Raises BodyTooLarge."""
        self.request.body = self._body.take()
