"""Tornado's curl client, made pausable and cancellable.

`CurlAsyncHTTPClient` copies a streamed body into the loop's queue as fast as the network brings it, cannot end a fetch
and creates all its handles at start. `StreamingCurlClient` hands out a `Transfer` per request instead: bytes wait in
a small bounded buffer, above it libcurl is paused (so Dify's socket fills and Dify slows down), and `cancel` closes
the connection at once. Admission is the caller's: there is no queue here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest, HTTPResponse

from gateway.upstream.curl_errors import error_from_curl
from gateway.upstream.transfer import Transfer

# Options of libcurl that pycurl does not name.
_SUPPRESS_CONNECT_HEADERS = 265
_UPLOAD_BUFFERSIZE = 280
_UPLOAD_BUFFER_BYTES = 16 * 1024  # kept until the answer ends; with libcurl's own 64 KiB a stream costs twice as much
# When all kept connections die at once, libcurl tries five of them before it gives up; and Dify's workers, which have
# ten places each, count idle ones.
_KEPT_CONNECTIONS = 4
_IDLE_HANDLES = 256  # kept for reuse; a handle costs 3.6 KB and 5 µs to make


@dataclass(frozen=True, slots=True)
class ConnectionPolicy:
    """How a client's requests use connections."""

    reuse: bool  # HTTP/1.1 connections are kept and used again; else each request opens its own
    repeat: bool  # libcurl may send a request again by itself when a kept connection turns out to be dead
    http2: bool = False  # over TLS, many streams share a connection
    dns_seconds: int = 60  # how long a looked-up address is good

    def prepare(self, curl: pycurl.Curl) -> None:
        """Set the handle's options for one request."""
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, self.dns_seconds)
        if not self.repeat:
            # To send a body again libcurl has to rewind it.
            curl.setopt(pycurl.SEEKFUNCTION, lambda offset, origin: pycurl.SEEKFUNC_FAIL)
        if self.http2:
            curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
            curl.setopt(pycurl.PIPEWAIT, 1)  # else every stream opens a connection although it could share one
            return
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        if not self.reuse:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
            curl.setopt(pycurl.FORBID_REUSE, 1)


class StreamingCurlClient(CurlAsyncHTTPClient):
    """A curl client whose responses are read piece by piece, at the reader's pace."""

    def initialize(  # type: ignore[override]
        self, *, policy: ConnectionPolicy, share: pycurl.CurlShare, clock: Callable[[], float], **kwargs: Any
    ) -> None:
        """`share` is what several clients have in common, such as looked-up addresses; `clock` is monotonic."""
        super().initialize(max_clients=0, **kwargs)
        if policy.reuse:
            self._multi.setopt(pycurl.M_MAXCONNECTS, _KEPT_CONNECTIONS)
        self.policy = policy
        self._share = share
        self._clock = clock
        self._attached: dict[pycurl.Curl, Transfer] = {}
        self.transfers: set[Transfer] = set()

    def start(self, request: HTTPRequest) -> Transfer:
        """Send `request` now; its answer is read from the Transfer."""
        if not self._free_list:
            self._free_list.append(self._curl_create())
        transfer = Transfer(self._clock)
        transfer.on_cancel = self._cancelled
        transfer.on_resume = self._resumed

        def prepare(curl: pycurl.Curl) -> None:
            self.policy.prepare(curl)
            if not request.proxy_host:
                curl.setopt(pycurl.PROXY, "")  # else libcurl takes one from the environment
            curl.setopt(_UPLOAD_BUFFERSIZE, _UPLOAD_BUFFER_BYTES)
            curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)  # else a tunnel's 200 is taken for Dify's
            transfer.attach(curl)
            self._attached[curl] = transfer

        request.prepare_curl_callback = prepare
        self.transfers.add(transfer)
        self.fetch(request, raise_error=False).add_done_callback(lambda future: self._ended(transfer, future))
        return transfer

    def _curl_create(self) -> pycurl.Curl:
        curl = super()._curl_create()
        curl.setopt(pycurl.SHARE, self._share)  # outlives the resets between requests
        return curl

    def close(self) -> None:
        """Abort what is open and free every handle."""
        for transfer in list(self.transfers):
            transfer.cancel()
        self._curls = self._free_list  # those that Tornado closes
        super().close()

    def _ended(self, transfer: Transfer, fetched: asyncio.Future[HTTPResponse]) -> None:
        self.transfers.discard(transfer)
        error = fetched.exception()
        transfer.end(None if error is None else error_from_curl(error, answered=transfer.answered))

    def _finish(self, curl: pycurl.Curl, curl_error: int | None = None, curl_message: str | None = None) -> None:
        """As in Tornado, but the transfer forgets the handle before another one may get it, and few are kept."""
        if transfer := self._attached.pop(curl, None):
            transfer.detach()
        super()._finish(curl, curl_error, curl_message)
        if len(self._free_list) > _IDLE_HANDLES:
            self._free_list.pop().close()

    def _resumed(self) -> None:
        self._set_timeout(0)  # asks for a socket_action, so that the transfer makes progress

    def _cancelled(self, curl: pycurl.Curl) -> None:
        """Abort from outside: the socket closes before this returns."""
        self._finish(curl, pycurl.E_ABORTED_BY_CALLBACK, "cancelled")
        self._set_timeout(0)
