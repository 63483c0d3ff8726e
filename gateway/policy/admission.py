"""Who may start a stream to Dify now, who waits for a slot, and who is told to come back later.

A stream needs three things at once: a slot of its Dify host, a slot of this process, and its turn at the start rate.
Without a host limit the wait would happen inside Dify, which is silent while its workers are full: time in the queue
here is seen on the ticket, Dify's silence only after it. The start rate guards the loop: opening a stream costs it
0.5 to 0.9 ms, so 10,000 clients that reconnect at once would stop every running answer for seconds.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

from gateway.frozen import frozen


class Reason(StrEnum):
    """What a stream has to wait for; the value is a metric's label."""

    HOST_FULL = "host_full"
    PROCESS_FULL = "process_full"
    START_RATE = "start_rate"


class TicketState(StrEnum):
    """Where a request for a slot stands. Only ADMITTED holds a slot."""

    WAITING = "waiting"
    ADMITTED = "admitted"
    REFUSED = "refused"
    RELEASED = "released"


# The official SDKs wait as long as Retry-After says if that is at most a minute; above it they guess for themselves.
_LATEST_RETURN_SECONDS = 60
# A turn at the start rate comes soon; a slot has to be left by an answer.
_SOONEST_RETURN_SECONDS = {Reason.START_RATE: 1, Reason.PROCESS_FULL: 5, Reason.HOST_FULL: 5}


@frozen
class AdmissionLimits:
    """The caps."""

    process_streams: int  # streams of this process
    host_streams: int  # streams of this process to one Dify host
    host_queue: int  # requests that may wait per host, so that one host's crowd takes no other's place
    queue_seconds: float  # longest wait
    starts_per_second: float  # math.inf: no limit
    start_burst: int  # starts that may happen at once after a pause, at least 1


@frozen
class Refusal:
    """Why a stream was not admitted, and the whole seconds after which to ask again (1 to 60)."""

    reason: Reason
    retry_after: int


@frozen
class HostLoad:
    """Streams and waiting requests of one host, now."""

    streams: int
    waiting: int


@dataclass(eq=False, slots=True)
class Ticket:
    """One request for a slot; `Admission` moves it on, its owner gives it back with `Admission.release`."""

    host: str
    asked_at: float
    state: TicketState = TicketState.WAITING
    decided_at: float | None = None  # None while it waits
    refusal: Refusal | None = None  # exactly when it is REFUSED

    def waited_seconds(self, now: float) -> float:
        """How long this gateway, not Dify, let the request wait."""
        return (now if self.decided_at is None else self.decided_at) - self.asked_at


