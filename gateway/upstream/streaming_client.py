"""Tornado's curl client with a drive of its own: responses that are read at the reader's pace, and can be cut off.

`CurlAsyncHTTPClient` hands a streamed body to the loop as fast as the network brings it, cannot end a fetch, makes all
its handles at start, and asks after ended transfers at every event. `StreamingCurlClient` keeps its libcurl and
replaces the rest: bytes wait in a small bounded buffer, above it libcurl is paused (so Dify's socket fills and Dify
slows down), `cancel` closes the connection at once, and what a socket brought reaches its reader in the same round of
the loop. Admission is the caller's: there is no queue here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any

import pycurl
from tornado.curl_httpclient import CurlAsyncHTTPClient, CurlError
from tornado.ioloop import IOLoop

from gateway.frozen import frozen
from gateway.lot import Lot
from gateway.upstream.curl_errors import error_from_curl
from gateway.upstream.socket_set import SocketSet
from gateway.upstream.transfer import Transfer

# Options of libcurl that pycurl does not name.
_SUPPRESS_CONNECT_HEADERS = 265
_UPLOAD_BUFFERSIZE = 280
_UPLOAD_BUFFER_BYTES = 16 * 1024  # kept until the answer ends; with libcurl's own 64 KiB a stream costs twice as much
_DOWNLOAD_BUFFER_BYTES = 8 * 1024  # a paused transfer holds as much
# When all kept connections die at once, libcurl tries five of them before it gives up; and Dify's workers, which have
# ten places each, count idle ones.
_KEPT_CONNECTIONS = 4


@frozen
class ConnectionPolicy:
    """How a client's requests use connections."""

    # Whether a request may go out on a kept connection. When that turns out to be dead, libcurl sends it again.
    repeatable: bool
    connect_timeout: float  # seconds, name look-up and TLS included
    http2: bool = False  # over TLS, many streams share a connection
    dns_seconds: int = 60  # how long a looked-up address is good
    ca_file: str = ""  # instead of the system's authorities
    proxy: str = ""  # its URL

    def handle(self) -> pycurl.Curl:
        """A handle with the options that all requests have in common, to be copied for each of them."""
        curl = pycurl.Curl()
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.DNS_CACHE_TIMEOUT, self.dns_seconds)
        # The whole time is not libcurl's to measure: its cap is no use for streams.
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(1000 * self.connect_timeout))
        curl.setopt(_UPLOAD_BUFFERSIZE, _UPLOAD_BUFFER_BYTES)
        curl.setopt(pycurl.BUFFERSIZE, _DOWNLOAD_BUFFER_BYTES)
        curl.setopt(_SUPPRESS_CONNECT_HEADERS, 1)  # else a tunnel's 200 is taken for Dify's
        curl.setopt(pycurl.PROXY, self.proxy)  # if it is empty, libcurl must not take one from the environment
        if self.ca_file:
            curl.setopt(pycurl.CAINFO, self.ca_file)
        if self.http2:
            curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS)
            curl.setopt(pycurl.PIPEWAIT, 1)  # else every stream opens a connection although it could share one
            return curl
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        if not self.repeatable:
            curl.setopt(pycurl.FRESH_CONNECT, 1)
            curl.setopt(pycurl.FORBID_REUSE, 1)
        return curl


