"""Dify's operations over the curl edge: ask (a stream), fetch (a small answer), stop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pycurl
from tornado.ioloop import PeriodicCallback

from gateway import __version__
from gateway.dify_api.app import AppKey
from gateway.dify_api.calls import DifyCall
from gateway.dify_api.errors import error_from_response
from gateway.errors import GatewayError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnreachable
from gateway.frozen import frozen
from gateway.json_codec import loads
from gateway.lot import Lot
from gateway.policy.admission import AdmissionLimits, HostLoad, Ticket
from gateway.policy.circuit_breaker import (
    BreakerLimits,
    CircuitBreaker,
    CircuitState,
    OpenCircuit,
    Permit,
    is_host_failure,
)
from gateway.policy.retry import RetryLimits, RetryPolicy
from gateway.settings import Settings
from gateway.upstream.deadlines import overdue, sweep_seconds
from gateway.upstream.slots import Slots
from gateway.upstream.streaming_client import ConnectionPolicy, StreamingCurlClient
from gateway.upstream.transfer import ResponseHead, Transfer

_FETCH_TIMEOUT_SECONDS = 20.0  # a small call; a full Dify lets it wait behind its streams
_FETCH_LIMIT_BYTES = 8 * 1024 * 1024
_ERROR_LIMIT_BYTES = 64 * 1024  # the words that count come first
_STREAM = "text/event-stream"
_USER_AGENT = f"User-Agent: opendify-gateway/{__version__}"


@frozen
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

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self._clock = clock
        self._slots = Slots(_admission_limits(settings), clock)
        self._retries = RetryPolicy(RetryLimits())
        self._breakers: dict[str, CircuitBreaker] = {}
        self.lot = Lot()
        share = pycurl.CurlShare()
        share.setopt(pycurl.SH_SHARE, pycurl.LOCK_DATA_DNS)  # the refresh's look-ups serve the answers
        streams, calls = _policies(settings)
        self._streams = StreamingCurlClient(force_instance=True, policy=streams, share=share, clock=clock, lot=self.lot)
        self._calls = StreamingCurlClient(force_instance=True, policy=calls, share=share, clock=clock, lot=self.lot)
        self._questions: dict[tuple[str, str, str], pycurl.Curl] = {}  # of each app, to be copied; as the settings are
        self._ended_by: GatewayError | None = None
        self._sweep = PeriodicCallback(self._end_overdue, sweep_seconds(settings) * 1000)

    def start(self) -> None:
        """Begin to watch the timers of open answers; needs a running loop."""
        self._sweep.start()

    def use(self, settings: Settings) -> None:
        """Go on with other settings (a reload); what is open is not touched."""
        self.settings = settings
        self._slots.use(_admission_limits(settings))
        for breaker in self._breakers.values():
            breaker.limits = _breaker_limits(settings)
        for client, policy in zip((self._streams, self._calls), _policies(settings), strict=True):
            client.use(policy)
        self._questions.clear()
        self._sweep.callback_time = sweep_seconds(settings) * 1000

    def close(self) -> None:
        """Abort everything that is open."""
        self._sweep.stop()
        for client in (self._streams, self._calls):
            client.close()

    @property
    def open_streams(self) -> int:
        """Answers that are being received."""
        return len(self._streams.transfers)

    def load(self) -> dict[str, HostLoad]:
        """Streams and waiting requests per Dify host."""
        return self._slots.load()

    def circuits(self) -> dict[str, CircuitState]:
        """The breaker's state per Dify host."""
        hosts = {key.host for key in self.settings.app_keys}  # a reload may have removed some
        return {host: breaker.state for host, breaker in self._breakers.items() if host in hosts}

    def end_streams(self, error: GatewayError) -> None:
        """Cut every open answer, and let none begin from now on; its reader gets `error`."""
        self._ended_by = error
        for transfer in self._streams.transfers:
            transfer.cancel(error)

    # --- answers ------------------------------------------------------------------------------------------------------

    async def take_slot(self, key: AppKey) -> Ticket:
        """Wait for the right to one answer of the key's Dify; nothing is sent yet.

        Raises UpstreamUnreachable while the host's circuit is open, UpstreamBusy, Overloaded.
        """
        self.check_circuit(key)
        return await self._slots.take(key.host)

    def check_circuit(self, key: AppKey) -> None:
        """Raises UpstreamUnreachable while the host's circuit is open; for what is no small call."""
        if refusal := self._breaker(key.host).refusal(self._clock()):
            raise _open_circuit(refusal)

    async def ask(self, key: AppKey, call: DifyCall, slot: Ticket, is_wanted: Callable[[], bool]) -> Transfer:
        """Send the question; return when the stream of its answer begins. The slot is freed when that ends.

        What failed before a byte was sent is tried again while it is wanted. Raises GatewayError when no stream begins.
        """
        retries = self._retries.begin(self._clock())
        try:
            while True:
                try:
                    transfer = await self._open(key, call)
                    transfer.on_end = lambda: self._slots.release(slot)
                    if transfer.ended:
                        self._slots.release(slot)
                    return transfer
                except GatewayError as error:
                    delay = retries.after(error, self._clock(), _chance())
                    if delay is None:
                        raise
                    await asyncio.sleep(delay)
                    if not is_wanted():
                        raise
        except BaseException:
            self._slots.release(slot)
            raise

    async def follow(self, key: AppKey, call: DifyCall) -> Transfer:
        """Listen to a run that goes on; it needs no slot of its own. Raises GatewayError when no stream begins."""
        return await self._open(key, call)

    async def _open(self, key: AppKey, call: DifyCall) -> Transfer:
        if self._ended_by is not None:
            raise self._ended_by
        breaker = self._breaker(key.host)
        permit = breaker.allow(self._clock())
        if isinstance(permit, OpenCircuit):
            raise _open_circuit(permit)
        transfer = self._streams.start(self._question(key, call), call.body)
        try:
            head = await transfer.head()
            breaker.succeeded(permit)
            if not head.is_event_stream:
                body = await transfer.read_all(_ERROR_LIMIT_BYTES)
                raise error_from_response(head.status, head.content_type, body, retry_after(head))
            if (encoding := head.headers.get("content-encoding", "identity").lower()) != "identity":
                raise UpstreamProtocolError(f"Dify's answer is encoded as {encoding[:20]!r}, which was not asked for.")
            return transfer
        except GatewayError as error:
            self._note_failure(breaker, permit, error)
            transfer.cancel()
            raise
        except BaseException:
            breaker.abandoned(permit, self._clock())
            transfer.cancel()
            raise

    def _question(self, key: AppKey, call: DifyCall) -> pycurl.Curl:
        """A handle for it: the questions to one app differ in their bodies only, and in the trace that they are of."""
        if call.body is None or call.headers:
            return _handle(self._streams, key, call, _STREAM)
        alike = key.base_url, key.key, call.path
        if (handle := self._questions.get(alike)) is None:
            handle = self._questions[alike] = _handle(self._streams, key, call, _STREAM)
        return handle.duphandle()

    # --- small calls --------------------------------------------------------------------------------------------------

    async def fetch(
        self, key: AppKey, call: DifyCall, timeout_seconds: float = _FETCH_TIMEOUT_SECONDS
    ) -> FetchedAnswer:
        """Make a small call. Raises GatewayError when no answer comes; any status is an answer.

        An open circuit does not hold it back, but its outcome counts: the refresh, too, finds out that a host is back.
        """
        breaker = self._breaker(key.host)
        permit = breaker.allow(self._clock())
        transfer = self._calls.start(_handle(self._calls, key, call, accept="application/json"), call.body)
        try:
            async with asyncio.timeout(timeout_seconds):
                head = await transfer.head()
                if isinstance(permit, Permit):
                    breaker.succeeded(permit)
                return FetchedAnswer(head, await transfer.read_all(_FETCH_LIMIT_BYTES))
        except TimeoutError:
            raise UpstreamTimeout("Dify did not answer in time.") from None
        except GatewayError as error:
            if isinstance(permit, Permit):
                self._note_failure(breaker, permit, error)
            raise
        finally:
            transfer.cancel()
            if isinstance(permit, Permit):
                breaker.abandoned(permit, self._clock())  # without effect after another outcome

    def _breaker(self, host: str) -> CircuitBreaker:
        if host not in self._breakers:
            self._breakers[host] = CircuitBreaker(_breaker_limits(self.settings))
        return self._breakers[host]

    def _note_failure(self, breaker: CircuitBreaker, permit: Permit, error: GatewayError) -> None:
        if is_host_failure(error):
            breaker.failed(permit, self._clock(), _chance())
        else:
            breaker.abandoned(permit, self._clock())

    def _end_overdue(self) -> None:
        """One look at all streams costs 0.15 ms per 10,000; a timer per chunk would cost 2.75 µs each."""
        now = self._clock()
        for transfer in self._streams.transfers:
            if late := overdue(transfer, self.settings, now):
                transfer.cancel(late)
            else:
                transfer.wake()


