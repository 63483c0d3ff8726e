"""Each way in which libcurl fails, as the client sees it."""

from __future__ import annotations

import pycurl
import pytest
from tornado.curl_httpclient import CurlError

from gateway.errors import (
    GatewayError,
    InternalError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from gateway.upstream.curl_errors import error_from_curl

Row = tuple[type[GatewayError], str, bool | None]

# Nothing was sent: None leaves it to the SDKs, which try a 502 again.
ERRORS: dict[str, Row] = {
    "E_COULDNT_RESOLVE_PROXY": (UpstreamUnreachable, "upstream_dns_failed", None),
    "E_COULDNT_RESOLVE_HOST": (UpstreamUnreachable, "upstream_dns_failed", None),
    "E_COULDNT_CONNECT": (UpstreamUnreachable, "upstream_refused", None),
    "E_SSL_CONNECT_ERROR": (UpstreamUnreachable, "upstream_tls_failed", None),
    "E_PEER_FAILED_VERIFICATION": (UpstreamUnreachable, "upstream_tls_failed", None),
    "E_SSL_CACERT_BADFILE": (UpstreamUnreachable, "upstream_tls_failed", None),
    "E_OPERATION_TIMEDOUT": (UpstreamTimeout, "upstream_connect_timeout", True),
    "E_GOT_NOTHING": (UpstreamTruncated, "upstream_truncated", False),
    "E_SEND_ERROR": (UpstreamTruncated, "upstream_truncated", False),
    "E_RECV_ERROR": (UpstreamTruncated, "upstream_truncated", False),
    "E_PARTIAL_FILE": (UpstreamTruncated, "upstream_truncated", False),
    "E_HTTP2": (UpstreamTruncated, "upstream_truncated", False),
    "E_SEND_FAIL_REWIND": (UpstreamTruncated, "upstream_truncated", False),
    "E_BAD_CONTENT_ENCODING": (UpstreamProtocolError, "upstream_protocol_error", False),
    "E_UNSUPPORTED_PROTOCOL": (UpstreamProtocolError, "upstream_protocol_error", False),
}
NUMBERS = {name: number for name, number in vars(pycurl).items() if name.startswith("E_") and isinstance(number, int)}


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(("name", "row"), ERRORS.items(), ids=ERRORS)
def test_an_error_of_libcurl_tells_what_happened(name: str, row: Row, answered: bool) -> None:
    kind, code, should_retry = row
    error = error_from_curl(CurlError(NUMBERS[name], "secret words of libcurl"), answered=answered)
    assert type(error) is kind
    assert error.code == code
    assert error.should_retry is should_retry
    assert "secret" not in error.message


def test_a_broken_connection_tells_when_it_broke() -> None:
    lost = CurlError(pycurl.E_RECV_ERROR, "")
    assert error_from_curl(lost, answered=False).message.endswith("before it answered.")
    assert error_from_curl(lost, answered=True).message.endswith("in the middle of its answer.")


@pytest.mark.parametrize("number", sorted({*NUMBERS.values(), 9999}))
def test_every_number_is_an_error_of_dify_and_says_what_it_is(number: int) -> None:
    error = error_from_curl(CurlError(number, ""), answered=False)
    assert error.status in (502, 504)
    assert error.message.endswith(".")
    if isinstance(error, UpstreamProtocolError):
        assert f"libcurl error {number}" in error.message


@pytest.mark.parametrize("failure", [OSError("disk full"), pycurl.error(43, "bad argument"), ValueError()])
def test_anything_else_is_the_gateways_own_fault(failure: Exception) -> None:
    error = error_from_curl(failure, answered=False)
    assert type(error) is InternalError
    assert error.message == "The request to Dify could not be made."
