"""Dify's operations over the curl edge: ask (a stream), fetch (a small answer), stop."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pycurl
from tornado.httpclient import HTTPRequest
from tornado.ioloop import PeriodicCallback

from gateway import __version__
from gateway.dify_api.app import AppKey
from gateway.dify_api.calls import DifyCall
from gateway.dify_api.errors import error_from_response
from gateway.errors import GatewayError, UpstreamTimeout
from gateway.json_codec import loads
from gateway.settings import Settings
from gateway.upstream.streaming_client import ConnectionPolicy, StreamingCurlClient
from gateway.upstream.transfer import ResponseHead, Transfer

log = logging.getLogger(__name__)

_FETCH_TIMEOUT_SECONDS = 20.0  # a small call; a full Dify lets it wait behind its streams
_FETCH_LIMIT_BYTES = 8 * 1024 * 1024
_ERROR_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class FetchedAnswer:
    """A small answer of Dify, whole."""

    head: ResponseHead
    body: bytes

    def json(self) -> Any:
        """The decoded body, or None when it is no JSON."""
        try:
            return loads(self.body)
        except ValueError:
            return None

    def error(self) -> GatewayError:
        """What this answer means as an error."""
        return error_from_response(self.head.status, self.head.content_type, self.body, retry_after(self.head))


class DifyClient:
    """Every call to any Dify goes through here."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings  # a reload replaces it
        share = pycurl.CurlShare()
        share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)  # the refresh's look-ups serve the answers
        # Addresses outlive two refreshes, so that no answer waits for a look-up: 200 cold ones at once would.
        dns_seconds = int(2 * settings.app_refresh_seconds)
        http2 = settings.upstream_http2
        # libcurl sends a POST again on a reused connection that is dead, and Dify would run twice: answers never do.
        streams = ConnectionPolicy(reuse=False, repeat=False, http2=http2, dns_seconds=dns_seconds)
        calls = ConnectionPolicy(reuse=True, repeat=True, http2=http2, dns_seconds=dns_seconds)
        self._streams = StreamingCurlClient(force_instance=True, policy=streams, share=share)
        self._calls = StreamingCurlClient(force_instance=True, policy=calls, share=share)
        shortest = min(settings.first_byte_timeout, settings.stream_idle_timeout, settings.stream_stall_timeout)
        self._sweep = PeriodicCallback(self._end_overdue, min(1.0, shortest / 4) * 1000)

    def start(self) -> None:
        """Begin to watch the timers of open answers; needs a running loop."""
        self._sweep.start()

    def close(self) -> None:
        """Abort everything that is open."""
        self._sweep.stop()
        for client in (self._streams, self._calls):
            client.close()

    @property
    def open_streams(self) -> int:
        return len(self._streams.transfers)

    def end_streams(self, error: GatewayError) -> None:
        """Cut every open answer; its reader gets `error`."""
        for transfer in list(self._streams.transfers):
            transfer.cancel(error)

    def ask(self, key: AppKey, call: DifyCall) -> Transfer:
        """Start a generation; its events are read from the Transfer."""
        return self._streams.start(self._request(key, call, accept="text/event-stream"))

    async def fetch(self, key: AppKey, call: DifyCall) -> FetchedAnswer:
        """Make a small call. Raises GatewayError when no answer comes; any status is an answer."""
        transfer = self._calls.start(self._request(key, call, accept="application/json"))
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
                head = await transfer.head()
                return FetchedAnswer(head, await transfer.read_all(_FETCH_LIMIT_BYTES))
        except TimeoutError:
            raise UpstreamTimeout("Dify did not answer in time.") from None
        finally:
            transfer.cancel()

    def _request(self, key: AppKey, call: DifyCall, accept: str) -> HTTPRequest:
        headers = {
            "Authorization": f"Bearer {key.key}",
            "Accept": accept,
            "User-Agent": f"opendify-gateway/{__version__}",
        }
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        proxy = urlsplit(self.settings.upstream_proxy) if self.settings.upstream_proxy else None
        return HTTPRequest(
            key.base_url + call.path,
            method=call.method,
            headers=headers,
            body=call.body,
            connect_timeout=self.settings.connect_timeout,
            request_timeout=0,  # that would be a cap on the whole answer; the timers here are our own
            follow_redirects=False,
            decompress_response=False,
            ca_certs=self.settings.ca_file or None,
            proxy_host=proxy.hostname if proxy else None,
            proxy_port=(proxy.port or 3128) if proxy else None,
        )

    def _end_overdue(self) -> None:
        """One look at all streams costs 0.15 ms per 10,000; a timer per chunk would cost 2.75 µs each."""
        now = self._streams.io_loop.time()
        for transfer in list(self._streams.transfers):
            if not transfer.paused and (late := self._overdue(transfer, now)):
                transfer.cancel(late)

    def _overdue(self, transfer: Transfer, now: float) -> UpstreamTimeout | None:
        limits = self.settings
        if not transfer.answered:
            if now - transfer.started_at > limits.connect_timeout + limits.first_byte_timeout:
                return UpstreamTimeout(
                    f"Dify sent nothing for {limits.first_byte_timeout:g} s; it may have no free worker.",
                    code="upstream_first_byte_timeout",
                )
        elif now - transfer.last_byte_at > limits.stream_idle_timeout:
            return UpstreamTimeout(
                f"Dify fell silent for {limits.stream_idle_timeout:g} s in its answer.", code="upstream_idle_timeout"
            )
        if now - transfer.progress_at > limits.stream_stall_timeout:
            return UpstreamTimeout(
                f"Dify made no progress for {limits.stream_stall_timeout:g} s.", code="upstream_stalled"
            )
        if now - transfer.started_at > limits.answer_timeout:
            return UpstreamTimeout(f"The answer took longer than {limits.answer_timeout:g} s.", code="answer_timeout")
        return None


async def stream_error(head: ResponseHead, transfer: Transfer) -> GatewayError:
    """The error that Dify answered instead of a stream."""
    body = await transfer.read_all(_ERROR_LIMIT_BYTES)
    return error_from_response(head.status, head.content_type, body, retry_after(head))


def retry_after(head: ResponseHead) -> int | None:
    """The whole seconds of a Retry-After header, if it names some."""
    value = head.headers.get("retry-after", "")
    return int(value) if value.isdigit() and len(value) < 6 else None
