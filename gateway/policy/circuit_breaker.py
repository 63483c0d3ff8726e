"""Whether a Dify host is worth asking: after a row of failures to reach it nobody waits for another one.

Consecutive failures are counted, not a share of a time window: what counts here is whether the host answers at all, and
a host that is down fails every call, so a row shows it soonest, at any load, with one number to understand. Where one
backend of several is down, answers break the row, and a retry finds the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from gateway.errors import GatewayError
from gateway.frozen import frozen

# Errors before any response head that tell of the host, not of the request.
_HOST_FAILURES = frozenset(
    {
        "upstream_dns_failed",
        "upstream_refused",
        "upstream_tls_failed",
        "upstream_connect_timeout",
        # Dify pings every 10 s even while a model is silent, so this means a hung Dify or one without a free worker.
        "upstream_first_byte_timeout",
    }
)
# Head start of the probe: who comes back in the same second as it would be refused again.
_PROBE_ANSWER_SECONDS = 1


def is_host_failure(error: GatewayError) -> bool:
    """Whether an error that came instead of a response head counts against the host.

    A connection that breaks before its head does not: one request that kills its worker must not close the host to all.
    """
    return error.code in _HOST_FAILURES


class CircuitState(StrEnum):
    """The value is a metric's label."""

    CLOSED = "closed"  # calls pass
    OPEN = "open"  # none passes; when the cool-down is over, the next one is the probe
    HALF_OPEN = "half_open"  # one probe is out


@frozen
class BreakerLimits:
    """When to open, and for how long."""

    failures: int = 5  # in a row
    cool_down_seconds: float = 1.0  # doubles with every failed probe
    max_cool_down_seconds: float = 30.0
    # A probe without an outcome for so long lets another one through. A little over the connect time-out is right: a
    # host that is still down has failed by then, and one that is only slow to answer need not keep everybody out.
    probe_seconds: float = 6.0


@frozen
class OpenCircuit:
    """The host is not asked now; whole seconds after which to try again."""

    retry_after: int


@dataclass(frozen=True, eq=False, slots=True)
class Permit:
    """The right to make one call; its outcome is told once. Of one that is out of date, nothing is believed."""

    period: int


class CircuitBreaker:
    """The state of one host. Times are seconds of one monotonic clock, random numbers are in [0, 1)."""

    def __init__(self, limits: BreakerLimits) -> None:
        self.limits = limits  # a reload replaces it
        self.state = CircuitState.CLOSED
        # Opening and closing begin a new period, so that the crowd of calls that were under way when the host went
        # down counts once, and none of them is taken for the probe.
        self._period = 0
        self._failures = 0
        self._cool_down = 0.0
        self._ask_at = 0.0  # while not closed: when the next probe may go
        self._probe: Permit | None = None

    def refusal(self, now: float) -> OpenCircuit | None:
        """What `allow` would refuse, without asking for the probe: to refuse a request before it queues for a slot."""
        if self.state is CircuitState.CLOSED or now >= self._ask_at:
            return None
        # When the probe will have answered is not known, but hardly its whole time.
        wait = 0.0 if self.state is CircuitState.HALF_OPEN else self._ask_at - now
        return OpenCircuit(retry_after=math.ceil(wait) + _PROBE_ANSWER_SECONDS)

    def allow(self, now: float) -> Permit | OpenCircuit:
        """Ask to make a call. Every permit is followed by `succeeded`, `failed` or `abandoned`."""
        if refusal := self.refusal(now):
            return refusal
        permit = Permit(self._period)
        if self.state is not CircuitState.CLOSED:
            self.state = CircuitState.HALF_OPEN
            self._ask_at = now + self.limits.probe_seconds
            self._probe = permit
        return permit

    def succeeded(self, permit: Permit) -> None:
        """A response head came, whatever it said."""
        if permit.period != self._period:
            return
        self._failures = 0
        if self.state is not CircuitState.CLOSED:
            self.state = CircuitState.CLOSED
            self._period += 1
            self._cool_down = 0.0
            self._probe = None

    def failed(self, permit: Permit, now: float, random: float) -> None:
        """The host could not be reached or kept silent (`is_host_failure`)."""
        if permit.period != self._period:
            return
        self._failures += 1
        if self.state is not CircuitState.CLOSED or self._failures >= self.limits.failures:
            self._open(now, random)

    def abandoned(self, permit: Permit, now: float) -> None:
        """The call ended without telling anything of the host. Without effect after another outcome."""
        if permit is self._probe:
            self.state = CircuitState.OPEN
            self._ask_at = now
            self._probe = None

    def _open(self, now: float, random: float) -> None:
        limits = self.limits
        self._cool_down = min(max(self._cool_down * 2, limits.cool_down_seconds), limits.max_cool_down_seconds)
        self.state = CircuitState.OPEN
        self._period += 1
        self._probe = None
        # Between half and all of it: the processes that share a host do not probe it in step.
        self._ask_at = now + self._cool_down * (0.5 + random / 2)
