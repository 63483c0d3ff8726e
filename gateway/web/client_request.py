"""Tornado's request, made in one go where nothing about it has to be judged."""

from __future__ import annotations

import re
import time

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine, parse_request_start_line
from tornado.web import RequestHandler

_as_plain_host = re.compile(r"([a-z0-9.-]+)(?::[0-9]+)?").fullmatch

_METHODS = frozenset(RequestHandler.SUPPORTED_METHODS)


def read_start_line(line: str) -> RequestStartLine:
    """Method, target and version. Raises HTTPInputError."""
    words = line.split(" ")
    if len(words) == 3 and words[0] in _METHODS and words[1] and words[2] == "HTTP/1.1" and line.isprintable():
        return RequestStartLine(*words)
    return parse_request_start_line(line)


class ClientRequest(HTTPServerRequest):
    """What is asked without a query, of a host that is written plainly; Tornado reads all others."""

    def __init__(self, connection: HTTP1Connection, start_line: RequestStartLine, headers: HTTPHeaders) -> None:
        host = headers.get("Host", "")
        if "?" in start_line.path or (plain := _as_plain_host(host)) is None:
            super().__init__(connection=connection, start_line=start_line, headers=headers)
            return
        self.method, self.uri, self.version = start_line
        self.path, self.query = start_line.path, ""
        self.headers, self.body = headers, b""
        self.host, self.host_name = host, plain[1]
        self.connection, self.server_connection = connection, None
        self.remote_ip = getattr(connection.context, "remote_ip", None)
        self.protocol = getattr(connection.context, "protocol", "http")
        self.arguments, self.query_arguments, self.body_arguments, self.files = {}, {}, {}, {}
        self._start_time, self._finish_time = time.time(), None