def retry_after(head: ResponseHead) -> int | None:
    """The whole seconds of a Retry-After header, if it names some."""
    value = head.headers.get("retry-after", "")
    return int(value) if value.isdecimal() and len(value) < 6 else None  # isdigit would take a "²"


def _open_circuit(refusal: OpenCircuit) -> UpstreamUnreachable:
    return UpstreamUnreachable(
        "Dify could not be reached several times in a row; it is asked again in a moment.",
        code="upstream_circuit_open",
        retry_after=refusal.retry_after,
    )


def _handle(client: StreamingCurlClient, key: AppKey, call: DifyCall, accept: str) -> pycurl.Curl:
    headers = [f"Authorization: Bearer {key.key}", f"Accept: {accept}", _USER_AGENT]
    if call.body is not None:
        headers.append(f"Content-Type: {call.content_type}")
    headers += call.headers
    return client.handle(call.method, key.base_url + call.path, headers, has_body=call.body is not None)


def _policies(settings: Settings) -> tuple[ConnectionPolicy, ConnectionPolicy]:
    """For answers, and for small calls."""
    proxy = urlsplit(settings.upstream_proxy)
    calls = ConnectionPolicy(
        repeatable=True,
        connect_timeout=settings.connect_timeout,
        http2=settings.upstream_http2,
        # Addresses outlive two refreshes, so that no answer waits for a look-up: 200 cold ones at once would.
        dns_seconds=int(2 * settings.app_refresh_seconds),
        ca_file=settings.ca_file,
        proxy=f"http://{proxy.hostname}:{proxy.port or 3128}" if proxy.hostname else "",
    )
    # libcurl sends a POST again on a reused connection that is dead, and Dify would run twice: answers never do.
    return replace(calls, repeatable=False), calls


def _breaker_limits(settings: Settings) -> BreakerLimits:
    return BreakerLimits(probe_seconds=settings.connect_timeout + 1)


def _admission_limits(settings: Settings) -> AdmissionLimits:
    return AdmissionLimits(
        process_streams=settings.max_streams,
        host_streams=settings.max_streams_per_dify,
        host_queue=settings.queue_length,
        queue_seconds=settings.queue_seconds,
        starts_per_second=settings.starts_per_second,
        start_burst=max(1, int(settings.starts_per_second / 10)),  # what may block the loop at once
    )


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads retries, guards nothing
