"""A request is what Tornado makes of it, however it came about."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tornado.httputil import (
    HTTPHeaders,
    HTTPInputError,
    HTTPServerRequest,
    RequestStartLine,
    parse_request_start_line,
)

from gateway.web.client_request import ClientRequest, read_start_line

hosts = st.one_of(
    st.none(), st.text("aZ0.-:[],% é", max_size=8), st.sampled_from(["gateway", "127.0.0.1:8000", "[::1]:80"])
)
paths = st.sampled_from(["/", "/v1/models", "/v1/models?a=1&a=2", "/?", "*", "/é", "/%41"])


def all_of(make: Any, path: str, host: str | None, version: str) -> dict[str, Any] | None:
    connection = SimpleNamespace(context=SimpleNamespace(remote_ip="10.0.0.1", protocol="https"))
    headers = HTTPHeaders({} if host is None else {"Host": host})
    try:
        request = make(connection=connection, start_line=RequestStartLine("GET", path, version), headers=headers)
    except HTTPInputError:
        return None
    return {
        name: value for name, value in vars(request).items() if name not in ("connection", "headers", "_start_time")
    }


@given(paths, hosts, st.sampled_from(["HTTP/1.1", "HTTP/1.0"]))
@example("/v1/models", "gateway:8000", "HTTP/1.1")
@example("/v1/models", "gateway:", "HTTP/1.1")
@example("/v1/models", ":80", "HTTP/1.1")
def test_a_request_is_as_tornado_makes_it(path: str, host: str | None, version: str) -> None:
    made = all_of(ClientRequest, path, host, version)
    assert made == all_of(HTTPServerRequest, path, host, version)


words = st.sampled_from(
    [
        "GET",
        "POST",
        "get",
        "BREW",
        "",
        "/",
        "/v1/é",
        "/\x80",
        "/\x00",
        "/a\tb",
        "\xa0",
        "HTTP/1.1",
        "HTTP/1.0",
        "HTTP/2.0",
    ]
)


@given(st.lists(words, max_size=4).map(" ".join))
@example("POST /v1/chat/completions HTTP/1.1")
@example("POST  HTTP/1.1")
@example("POST /\xa0 HTTP/1.1")
def test_a_start_line_is_read_as_by_tornado(line: str) -> None:
    read: list[RequestStartLine | None] = []
    for reader in (read_start_line, parse_request_start_line):
        try:
            read.append(reader(line))
        except HTTPInputError:
            read.append(None)
    assert read[0] == read[1]
