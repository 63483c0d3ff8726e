"""What every handler of the gateway has: request id, client key, JSON body, error envelope, access line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from gateway.client_keys import ClientKey
from gateway.errors import GatewayError, InternalError, InvalidRequest, MethodNotAllowed, UnknownRoute
from gateway.json_codec import loads_strict
from gateway.observability import access_log
from gateway.observability.request_timeline import RequestTimeline
from gateway.observability.request_trace import RequestTrace, is_traced
from gateway.observability.trace_context import read_traceparent
from gateway.openai_api.error_body import error_body, error_headers
from gateway.web.client_auth import client_key
from gateway.web.forwarded import client_address, request_id
from gateway.web.header_fields import HeaderFields
from gateway.web.wishes import CONVERSATION_HEADER

if TYPE_CHECKING:
    from gateway.observability.tracing import RequestSpan  # its packages are optional
    from gateway.web.dispatch import GatewayApplication

log = logging.getLogger(__name__)

IGNORED_HEADER = "x-ignored-parameters"  # of an answer: what the request asked for and no app can be told

_NOBODY = ClientKey("")
_SHOWN_TO_BROWSERS = ", ".join(
    ("x-request-id", "traceparent", "retry-after", "x-should-retry", IGNORED_HEADER, CONVERSATION_HEADER)
)


@stream_request_body
class ApiHandler(RequestHandler):
    """Base of all handlers; errors leave it in OpenAI's envelope, always."""

    endpoint_name = "other"  # a metric label
    application: GatewayApplication
    needs_client_key = True
    counted = True  # whether its requests are somebody's work, to be counted and logged
    for_browsers = True  # whether pages of other origins may read the answer

    def __init__(self, application: GatewayApplication, request: HTTPServerRequest, **given: Any) -> None:
        """As Tornado's, without the modules of templates, which no handler here has."""
        self.application, self.request = application, request
        self.services = application.services  # what the process has built once
        self._headers_written = self._finished = False
        self._auto_finish, self._prepared_future = True, None
        self.clear()
        cast(HTTP1Connection, request.connection).set_close_callback(self.on_connection_close)
        self.initialize(**given)

    def initialize(self) -> None:
        clock = self.services.clock
        self.client_key = _NOBODY
        self.timeline = RequestTimeline(clock, self.endpoint_name, clock(), self.request_id, self.traceparent)

    def clear(self) -> None:
        """Begin an answer; also where an error takes the place of what was begun, so the request id outlives that."""
        if not hasattr(self, "request_id"):
            self._take_names()
        # In one go, and not by Tornado's hook and a `set_header` each: it looks at every value anew.
        fields = {
            "Server": "opendify-gateway",
            "Content-Type": "text/html; charset=UTF-8",
            "Date": self.application.date(),
            "X-Request-Id": self.request_id,
            "X-Content-Type-Options": "nosniff",
        }
        if self.traceparent is not None:
            fields["Traceparent"] = str(self.traceparent)
        if self.for_browsers and (origin := self.services.settings.cors_allow_origin):
            fields |= {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _SHOWN_TO_BROWSERS}
            if origin != "*":
                fields["Vary"] = "Origin"
        self._headers = HeaderFields(fields)
        self._write_buffer: list[bytes] = []
        self._status_code, self._reason = 200, "OK"

    def _take_names(self) -> None:
        """What this request is called, here and elsewhere."""
        headers, services = self.request.headers, self.services
        self.request_id = request_id(self.request.remote_ip or "", headers, services.settings.trusted_proxies)
        self.traceparent = read_traceparent(headers.get("traceparent"))
        self.span: RequestSpan | None = None
        if services.tracing is not None and self.counted:
            self.span = services.tracing.begin(self.traceparent)
            self.traceparent = self.span.traceparent

    def _cross_origin_protection(self) -> None:
        """For cookies, which nobody gets here; Tornado would look up twice that it is not wanted."""

    def prepare(self) -> None:
        """Runs before the body is read."""
        if self.needs_client_key and self.request.method != "OPTIONS":  # browsers ask without the key
            self.client_key = client_key(self.request.headers.get("Authorization"), self.services.settings)
            client = self.timeline.client = self.client_key.label
            settings = self.services.settings
            if (wanted := settings.trace_requests) and is_traced(
                wanted, self.request_id, self.request.headers.get("X-Request-ID"), client
            ):
                self.timeline.trace = RequestTrace(self.request_id, with_text=settings.trace_text)

    def data_received(self, chunk: bytes) -> None:
        """A body that no method of this handler takes is read, so that the answer is, and thrown away."""

    def json_body(self) -> object:
        """The decoded body. Raises InvalidRequest."""
        if not self.request.body:
            raise InvalidRequest("The request body is empty; a JSON object is wanted.", code="invalid_json")
        if self.timeline.trace is not None:
            self.timeline.trace.received(self.request.body)
        try:
            return loads_strict(self.request.body)
        except ValueError as error:
            raise InvalidRequest(f"The request body is not valid JSON: {error}.", code="invalid_json") from None

    def set_header(self, name: str, value: Any) -> None:
        if type(value) is str and value.isascii() and value.isprintable():
            self._headers[name] = value
        else:  # Tornado's way, which looks for what must not be there by a pattern
            super().set_header(name, value)

    def write_json(self, body: bytes) -> None:
        """Answer with an encoded JSON document."""
        self.set_header("Content-Type", "application/json")
        self.write(body)

    async def options(self, *_: str) -> None:
        """A browser's preflight request: SDKs there send many headers of their own (x-stainless-…), so those asked for
        are allowed."""
        if self.for_browsers and self.services.settings.cors_allow_origin:
            wanted = self.request.headers.get("Access-Control-Request-Headers", "authorization, content-type")
            self.set_header("Access-Control-Allow-Headers", wanted)
            self.set_header("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
            self.set_header("Access-Control-Max-Age", "86400")
        self.set_status(204)
        await self.finish()

    # --- errors -------------------------------------------------------------------------------------------------------

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Render any failure as OpenAI's envelope."""
        error = self._as_gateway_error(kwargs.get("exc_info", (None, None, None))[1], status_code)
        self.timeline.error = error
        self.set_status(error.status)
        for name, value in error_headers(error).items():
            self.set_header(name, value)
        if error.status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        elif error.status == 405:
            self.set_header("Allow", ", ".join(self._methods()))
        self.set_header("Content-Type", "application/json")
        self.finish(error_body(error))

    def log_exception(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """A GatewayError is an answer and a lost client an ordinary end: neither gets a traceback."""
        if not isinstance(error, GatewayError | HTTPError | StreamClosedError):
            log.error("request failed request_id=%s", self.request_id, exc_info=(kind, error, traceback))  # type: ignore[arg-type]

    def _as_gateway_error(self, error: BaseException | None, status: int) -> GatewayError:
        if isinstance(error, GatewayError):
            return error
        path = self.request.path
        if status == 404:
            hint = "" if path.startswith("/v1") else " OpenAI's routes are under /v1: base_url should end with /v1."
            return UnknownRoute(f"Unknown request URL: {self.request.method} {path}.{hint}")
        if status == 405:
            return MethodNotAllowed(f"{path} does not take {self.request.method}.")
        if 400 <= status < 500:
            return InvalidRequest(f"The request is malformed: {error}.")
        return InternalError("The gateway failed to handle this request; its log has the reason.")

    def _methods(self) -> list[str]:
        """What this route takes."""
        own, unserved = type(self), RequestHandler
        names = self.SUPPORTED_METHODS
        return [name for name in names if getattr(own, name.lower()) is not getattr(unserved, name.lower())]

    # --- the end ------------------------------------------------------------------------------------------------------

    def _log(self) -> None:
        """`on_finish` writes the line."""

    def on_finish(self) -> None:
        """Metrics and the access line, once per request."""
        if self.counted:
            status = self.get_status()
            self.timeline.to_metrics(self.services.metrics, status)
            if access_log.is_wanted():
                peer, proxies = self.request.remote_ip or "", self.services.settings.trusted_proxies
                address = client_address(peer, self.request.headers, proxies)
                names: dict[str, object] = {"request_id": self.request_id, "address": address}
                access_log.log_request(names | self.timeline.fields(status))
            if self.span is not None:
                self.span.end(self.timeline, status)
        error: BaseException | None = self.timeline.error
        while error is not None:  # its frames, and its cause's, know this handler, which would go round with it
            error = error.with_traceback(None).__context__


class UnknownRouteHandler(ApiHandler):
    """Whatever no route serves."""

    needs_client_key = False

    def _unknown(self) -> None:
        raise HTTPError(404)

    head = get = post = delete = patch = put = _unknown