class Admission:
    """Hands out slots: in order of arrival within a host, by turns between hosts.

    After `request`, `release` and `use`, and whenever `next_at` has come, call `settle`: it returns the tickets whose
    waiting has ended. Times are seconds of one monotonic clock.
    """

    def __init__(self, limits: AdmissionLimits) -> None:
        self._set(limits)
        self._streams: Counter[str] = Counter()
        self._all_streams = 0
        # Only hosts with waiters have a queue, in the order of their turns. A ticket may leave from anywhere.
        self._queues: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        self._settled: dict[Ticket, None] = {}
        self._next_even_start = -math.inf  # when the next stream would start if all kept the rate evenly
        self._last_return = -math.inf  # when the client that was refused last was told to come back

    def request(self, host: str, now: float) -> Ticket:
        """Ask for a slot: the ticket is ADMITTED, WAITING or REFUSED at once."""
        self._end_waits(now)  # so whoever has waited longer is served first
        ticket = Ticket(host, now)
        reason = self._blocked_by(host, now)
        if reason is None:
            self._admit(ticket, now)
        elif len(self._queues.get(host, ())) < self._limits.host_queue:
            self._queues.setdefault(host, OrderedDict())[ticket] = None
        else:
            self._refuse(ticket, reason, now)
        return ticket

    def release(self, ticket: Ticket, now: float) -> None:
        """Give back whatever the ticket holds: a slot, a place in the queue, or nothing. Safe to call at any time.

        One call for all of them, because a waiter may be admitted in the moment in which its client leaves.
        """
        if ticket.state is TicketState.ADMITTED:
            self._all_streams -= 1
            self._streams[ticket.host] -= 1
            if not self._streams[ticket.host]:
                del self._streams[ticket.host]
        elif ticket.state is TicketState.WAITING:
            self._leave_queue(ticket)
            ticket.decided_at = now
        ticket.state = TicketState.RELEASED
        self._settled.pop(ticket, None)
        self._end_waits(now)

    def use(self, limits: AdmissionLimits, now: float) -> None:
        """Go on with other limits (a reload); streams over a lowered cap run on."""
        self._set(limits)
        # Starts at the old rate are not paid for at the new one.
        self._next_even_start = min(self._next_even_start, now + limits.start_burst * self._start_interval)
        self._end_waits(now)

    def settle(self, now: float) -> list[Ticket]:
        """Admit whom there is room for and refuse whose time is up; each ticket is returned once."""
        self._end_waits(now)
        settled = list(self._settled)
        self._settled.clear()
        return settled

    @property
    def next_at(self) -> float | None:
        """When `settle` will have something to do if nobody asks or releases before; None: nobody waits."""
        if self._settled:
            return -math.inf
        times = [self._deadline(next(iter(queue))) for queue in self._queues.values()]
        if self._process_has_room and any(self._host_has_room(host) for host in self._queues):
            times.append(self._start_at)
        return min(times, default=None)

    def load(self) -> dict[str, HostLoad]:
        """Every host with a stream or a waiter."""
        hosts = [*self._streams, *(host for host in self._queues if host not in self._streams)]
        return {host: HostLoad(self._streams[host], len(self._queues.get(host, ()))) for host in hosts}

    def _end_waits(self, now: float) -> None:
        if not self._queues:
            return
        # Admit first: who can go now is not refused because the loop was late.
        while (ticket := self._next_waiter(now)) is not None:
            self._leave_queue(ticket)
            if ticket.host in self._queues:
                self._queues.move_to_end(ticket.host)
            self._admit(ticket, now)
            self._settled[ticket] = None
        overdue = [
            ticket
            for queue in self._queues.values()
            for ticket in takewhile(lambda waiter: self._deadline(waiter) <= now, queue)
        ]
        for ticket in overdue:
            reason = self._blocked_by(ticket.host, now)
            assert reason is not None  # else it would have been admitted above
            self._leave_queue(ticket)
            self._refuse(ticket, reason, now)
            self._settled[ticket] = None

    def _next_waiter(self, now: float) -> Ticket | None:
        """The first in the queue of the first host that has room."""
        for host, queue in self._queues.items():
            if self._blocked_by(host, now) is None:
                return next(iter(queue))
        return None

    def _leave_queue(self, ticket: Ticket) -> None:
        queue = self._queues[ticket.host]
        del queue[ticket]
        if not queue:
            del self._queues[ticket.host]

    def _blocked_by(self, host: str, now: float) -> Reason | None:
        """What keeps a stream to `host` from starting now; the narrowest first, as it says most."""
        limits = self._limits
        if self._streams.get(host, 0) >= limits.host_streams:
            return Reason.HOST_FULL
        if self._all_streams >= limits.process_streams:
            return Reason.PROCESS_FULL
        return Reason.START_RATE if now < self._next_even_start - self._burst_seconds else None

    def _admit(self, ticket: Ticket, now: float) -> None:
        ticket.state, ticket.decided_at = TicketState.ADMITTED, now
        self._all_streams += 1
        self._streams[ticket.host] += 1
        self._next_even_start = max(now, self._next_even_start) + self._start_interval

    def _refuse(self, ticket: Ticket, reason: Reason, now: float) -> None:
        """Refuse, and give every client its own time to come back, as far apart as streams may start.

        The SDKs add no jitter to Retry-After: one number for all would bring the whole crowd back in one second.
        """
        wait = max(_SOONEST_RETURN_SECONDS[reason], self._last_return + self._start_interval - now)
        wait = min(wait, _LATEST_RETURN_SECONDS)
        self._last_return = now + wait
        ticket.state, ticket.decided_at = TicketState.REFUSED, now
        ticket.refusal = Refusal(reason, math.ceil(wait))

    def _deadline(self, ticket: Ticket) -> float:
        # Not kept in the ticket: a reload that changes the wait must not mix up the order of deadlines in a queue.
        return ticket.asked_at + self._limits.queue_seconds

    # The token bucket, kept as a time instead of a count of tokens: what `next_at` announces is the very number that
    # `_blocked_by` compares, so no rounding can leave a timer that fires too early for ever.

    def _set(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._start_interval = 1 / limits.starts_per_second
        self._burst_seconds = (limits.start_burst - 1) * self._start_interval

    @property
    def _start_at(self) -> float:
        return self._next_even_start - self._burst_seconds

    @property
    def _process_has_room(self) -> bool:
        return self._all_streams < self._limits.process_streams

    def _host_has_room(self, host: str) -> bool:
        return self._streams[host] < self._limits.host_streams