class StreamingCurlClient(CurlAsyncHTTPClient):
    """A curl client whose responses are read piece by piece, at the reader's pace: `start` instead of `fetch`."""

    def initialize(  # type: ignore[override]
        self, *, policy: ConnectionPolicy, share: pycurl.CurlShare, clock: Callable[[], float], lot: Lot
    ) -> None:
        """`share` is what several clients have in common, such as looked-up addresses; `clock` is monotonic.

        `lot` is entered while readers get what has come.
        """
        self._lot = lot
        self._loop: asyncio.AbstractEventLoop = IOLoop.current().asyncio_loop  # type: ignore[attr-defined]
        self._clock = clock
        self._sockets = SocketSet(self._loop, self._serve, self._hand_out)
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf  # the timer
        self._due = math.inf  # when libcurl wants a turn
        super().initialize(max_clients=0)
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._sockets.watch)
        self._share = share
        self._open: dict[pycurl.Curl, Transfer] = {}
        self.arrivals: list[Transfer] = []
        self.use(policy)

    def use(self, policy: ConnectionPolicy) -> None:
        """Go on with another policy; what is open is not touched."""
        self._policy = policy
        self._template = policy.handle()
        if policy.repeatable:
            self._multi.setopt(pycurl.M_MAXCONNECTS, _KEPT_CONNECTIONS)

    @property
    def transfers(self) -> Sequence[Transfer]:
        """Those that are under way."""
        return list(self._open.values())

    def handle(self, method: str, url: str, headers: Sequence[str], *, has_body: bool) -> pycurl.Curl:
        """For one request; or for many that differ in their bodies only, if each is started with a copy."""
        curl = self._template.duphandle()  # a copy costs 3 µs, so there is no pool, and nothing to reset
        curl.setopt(pycurl.URL, url)
        # Without a value libcurl leaves them out; it would wait for a 100 (Continue) before it sends a large body.
        curl.setopt(pycurl.HTTPHEADER, [*headers, "Expect:"])
        if has_body:
            curl.setopt(pycurl.POST, 1)
        if method != ("POST" if has_body else "GET"):
            curl.setopt(pycurl.CUSTOMREQUEST, method)
        return curl

    def start(self, curl: pycurl.Curl, body: bytes | None) -> Transfer:
        """Send a request with a handle that is given up for it; its answer is read from the Transfer."""
        transfer = Transfer(self._clock)
        curl.setopt(pycurl.SHARE, self._share)  # a copy does not have it
        if body is not None:
            curl.setopt(pycurl.POSTFIELDSIZE_LARGE, len(body))
        transfer.attach(curl, self, body, repeatable=self._policy.repeatable)
        self._open[curl] = transfer
        self._begin(curl)
        return transfer

    def abort(self, curl: pycurl.Curl) -> None:
        """Close the handle's connection before this returns."""
        if self._open.pop(curl, None):
            self._multi.remove_handle(curl)
            curl.close()

    def close(self) -> None:
        """Abort what is open and free every handle."""
        for transfer in self.transfers:
            transfer.cancel()
        if self._timer is not None:
            self._timer.cancel()
        super().close()
        self._sockets.close()

    def fetch_impl(self, *_: Any) -> None:
        """Not served, as it would copy the whole answer."""
        raise NotImplementedError

    # --- the drive ----------------------------------------------------------------------------------------------------

    def _set_timeout(self, msecs: int) -> None:
        """libcurl tells, whenever that changes, after how long it wants a turn without a socket; -1: never.

        It changes with every connection, and hardly ever comes to pass: a timer that rings too early now and then costs
        less than to set one each time.
        """
        self._due = self._clock() + msecs / 1000 if msecs >= 0 else math.inf
        if self._due < self._rings_at:
            self._ring_at(self._due)

    def _ring_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._time_is_up)
        self._rings_at = when

    def _time_is_up(self) -> None:
        self._rings_at = math.inf
        if self._due > self._clock():
            if self._due < math.inf:
                self._ring_at(self._due)
            return
        self._due = math.inf
        self._serve(pycurl.SOCKET_TIMEOUT, 0)
        self._hand_out()
        if self._due == math.inf:  # by libcurl's clock it may have been too early, and then it does not ask again
            self._set_timeout(self._multi.timeout())

    def _begin(self, curl: pycurl.Curl) -> None:
        """Let a new transfer connect now: the turn that libcurl asks for would come a round of the loop later."""
        rings_at, self._rings_at = self._rings_at, 0.0  # so that no timer is set for it
        try:
            self._multi.add_handle(curl)
            _, running = self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        finally:
            self._rings_at = rings_at
        if self._due < rings_at:
            self._ring_at(self._due)
        if running < len(self._open):
            self._end_transfers()
        if self.arrivals:
            self._loop.call_soon(self._hand_out)  # tasks do not nest

    def _serve(self, fd: int, activity: int) -> None:
        """Let libcurl make progress."""
        _, running = self._multi.socket_action(fd, activity)
        if running < len(self._open):
            self._end_transfers()

    def _hand_out(self) -> None:
        """Wake each reader for which libcurl brought something, once."""
        arrivals, self.arrivals = self.arrivals, []
        with self._lot:
            for transfer in arrivals:
                transfer.arrived()

    def _end_transfers(self) -> None:
        more = 1
        while more:
            more, succeeded, failed = self._multi.info_read()
            for curl in succeeded:
                self._end(curl, None)
            for curl, number, message in failed:
                self._end(curl, CurlError(number, message))

    def _end(self, curl: pycurl.Curl, broken: CurlError | None) -> None:
        transfer = self._open[curl]
        transfer.end(error_from_curl(broken, answered=transfer.answered) if broken else None)
        self.abort(curl)
        self.arrivals.append(transfer)
