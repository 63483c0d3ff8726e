"""Every error has what OpenAI's envelope and the SDKs' retries need."""

from __future__ import annotations

import pytest

from gateway import errors
from gateway.errors import GatewayError


def family(root: type[GatewayError]) -> list[type[GatewayError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in family(child))]


FAMILY = [kind for kind in family(GatewayError) if kind.__module__ == errors.__name__]

# Where Dify may have begun to run, a retry could run it twice; where waiting does not help, a retry is noise.
NO_RETRY = {
    errors.QuotaExceeded,
    errors.IdempotencyConflict,
    errors.InternalError,
    errors.ShuttingDown,
    errors.UpstreamKeyRejected,
    errors.UpstreamProtocolError,
    errors.UpstreamTruncated,
    errors.RunFailed,
    errors.UnusableAnswer,
    errors.AppUnavailable,
    errors.UpstreamTimeout,
}
# A little later it may well go.
LATER = {
    errors.RateLimited: 5,
    errors.UpstreamBusy: 5,
    errors.UpstreamOverloaded: 5,
    errors.Overloaded: 5,
    errors.NotReady: 5,
}


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_an_error_says_all_that_a_client_needs(kind: type[GatewayError]) -> None:
    error = kind("What went wrong.")
    assert error.message == str(error) == "What went wrong."
    assert error.param is None
    assert error.code
    assert error.code == error.code.lower()
    assert " " not in error.code
    assert kind.__doc__
    if 400 <= error.status < 500:
        assert error.type in ("invalid_request_error", "rate_limit_error", "insufficient_quota")
    else:
        assert error.status in (500, 502, 503, 504)
        assert error.type == "api_error"


@pytest.mark.parametrize("kind", FAMILY, ids=lambda kind: kind.__name__)
def test_an_error_says_whether_to_try_again(kind: type[GatewayError]) -> None:
    error = kind("What went wrong.")
    assert error.should_retry is (False if kind in NO_RETRY else None)
    assert error.retry_after == LATER.get(kind)


def test_codes_tell_errors_apart() -> None:
    codes = [kind.default_code for kind in FAMILY if kind is not GatewayError]
    assert len(codes) == len(set(codes))


def test_whoever_raises_can_be_more_exact() -> None:
    error = errors.UpstreamTimeout("…", param="messages[0]", code="idle", should_retry=True, retry_after=0)
    assert (error.param, error.code, error.should_retry, error.retry_after) == ("messages[0]", "idle", True, 0)
    assert errors.RateLimited("…", retry_after=0).retry_after == 0
    assert errors.RateLimited("…", should_retry=False).should_retry is False
    assert errors.UpstreamTimeout("…").code == "upstream_timeout"  # the class is as it was


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.UpstreamBusy, 429),  # Dify's limit: like Dify's own
        (errors.Overloaded, 503),  # this process's limit: another node may have room
        (errors.ShuttingDown, 503),
        (errors.IdempotencyConflict, 409),
        (errors.IdempotencyKeyReused, 422),
    ],
)
def test_a_refusal_of_the_gateway_itself_has_its_own_status(kind: type[GatewayError], status: int) -> None:
    assert kind("…").status == status
