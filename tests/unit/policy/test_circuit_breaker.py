"""The circuit opens for a host that is down, asks it once at a time, and never stays open for good."""

from __future__ import annotations

import pycurl
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tornado.curl_httpclient import CurlError

from gateway.errors import GatewayError, RateLimited, RunFailed, UpstreamProtocolError, UpstreamTimeout
from gateway.policy.circuit_breaker import (
    BreakerLimits,
    CircuitBreaker,
    CircuitState,
    OpenCircuit,
    Permit,
    is_host_failure,
)
from gateway.upstream.curl_errors import error_from_curl

CLOSED, OPEN, HALF_OPEN = CircuitState
LIMITS = BreakerLimits(failures=3, cool_down_seconds=4.0, max_cool_down_seconds=16.0, probe_seconds=6.0)
ALL = 1 - 2**-53  # the largest random number: the whole cool-down, but for a rounding error


def permit(breaker: CircuitBreaker, now: float) -> Permit:
    answer = breaker.allow(now)
    assert isinstance(answer, Permit)
    return answer


def opened(random: float = 0.0) -> CircuitBreaker:
    """A breaker that has just opened, at 100 s; with `random` 0 it asks again 2 s later."""
    breaker = CircuitBreaker(LIMITS)
    for _ in range(3):
        breaker.failed(permit(breaker, 100.0), 100.0, random)
    assert breaker.state is OPEN
    return breaker


# --- closed -----------------------------------------------------------------------------------------------------------


def test_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(2):
        breaker.failed(permit(breaker, 100.0), 100.0, 0.0)
        assert breaker.state is CLOSED
    breaker.failed(permit(breaker, 100.0), 100.0, 0.0)
    assert breaker.state is OPEN


def test_an_answer_breaks_the_row() -> None:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(20):
        breaker.failed(permit(breaker, 100.0), 100.0, 0.0)
        breaker.failed(permit(breaker, 100.0), 100.0, 0.0)
        breaker.succeeded(permit(breaker, 100.0))
    assert breaker.state is CLOSED


def test_calls_that_tell_nothing_neither_open_it_nor_break_the_row() -> None:
    breaker = CircuitBreaker(LIMITS)
    for _ in range(3):
        for _ in range(5):
            breaker.abandoned(permit(breaker, 100.0), 100.0)
        assert breaker.state is CLOSED
        breaker.failed(permit(breaker, 100.0), 100.0, 0.0)
    assert breaker.state is OPEN


# --- open -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("random", "seconds"), [(0.0, 2.0), (0.5, 3.0), (ALL, 4.0)])
def test_it_asks_again_after_half_to_all_of_the_cool_down(random: float, seconds: float) -> None:
    breaker = opened(random)
    assert isinstance(breaker.allow(100.0 + seconds - 0.001), OpenCircuit)
    assert isinstance(breaker.allow(100.0 + seconds), Permit)


def test_refused_clients_come_back_after_the_probe() -> None:
    breaker = opened(0.0)
    assert [breaker.allow(now) for now in (100.0, 100.5, 101.0, 101.9)] == [
        OpenCircuit(3),
        OpenCircuit(3),
        OpenCircuit(2),
        OpenCircuit(2),
    ]
    permit(breaker, 102.0)
    assert breaker.allow(102.0) == OpenCircuit(1)


def test_whoever_only_looks_is_not_the_probe() -> None:
    breaker = opened()
    assert breaker.refusal(101.0) == OpenCircuit(2)
    assert breaker.refusal(102.0) is None
    assert breaker.state is OPEN
    permit(breaker, 102.0)
    assert breaker.refusal(102.0) == OpenCircuit(1)


def test_the_crowd_that_was_under_way_when_it_opened_counts_once() -> None:
    breaker = CircuitBreaker(LIMITS)
    crowd = [permit(breaker, 100.0) for _ in range(50)]
    for call in crowd[:40]:
        breaker.failed(call, 101.0, 0.0)
    for call in crowd[40:]:
        breaker.failed(call, 102.5, 0.0)
    assert isinstance(breaker.allow(102.9), OpenCircuit)
    probe = permit(breaker, 103.0)
    breaker.failed(crowd[0], 103.0, 0.0)
    breaker.abandoned(crowd[0], 103.0)
    breaker.succeeded(crowd[0])
    assert breaker.state is HALF_OPEN
    breaker.succeeded(probe)
    assert breaker.state is CLOSED


