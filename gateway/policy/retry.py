"""May a call that failed be sent to Dify again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import GatewayError
from gateway.frozen import frozen

# Failures before the first byte of the request, which pass by themselves. Everything else may have started a run in
# Dify, and a second one would cost twice and speak twice. A connect time-out belongs here: it covers name look-up, TCP
# and TLS, and the request follows them. Not a failed TLS handshake: certificates do not mend themselves.
_NOT_SENT = frozenset({"upstream_dns_failed", "upstream_refused", "upstream_connect_timeout"})


@frozen
class RetryLimits:
    """How often and how long one call is tried, and how many retries all calls may cost together."""

    attempts: int = 3  # of one call, the first one included
    total_seconds: float = 8.0  # from a call's begin to its last attempt's begin
    first_delay_seconds: float = 0.2  # doubles with every attempt
    max_delay_seconds: float = 2.0
    share: float = 0.2  # retries per call, over all calls of the process: an outage adds a fifth to the load
    reserve: int = 10  # retries beyond the share, for times of few calls


class RetryPolicy:
    """One per process: it keeps the budget that all calls share.

    Among any n calls in a row there are at most `reserve + share * n` retries.
    """

    def __init__(self, limits: RetryLimits) -> None:
        self.limits = limits
        self._budget = float(limits.reserve)

    def begin(self, now: float) -> CallRetries:
        """A new call is about to be sent for the first time."""
        self._budget = min(self._budget + self.limits.share, self.limits.reserve)
        return CallRetries(self, now)

    def take(self) -> bool:
        """Take one retry out of the budget, if it has one."""
        if self._budget < 1:
            return False
        self._budget -= 1
        return True


@dataclass(slots=True)
class CallRetries:
    """The attempts of one call."""

    policy: RetryPolicy
    began_at: float
    attempts: int = 1

    def after(self, error: GatewayError, now: float, random: float) -> float | None:
        """Seconds to wait before the next attempt; None: give up and answer with `error`.

        `random` is in [0, 1): calls that failed together do not come back together.
        """
        limits = self.policy.limits
        if error.code not in _NOT_SENT or self.attempts >= limits.attempts:
            return None
        backoff = min(limits.first_delay_seconds * 2.0 ** (self.attempts - 1), limits.max_delay_seconds)
        delay = backoff * (0.5 + random / 2)  # never next to nothing: a refused port is refused for a while
        if now + delay - self.began_at > limits.total_seconds or not self.policy.take():
            return None
        self.attempts += 1
        return delay
