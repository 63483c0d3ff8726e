"""Only what cannot have reached Dify is sent again, later and later, and never by all at once."""

from __future__ import annotations

from dataclasses import replace

import pycurl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.curl_httpclient import CurlError

from gateway.errors import (
    GatewayError,
    RateLimited,
    RunFailed,
    UpstreamOverloaded,
    UpstreamTimeout,
    UpstreamTruncated,
    UpstreamUnreachable,
)
from gateway.policy.retry import RetryLimits, RetryPolicy
from gateway.upstream.curl_errors import error_from_curl

LIMITS = RetryLimits(
    attempts=5, total_seconds=8.0, first_delay_seconds=0.5, max_delay_seconds=2.0, share=0.25, reserve=100
)
REFUSED = UpstreamUnreachable("…", code="upstream_refused")

NOT_SENT = {
    pycurl.E_COULDNT_RESOLVE_PROXY,
    pycurl.E_COULDNT_RESOLVE_HOST,
    pycurl.E_COULDNT_CONNECT,
    pycurl.E_OPERATION_TIMEDOUT,
}
CURL_ERRORS = sorted({getattr(pycurl, name) for name in dir(pycurl) if name.startswith("E_")} - {pycurl.E_OK})


# --- what is sent again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("number", [number for number in CURL_ERRORS if isinstance(number, int)])
def test_what_libcurl_may_have_sent_is_not_sent_again(number: int, answered: bool) -> None:
    error = error_from_curl(CurlError(number, "…"), answered=answered)
    delay = RetryPolicy(LIMITS).begin(100.0).after(error, 100.0, 0.0)
    assert (delay is not None) is (number in NOT_SENT)


@pytest.mark.parametrize(
    "error",
    [
        GatewayError("…"),
        UpstreamUnreachable("…"),
        UpstreamTruncated("…"),
        UpstreamTimeout("…"),
        UpstreamTimeout("…", code="upstream_first_byte_timeout"),
        UpstreamTimeout("…", should_retry=True),
        UpstreamOverloaded("…", retry_after=1),
        RateLimited("…", should_retry=True),
        RunFailed("…"),
    ],
    ids=repr,
)
def test_what_dify_may_have_accepted_is_not_sent_again(error: GatewayError) -> None:
    assert RetryPolicy(LIMITS).begin(100.0).after(error, 100.0, 0.0) is None


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("random", "delays"), [(0.0, [0.25, 0.5, 1.0, 1.0]), (0.5, [0.375, 0.75, 1.5, 1.5])])
def test_delays_double_up_to_a_maximum_and_attempts_end(random: float, delays: list[float]) -> None:
    call = RetryPolicy(LIMITS).begin(100.0)
    assert [call.after(REFUSED, 100.0, random) for _ in range(5)] == [*delays, None]


def test_a_call_ends_in_time_however_slowly_it_fails() -> None:
    call = RetryPolicy(LIMITS).begin(100.0)
    assert call.after(REFUSED, 107.75, 0.0) == 0.25  # the next attempt begins at 8 s
    call = RetryPolicy(LIMITS).begin(100.0)
    assert call.after(REFUSED, 107.76, 0.0) is None


def test_one_attempt_means_no_retry() -> None:
    assert RetryPolicy(replace(LIMITS, attempts=1)).begin(100.0).after(REFUSED, 100.0, 0.0) is None


# --- the budget -------------------------------------------------------------------------------------------------------


def retries(policy: RetryPolicy, calls: int) -> int:
    """How many retries are allowed if each call fails every time."""
    granted = 0
    for _ in range(calls):
        call = policy.begin(100.0)
        while call.after(REFUSED, 100.0, 0.0) is not None:
            granted += 1
    return granted


def test_an_outage_adds_a_share_to_the_load_and_does_not_double_it() -> None:
    policy = RetryPolicy(replace(LIMITS, reserve=10))
    assert retries(policy, 1000) == 259  # 10 and a quarter of 1000; the first quarter finds the reserve full
    assert retries(policy, 1000) == 250


def test_good_times_fill_the_reserve_and_no_more() -> None:
    policy = RetryPolicy(replace(LIMITS, reserve=10))
    retries(policy, 100)
    for _ in range(10_000):
        policy.begin(100.0)
    assert retries(policy, 4) == 10


def test_what_is_not_sent_again_costs_no_budget() -> None:
    policy = RetryPolicy(replace(LIMITS, reserve=1, share=0.0))
    for _ in range(10):
        policy.begin(100.0).after(RunFailed("…"), 100.0, 0.0)
        policy.begin(100.0).after(REFUSED, 200.0, 0.0)
    assert policy.begin(100.0).after(REFUSED, 100.0, 0.0) is not None
    assert policy.begin(100.0).after(REFUSED, 100.0, 0.0) is None


def test_a_reload_holds_for_calls_under_way() -> None:
    policy = RetryPolicy(LIMITS)
    call = policy.begin(100.0)
    policy.limits = replace(LIMITS, attempts=1)
    assert call.after(REFUSED, 100.0, 0.0) is None


@given(
    begins_or_fails=st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=300),
    share=st.sampled_from([0.0, 0.1, 0.25, 1.0]),
    reserve=st.integers(0, 5),
)
def test_any_row_of_calls_keeps_the_budget(begins_or_fails: list[int | None], share: float, reserve: int) -> None:
    policy = RetryPolicy(replace(LIMITS, share=share, reserve=reserve))
    calls, row = [], []  # row: True for a retry, False for a call
    for which in begins_or_fails:
        if which is None or not calls:
            calls.append(policy.begin(100.0))
            row.append(False)
        elif calls[which % len(calls)].after(REFUSED, 100.0, 0.0) is not None:
            row.append(True)
    for begin in range(len(row)):
        for end in range(begin, len(row) + 1):
            done = row[begin:end]
            assert done.count(True) <= reserve + share * done.count(False) + 1e-6