# --- half-open --------------------------------------------------------------------------------------------------------


def test_one_probe_goes_and_its_answer_closes() -> None:
    breaker = opened()
    probe = permit(breaker, 102.0)
    assert breaker.state is HALF_OPEN
    assert isinstance(breaker.allow(102.0), OpenCircuit)
    breaker.succeeded(probe)
    assert breaker.state is CLOSED
    for _ in range(2):  # and it starts from nothing
        breaker.failed(permit(breaker, 103.0), 103.0, 0.0)
    assert breaker.state is CLOSED


def test_every_failed_probe_doubles_the_cool_down_up_to_a_maximum() -> None:
    breaker, now, waited = opened(), 102.0, []
    for _ in range(5):
        breaker.failed(permit(breaker, now), now, 0.0)
        began = now
        while breaker.refusal(now):
            now += 0.5
        waited.append(now - began)
    assert waited == [4.0, 8.0, 8.0, 8.0, 8.0]
    breaker.succeeded(permit(breaker, now))
    for _ in range(3):
        breaker.failed(permit(breaker, now), now, 0.0)
    assert breaker.refusal(now + 1.9)
    assert not breaker.refusal(now + 2.0)  # as at the first time


def test_a_probe_whose_client_leaves_is_replaced_at_once() -> None:
    breaker = opened()
    breaker.abandoned(permit(breaker, 102.0), 102.5)
    assert breaker.state is OPEN
    probe = permit(breaker, 102.5)
    assert isinstance(breaker.allow(102.5), OpenCircuit)
    breaker.succeeded(probe)
    assert breaker.state is CLOSED


def test_a_probe_that_tells_nothing_keeps_the_others_out_for_a_while_only() -> None:
    breaker = opened()
    silent = permit(breaker, 102.0)
    assert isinstance(breaker.allow(107.9), OpenCircuit)
    second = permit(breaker, 108.0)
    assert isinstance(breaker.allow(108.0), OpenCircuit)
    breaker.abandoned(silent, 109.0)  # it is not the probe any more
    assert isinstance(breaker.allow(109.0), OpenCircuit)
    breaker.abandoned(second, 109.0)
    assert isinstance(breaker.allow(109.0), Permit)


@pytest.mark.parametrize("first", [True, False])
def test_the_first_probe_to_tell_something_decides(first: bool) -> None:
    breaker = opened()
    probes = permit(breaker, 102.0), permit(breaker, 108.0)
    teller, other = probes if first else probes[::-1]
    breaker.succeeded(teller)
    assert breaker.state is CLOSED
    for _ in range(3):
        breaker.failed(other, 109.0, 0.0)
    breaker.abandoned(other, 109.0)
    assert breaker.state is CLOSED


def test_letting_go_after_the_outcome_changes_nothing() -> None:
    breaker = opened()
    probe = permit(breaker, 102.0)
    breaker.failed(probe, 102.0, 0.0)
    breaker.abandoned(probe, 102.0)
    assert isinstance(breaker.allow(105.9), OpenCircuit)
    probe = permit(breaker, 106.0)
    breaker.succeeded(probe)
    breaker.abandoned(probe, 106.0)
    assert breaker.state is CLOSED


# --- what counts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "counts"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, True),
        (pycurl.E_COULDNT_RESOLVE_PROXY, True),
        (pycurl.E_COULDNT_CONNECT, True),
        (pycurl.E_OPERATION_TIMEDOUT, True),
        (pycurl.E_SSL_CONNECT_ERROR, True),
        (pycurl.E_PEER_FAILED_VERIFICATION, True),
        (pycurl.E_GOT_NOTHING, False),
        (pycurl.E_RECV_ERROR, False),
        (pycurl.E_UNSUPPORTED_PROTOCOL, False),
    ],
)
def test_a_host_that_cannot_be_reached_counts(number: int, counts: bool) -> None:
    assert is_host_failure(error_from_curl(CurlError(number, "…"), answered=False)) is counts


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (UpstreamTimeout("…", code="upstream_first_byte_timeout"), True),
        (UpstreamTimeout("…", code="upstream_idle_timeout"), False),
        (UpstreamTimeout("…", code="provider_timeout"), False),
        (UpstreamProtocolError("…"), False),
        (RunFailed("…"), False),
        (RateLimited("…"), False),
        (GatewayError("…"), False),
    ],
)
def test_what_a_model_or_a_request_does_wrong_does_not_count(error: GatewayError, counts: bool) -> None:
    assert is_host_failure(error) is counts


