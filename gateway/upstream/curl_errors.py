"""libcurl's error numbers → the errors that clients get."""

from __future__ import annotations

import pycurl
from tornado.curl_httpclient import CurlError

from gateway.errors import (
    GatewayError,
    InternalError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)

# Before anything was sent: a retry is safe.
_NOT_SENT: dict[int, tuple[str, str]] = {
    pycurl.E_COULDNT_RESOLVE_PROXY: ("upstream_dns_failed", "the proxy's name cannot be resolved"),
    pycurl.E_COULDNT_RESOLVE_HOST: ("upstream_dns_failed", "its name cannot be resolved"),
    pycurl.E_COULDNT_CONNECT: ("upstream_refused", "the connection was refused or has no route"),
    pycurl.E_SSL_CONNECT_ERROR: ("upstream_tls_failed", "the TLS handshake failed"),
    pycurl.E_PEER_FAILED_VERIFICATION: ("upstream_tls_failed", "its certificate is not trusted"),
    pycurl.E_SSL_CACERT_BADFILE: ("upstream_tls_failed", "CA_FILE cannot be read"),
}

# The connection broke after the request may have reached Dify.
_LOST = {
    pycurl.E_GOT_NOTHING,
    pycurl.E_SEND_ERROR,
    pycurl.E_RECV_ERROR,
    pycurl.E_PARTIAL_FILE,
    pycurl.E_HTTP2,
    92,  # CURLE_HTTP2_STREAM, which pycurl does not name: a proxy resets the stream when Dify's side breaks
    pycurl.E_SEND_FAIL_REWIND,  # libcurl wanted to send again, and was not allowed to
}


def error_from_curl(error: BaseException, *, answered: bool) -> GatewayError:
    """The client's error for a failed transfer; `answered`: a response head had arrived before."""
    if not isinstance(error, CurlError):
        return InternalError("The request to Dify could not be made.")
    number = error.errno
    if number in _NOT_SENT:
        code, why = _NOT_SENT[number]
        return UpstreamUnreachable(f"Cannot reach Dify: {why}.", code=code)
    if number == pycurl.E_OPERATION_TIMEDOUT:
        # Only the connect time-out is libcurl's here; the others are our own.
        return UpstreamTimeout(
            "Dify did not accept a connection in time.", code="upstream_connect_timeout", should_retry=True
        )
    if number in _LOST:
        when = "in the middle of its answer" if answered else "before it answered"
        return UpstreamTruncated(f"The connection to Dify broke {when}.")
    return UpstreamProtocolError(f"What Dify's address answered is not proper HTTP (libcurl error {number}).")
