"""Admission for coroutines: wait for a slot, be refused, or give it back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.errors import GatewayError, Overloaded, UpstreamBusy
from gateway.policy.admission import Admission, AdmissionLimits, HostLoad, Reason, Ticket, TicketState


class Slots:
    """One per process."""

    def __init__(self, limits: AdmissionLimits, clock: Callable[[], float]) -> None:
        self._admission = Admission(limits)
        self._clock = clock
        self._waiters: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, host: str) -> Ticket:
        """Wait for a slot of `host`; give it back with `release`. Raises UpstreamBusy, Overloaded."""
        ticket = self._admission.request(host, self._clock())
        if ticket.state is TicketState.WAITING:
            waiter = self._waiters[ticket] = asyncio.get_running_loop().create_future()
            self._settle()
            try:
                await waiter
            except asyncio.CancelledError:
                self.release(ticket)
                raise
            finally:
                self._waiters.pop(ticket, None)
        elif self._waiters:
            self._settle()
        if ticket.refusal is not None:
            raise _refused(ticket.refusal.reason, ticket.refusal.retry_after)
        return ticket

    def release(self, ticket: Ticket) -> None:
        """Give the slot to the next one."""
        self._admission.release(ticket, self._clock())
        if self._waiters:
            self._settle()

    def use(self, limits: AdmissionLimits) -> None:
        """Go on with other limits (a reload)."""
        self._admission.use(limits, self._clock())
        self._settle()

    def load(self) -> dict[str, HostLoad]:
        """Streams and waiting requests per host."""
        return self._admission.load()

    def _settle(self) -> None:
        for ticket in self._admission.settle(self._clock()):
            if (waiter := self._waiters.get(ticket)) is not None and not waiter.done():
                waiter.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (next_at := self._admission.next_at) is not None:
            self._timer = asyncio.get_running_loop().call_at(next_at, self._settle)


def _refused(reason: Reason, retry_after: int) -> GatewayError:
    if reason is Reason.HOST_FULL:
        return UpstreamBusy("Dify already answers as many requests as it may; try again.", retry_after=retry_after)
    return Overloaded("The gateway has no room for another answer now; try again.", retry_after=retry_after)
