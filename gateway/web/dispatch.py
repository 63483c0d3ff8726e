"""From a request's head to its handler, in the fewest steps that Tornado's handlers allow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, cast

from tornado.concurrent import Future, future_set_result_unless_cancelled
from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
    format_timestamp,
)
from tornado.web import Application

from gateway.services import Services
from gateway.web.client_connection import Exchange
from gateway.web.client_request import ClientRequest
from gateway.web.routes import RouteTable

if TYPE_CHECKING:
    from gateway.web.base import ApiHandler


class GatewayApplication(Application):
    """Brings each request to its handler. Tornado's own routes stay empty.

    Compression stays off: it would collect the streams.
    """

    def __init__(self, services: Services, routes: RouteTable) -> None:
        super().__init__()
        self.services = services
        self.routes = routes
        self.running: set[asyncio.Task[None]] = set()  # the loop itself holds its tasks weakly
        self._date = (0, "")  # of which second

    def date(self) -> str:
        """Now, as headers write it; it is made once a second."""
        if (now := int(time.time())) != self._date[0]:
            self._date = (now, format_timestamp(now))
        return self._date[1]

    def start_request(self, server_conn: object, request_conn: object) -> HTTPMessageDelegate:
        return RequestDelegate(self, cast(Exchange, request_conn))


class RequestDelegate(HTTPMessageDelegate):
    """One request on its way to its handler.

    All handlers get the body as it comes in (`stream_request_body`), so there is one way for all of them, and nobody
    collects what no handler wants. Where the body has come with its head, the handler runs in its connection's task,
    which saves a task, and the rounds of the loop in which each waits for the other.
    """

    def __init__(self, application: GatewayApplication, exchange: Exchange) -> None:
        self._application = application
        self._exchange = exchange
        self._handler: ApiHandler | None = None  # while the connection reads for it

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        assert isinstance(start_line, RequestStartLine)
        application, exchange = self._application, self._exchange
        request = ClientRequest(exchange, start_line, headers)
        handler_class, given, path_args = application.routes.find(request.path)
        handler = handler_class(application, request, **given)
        if (body := exchange.take_body(headers)) is not None:
            handler.data_received(body)
            request._body_future = exchange.stream.done
            return handler._execute([], *path_args)
        request._body_future = Future()
        self._handler = handler
        handler._prepared_future = prepared = cast(Any, Future())  # Tornado declares that it is None
        task = asyncio.get_running_loop().create_task(handler._execute([], *path_args))
        application.running.add(task)
        task.add_done_callback(application.running.discard)
        return cast(Awaitable[None], prepared)

    def data_received(self, chunk: bytes) -> None:
        assert self._handler is not None
        self._handler.data_received(chunk)

    def finish(self) -> None:
        if self._handler is not None:
            future_set_result_unless_cancelled(self._handler.request._body_future, None)

    def on_connection_close(self) -> None:
        if self._handler is not None:
            self._handler.on_connection_close()
            self._handler._break_cycles()  # one that waited for its body ends without an answer, which would do it
            self._handler.request._body_future.add_done_callback(_forget_frames)


def _forget_frames(body: Future[None]) -> None:
    """The handler has met the error by now, and it knows the handler."""
    if (error := body.exception()) is not None:
        error.with_traceback(None)