# --- any order of everything ------------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Calls that begin, tell something late, twice or never, against what may be known of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.breaker = CircuitBreaker(LIMITS)
        self.calls: list[Permit] = []
        self.row = 0  # failures of calls of this period in a row
        self.opened_at = 0.0
        self.probes: dict[Permit, float] = {}  # since it opened → when each went
        self.current: set[Permit] = set()  # calls of this period

    def begin_period(self) -> None:
        self.row = 0
        self.current = set()
        self.probes = {}

    @rule()
    def ask(self) -> None:
        state = self.breaker.state
        refusal = self.breaker.refusal(self.now)
        assert self.breaker.state is state
        answer = self.breaker.allow(self.now)
        if isinstance(answer, OpenCircuit):
            assert answer == refusal
            assert state is not CLOSED
            # Up to one second over the probe's head start: floats of a large clock are rounded, seconds are rounded up.
            assert 1 <= answer.retry_after <= LIMITS.max_cool_down_seconds + 2
            assert self.breaker.state is state
            return
        assert refusal is None
        if state is not CLOSED:
            assert self.breaker.state is HALF_OPEN
            assert self.now >= self.opened_at + LIMITS.cool_down_seconds / 2
            # One at a time, unless an older one has told nothing for its whole time.
            assert all(self.now >= went + LIMITS.probe_seconds for went in self.probes.values())
            self.probes[answer] = self.now
        self.calls.append(answer)
        self.current.add(answer)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), again=st.booleans())
    def succeed(self, data: st.DataObject, again: bool) -> None:
        call = self.draw_call(data, again)
        before = self.breaker.state
        self.breaker.succeeded(call)
        if call not in self.current:
            assert self.breaker.state is before
            return
        assert self.breaker.state is CLOSED
        self.row = 0
        if before is not CLOSED:
            self.begin_period()

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), random=st.sampled_from([0.0, 0.3, ALL]))
    def fail(self, data: st.DataObject, random: float) -> None:
        call = self.draw_call(data, again=False)
        before = self.breaker.state
        self.breaker.failed(call, self.now, random)
        if call not in self.current:
            assert self.breaker.state is before
            return
        self.row += 1
        if before is CLOSED and self.row < LIMITS.failures:
            assert self.breaker.state is CLOSED
            return
        assert self.breaker.state is OPEN
        self.begin_period()
        self.opened_at = self.now

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), again=st.booleans())
    def abandon(self, data: st.DataObject, again: bool) -> None:
        call = self.draw_call(data, again)
        before = self.breaker.state
        newest = before is HALF_OPEN and call in self.probes and self.probes[call] == max(self.probes.values())
        self.breaker.abandoned(call, self.now)
        assert self.breaker.state is (OPEN if newest else before)
        if newest:
            assert self.breaker.refusal(self.now) is None
            del self.probes[call]

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.0, 6.0, 16.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_long(self) -> None:
        """Whatever was told or not told: some call goes through in the end."""
        self.now += max(LIMITS.max_cool_down_seconds, LIMITS.probe_seconds)
        assert self.breaker.refusal(self.now) is None

    @invariant()
    def a_closed_circuit_refuses_nobody(self) -> None:
        if self.breaker.state is CLOSED:
            assert self.breaker.refusal(self.now) is None

    def draw_call(self, data: st.DataObject, again: bool) -> Permit:
        call: Permit = data.draw(st.sampled_from(self.calls))
        if not again:
            self.calls.remove(call)
        return call


AnyOrder.TestCase.settings = settings(deadline=None, max_examples=200)
TestAnyOrder = AnyOrder.TestCase
