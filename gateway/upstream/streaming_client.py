"""Tornado's curl client, made pausable and cancellable.

`CurlAsyncHTTPClient` copies a streamed body into the loop's queue as fast as the network brings it, cannot end a fetch
and creates all its handles at start. `StreamingCurlClient` hands out a `Transfer` per request instead: bytes wait in
a small bounded buffer, above it libcurl is paused (so Dify's socket fills and Dify slows down), and `cancel` closes
the connection at once. Admission is the caller's: there is no queue here.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient
from tornado.httpclient import HTTPRequest, HTTPResponse

from gateway.upstream.curl_errors import error_from_curl
from gateway.upstream.transfer import Transfer


class StreamingCurlClient(CurlAsyncHTTPClient):
    """A curl client whose responses are read piece by piece, at the reader's pace."""

    def initialize(self, *, reuse_connections: bool, **kwargs: Any) -> None:  # type: ignore[override]
        """With `reuse_connections` false every request opens its own connection.

        libcurl silently sends a POST again when a reused connection turns out to be dead: Dify would run twice.
        """
        super().initialize(max_clients=0, **kwargs)
        self._reuse_connections = reuse_connections
        self._attached: dict[pycurl.Curl, Transfer] = {}
        self.transfers: set[Transfer] = set()

    def start(self, request: HTTPRequest) -> Transfer:
        """Send `request` now; its answer is read from the Transfer."""
        if not self._free_list:
            curl = self._curl_create()
            self._curls.append(curl)
            self._free_list.append(curl)
        transfer = Transfer(self.io_loop.time)
        transfer.on_resume = self._resumed

        def prepare(curl: pycurl.Curl) -> None:
            transfer.attach(curl)
            self._attached[curl] = transfer
            curl.setopt(pycurl.NOSIGNAL, 1)
            curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
            if not self._reuse_connections:
                curl.setopt(pycurl.FRESH_CONNECT, 1)
                curl.setopt(pycurl.FORBID_REUSE, 1)
            if not request.proxy_host:
                curl.setopt(pycurl.PROXY, "")  # else libcurl takes one from the environment

        request.prepare_curl_callback = prepare
        transfer.on_cancel = self._cancelled
        self.transfers.add(transfer)
        self.fetch(request, raise_error=False).add_done_callback(lambda future: self._ended(transfer, future))
        return transfer

    def _ended(self, transfer: Transfer, fetched: asyncio.Future[HTTPResponse]) -> None:
        self.transfers.discard(transfer)
        error = fetched.exception()
        transfer.end(None if error is None else error_from_curl(error, answered=transfer.answered))

    def _finish(self, curl: pycurl.Curl, curl_error: int | None = None, curl_message: str | None = None) -> None:
        """As in Tornado, but the transfer forgets the handle before another one may get it."""
        if transfer := self._attached.pop(curl, None):
            transfer.detach()
        super()._finish(curl, curl_error, curl_message)

    def _resumed(self) -> None:
        self._set_timeout(0)  # asks for a socket_action, so that the transfer makes progress

    def _cancelled(self, curl: pycurl.Curl) -> None:
        """Abort from outside: the socket closes before this returns."""
        self._finish(curl, pycurl.E_ABORTED_BY_CALLBACK, "cancelled")
        self._set_timeout(0)
