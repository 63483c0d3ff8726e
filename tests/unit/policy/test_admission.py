"""No cap is ever passed, no slot is lost, nobody waits in vain or out of turn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.policy.admission import Admission, AdmissionLimits, HostLoad, Reason, Refusal, Ticket, TicketState

WAITING, ADMITTED, REFUSED, RELEASED = TicketState
WIDE = AdmissionLimits(
    process_streams=1000,
    host_streams=1000,
    host_queue=1000,
    queue_seconds=5.0,
    starts_per_second=math.inf,
    start_burst=1,
)


def ask(admission: Admission, hosts: str, now: float = 100.0) -> list[Ticket]:
    """One request per letter."""
    return [admission.request(host, now) for host in hosts]


def states(tickets: list[Ticket]) -> list[TicketState]:
    return [ticket.state for ticket in tickets]


# --- caps and turns ---------------------------------------------------------------------------------------------------


def test_a_host_gets_its_streams_then_a_queue_then_refusals() -> None:
    admission = Admission(replace(WIDE, host_streams=2, host_queue=1))
    tickets = ask(admission, "aaaab")
    assert states(tickets) == [ADMITTED, ADMITTED, WAITING, REFUSED, ADMITTED]
    assert tickets[3].refusal == Refusal(Reason.HOST_FULL, 5)
    assert admission.load() == {"a": HostLoad(2, 1), "b": HostLoad(1, 0)}
    assert admission.settle(100.0) == []


def test_a_full_process_lets_other_hosts_wait_too() -> None:
    admission = Admission(replace(WIDE, process_streams=2, host_queue=1))
    tickets = ask(admission, "aabbc")
    assert states(tickets) == [ADMITTED, ADMITTED, WAITING, REFUSED, WAITING]
    assert tickets[3].refusal == Refusal(Reason.PROCESS_FULL, 5)


def test_a_freed_slot_goes_to_whoever_has_waited_longest() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    first, second, third = ask(admission, "aaa")
    admission.release(first, 103.5)
    assert admission.settle(103.5) == [second]
    assert states([first, second, third]) == [RELEASED, ADMITTED, WAITING]
    assert second.waited_seconds(999.0) == 3.5
    assert third.waited_seconds(104.0) == 4.0


def test_the_waiters_of_a_full_host_do_not_block_another_host() -> None:
    admission = Admission(replace(WIDE, process_streams=3, host_streams=2))
    a1, a2, a3, b1, b2 = ask(admission, "aaabb")
    assert states([a1, a2, a3, b1, b2]) == [ADMITTED, ADMITTED, WAITING, ADMITTED, WAITING]
    admission.release(b1, 100.0)
    assert admission.settle(100.0) == [b2]


def test_hosts_take_turns_at_the_slots_of_the_process() -> None:
    admission = Admission(replace(WIDE, process_streams=1, queue_seconds=99.0))
    running, *waiting = ask(admission, "aaaaabbc")
    order = []
    while waiting:
        admission.release(running, 100.0)
        [running] = admission.settle(100.0)
        order.append(running.host)
        waiting.remove(running)
    assert "".join(order) == "abcabaa"


def test_a_newcomer_does_not_overtake() -> None:
    admission = Admission(replace(WIDE, process_streams=1))
    running, waiting = ask(admission, "aa")
    admission.release(running, 100.0)
    newcomer = admission.request("b", 100.0)  # before the waiter has been told of its slot
    assert states([waiting, newcomer]) == [ADMITTED, WAITING]
    assert admission.settle(100.0) == [waiting]


# --- the end of waiting -----------------------------------------------------------------------------------------------


def test_a_waiter_is_refused_when_its_time_is_up() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    running = admission.request("a", 100.0)
    waiters = [admission.request("a", 101.0), admission.request("a", 102.0)]
    assert admission.next_at == 106.0
    assert admission.settle(105.999) == []
    assert admission.settle(106.0) == waiters[:1]
    assert waiters[0].refusal == Refusal(Reason.HOST_FULL, 5)
    assert waiters[0].waited_seconds(999.0) == 5.0
    assert admission.next_at == 107.0
    admission.release(running, 106.5)
    assert admission.settle(106.5) == waiters[1:]
    assert states(waiters) == [REFUSED, ADMITTED]
    assert admission.next_at is None


def test_a_late_look_admits_whom_there_is_room_for() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    running, second, third = ask(admission, "aaa")
    admission.release(running, 150.0)
    assert admission.settle(150.0) == [second, third]
    assert states([second, third]) == [ADMITTED, REFUSED]


def test_a_waiter_that_leaves_makes_room_in_the_queue_only() -> None:
    admission = Admission(replace(WIDE, host_streams=1, host_queue=2))
    _, second, third = ask(admission, "aaa")
    admission.release(second, 101.0)
    assert states([second, third]) == [RELEASED, WAITING]
    assert second.waited_seconds(999.0) == 1.0
    assert admission.load() == {"a": HostLoad(1, 1)}
    assert admission.request("a", 101.0).state is WAITING


def test_a_waiter_that_leaves_in_the_moment_of_its_admission_passes_the_slot_on() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    first, second, third = ask(admission, "aaa")
    admission.release(first, 101.0)
    assert second.state is ADMITTED
    admission.release(second, 101.0)  # it has not heard of it yet
    assert admission.settle(101.0) == [third]


def test_what_is_released_twice_is_freed_once() -> None:
    admission = Admission(replace(WIDE, host_streams=1, host_queue=0))
    running, refused = ask(admission, "aa")
    for _ in range(2):
        admission.release(refused, 100.0)
    assert admission.load() == {"a": HostLoad(1, 0)}
    for _ in range(2):
        admission.release(running, 100.0)
    assert admission.load() == {}
    assert states(ask(admission, "aa")) == [ADMITTED, REFUSED]


def test_news_that_nobody_has_fetched_are_due_at_once() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    first, second = ask(admission, "aa")
    admission.release(first, 101.0)
    assert admission.next_at == -math.inf
    assert admission.settle(101.0) == [second]
    assert admission.next_at is None


# --- the start rate ---------------------------------------------------------------------------------------------------


def test_a_crowd_starts_at_the_rate() -> None:
    admission = Admission(replace(WIDE, starts_per_second=4, start_burst=2))
    tickets = ask(admission, "aaaaa")
    assert states(tickets) == [ADMITTED, ADMITTED, WAITING, WAITING, WAITING]
    started = []
    while (now := admission.next_at) is not None:
        started += [(now, ticket.waited_seconds(now)) for ticket in admission.settle(now)]
    assert started == [(100.25, 0.25), (100.5, 0.5), (100.75, 0.75)]


def test_a_pause_gives_the_burst_back_and_no_more() -> None:
    admission = Admission(replace(WIDE, starts_per_second=4, start_burst=2, host_queue=0))
    assert states(ask(admission, "aaa", 100.0)) == [ADMITTED, ADMITTED, REFUSED]
    assert states(ask(admission, "aa", 100.25)) == [ADMITTED, REFUSED]
    assert states(ask(admission, "aaa", 900.0)) == [ADMITTED, ADMITTED, REFUSED]


def test_what_is_refused_uses_up_no_start() -> None:
    admission = Admission(replace(WIDE, host_streams=1, host_queue=0, starts_per_second=1, start_burst=2))
    assert states(ask(admission, "aaaab")) == [ADMITTED, REFUSED, REFUSED, REFUSED, ADMITTED]


@pytest.mark.parametrize("start", [0.0, 0.1, 1e6 + 0.3, 1e9 / 7])
@pytest.mark.parametrize("rate", [3, 7, 0.3, 1000 / 3])
def test_a_timer_for_the_next_start_finds_it(start: float, rate: float) -> None:
    admission = Admission(replace(WIDE, starts_per_second=rate, start_burst=3, queue_seconds=1e5))
    ask(admission, "a" * 50, start)
    now = start
    while (when := admission.next_at) is not None:
        assert len(admission.settle(when)) == 1
        now = when
    assert admission.load() == {"a": HostLoad(50, 0)}
    assert now == pytest.approx(start + 47 / rate)


# --- what refused clients are told ------------------------------------------------------------------------------------


def test_a_refused_crowd_is_told_to_come_back_at_the_rate() -> None:
    admission = Admission(replace(WIDE, starts_per_second=200, start_burst=50, host_queue=50))
    waits = [ticket.refusal.retry_after for ticket in ask(admission, "a" * 10_000) if ticket.refusal]
    assert len(waits) == 9900
    per_second = [waits.count(second) for second in range(61)]
    assert per_second[0] == 0
    assert all(count in (199, 200, 201) for count in per_second[2:50])
    assert per_second[1] == 1
    assert waits == sorted(waits)


def test_nobody_is_told_to_wait_longer_than_clients_obey() -> None:
    admission = Admission(replace(WIDE, starts_per_second=1, host_queue=0))
    waits = [ticket.refusal.retry_after for ticket in ask(admission, "a" * 100) if ticket.refusal]
    assert waits == [*range(1, 61), *[60] * 39]


def test_the_narrowest_cap_is_the_reason() -> None:
    admission = Admission(replace(WIDE, process_streams=2, host_streams=1, host_queue=0, starts_per_second=1))
    ask(admission, "a", 100.0)
    ask(admission, "b", 101.0)
    reasons = [ticket.refusal and ticket.refusal.reason for ticket in ask(admission, "ac", 101.0)]
    assert reasons == [Reason.HOST_FULL, Reason.PROCESS_FULL]
    admission.use(WIDE, 101.0)
    assert states(ask(admission, "a", 101.0)) == [ADMITTED]


# --- a reload ---------------------------------------------------------------------------------------------------------


def test_more_slots_are_used_at_once() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    _, *waiting = ask(admission, "aaa")
    admission.use(replace(WIDE, host_streams=2), 101.0)
    assert admission.next_at == -math.inf
    assert admission.settle(101.0) == waiting[:1]


def test_fewer_slots_let_running_streams_run() -> None:
    admission = Admission(WIDE)
    running = ask(admission, "aaa")
    admission.use(replace(WIDE, host_streams=1), 101.0)
    [waiting] = ask(admission, "a", 101.0)
    for ticket, load in zip(running, [HostLoad(2, 1), HostLoad(1, 1), HostLoad(1, 0)], strict=True):
        admission.release(ticket, 101.0)
        assert admission.load() == {"a": load}
    assert admission.settle(101.0) == [waiting]


def test_another_wait_holds_for_those_who_wait_already() -> None:
    admission = Admission(replace(WIDE, host_streams=1))
    _, waiting = ask(admission, "aa", 100.0)
    admission.use(replace(WIDE, host_streams=1, queue_seconds=2.0), 101.0)
    assert admission.next_at == 102.0
    assert admission.settle(102.0) == [waiting]


def test_a_higher_rate_holds_at_once() -> None:
    admission = Admission(replace(WIDE, starts_per_second=0.1, start_burst=10))
    ask(admission, "a" * 10)
    admission.use(replace(WIDE, starts_per_second=10, start_burst=1), 100.0)
    [waiting] = ask(admission, "a")
    assert waiting.state is WAITING
    assert admission.next_at == pytest.approx(100.1)


# --- any order of everything ------------------------------------------------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Requests, ends, leaving clients, reloads and late timers in any order, against a record of what is known."""

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self.now = 1000.0
        self.limits = self.draw_limits(data)
        self.admission = Admission(self.limits)
        self.queues: dict[str, list[Ticket]] = {}  # as they came
        self.running: list[Ticket] = []
        self.starts: list[float] = []

    def draw_limits(self, data: st.DataObject) -> AdmissionLimits:
        return AdmissionLimits(
            process_streams=data.draw(st.integers(1, 5)),
            host_streams=data.draw(st.integers(1, 4)),
            host_queue=data.draw(st.integers(0, 4)),
            queue_seconds=data.draw(st.sampled_from([0.0, 0.5, 2.0, 5.0])),
            starts_per_second=data.draw(st.sampled_from([0.5, 4.0, 30.0, math.inf])),
            start_burst=data.draw(st.integers(1, 3)),
        )

    def has_room(self, host: str) -> bool:
        streams = [ticket.host for ticket in self.running]
        return len(streams) < self.limits.process_streams and streams.count(host) < self.limits.host_streams

    def start(self, ticket: Ticket) -> None:
        assert self.has_room(ticket.host)  # no cap is passed
        self.running.append(ticket)
        self.starts.append(self.now)

    def fetch(self) -> None:
        settled = self.admission.settle(self.now)
        for ticket in [ticket for ticket in settled if ticket.state is ADMITTED]:
            assert self.queues[ticket.host].pop(0) is ticket  # in order of arrival
            self.start(ticket)
        for ticket in [ticket for ticket in settled if ticket.state is not ADMITTED]:
            assert ticket.state is REFUSED
            assert ticket.refusal is not None
            assert 1 <= ticket.refusal.retry_after <= 60
            assert ticket.waited_seconds(self.now) >= self.limits.queue_seconds  # not before its time
            assert self.queues[ticket.host].pop(0) is ticket

    @rule(host=st.sampled_from("abc"))
    def request(self, host: str) -> None:
        ticket = self.admission.request(host, self.now)
        queue = self.queues.setdefault(host, [])
        if ticket.state is WAITING:
            assert len(queue) < self.limits.host_queue
            queue.append(ticket)
        elif ticket.state is ADMITTED:
            assert not queue
            self.start(ticket)
        else:
            assert ticket.state is REFUSED
            assert len(queue) >= self.limits.host_queue
        self.fetch()

    @precondition(lambda self: self.running)
    @rule(data=st.data(), twice=st.booleans())
    def end(self, data: st.DataObject, twice: bool) -> None:
        ticket = data.draw(st.sampled_from(self.running))
        self.running.remove(ticket)
        for _ in range(1 + twice):
            self.admission.release(ticket, self.now)
        self.fetch()

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from([ticket for queue in self.queues.values() for ticket in queue]))
        self.queues[ticket.host].remove(ticket)
        self.admission.release(ticket, self.now)
        self.fetch()

    @precondition(lambda self: self.running and any(self.queues.values()))
    @rule(data=st.data())
    def end_while_a_waiter_leaves(self, data: st.DataObject) -> None:
        """The waiter may have been admitted by the end, and not know."""
        self.admission.release(self.running.pop(), self.now)
        leaving = data.draw(st.sampled_from([ticket for queue in self.queues.values() for ticket in queue]))
        self.queues[leaving.host].remove(leaving)
        if leaving.state is ADMITTED:
            self.starts.append(self.now)
        self.admission.release(leaving, self.now)
        self.fetch()

    @rule(seconds=st.sampled_from([0.001, 0.25, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.fetch()

    @precondition(lambda self: self.admission.next_at is not None)
    @rule()
    def timer(self) -> None:
        assert self.admission.next_at is not None
        assert self.admission.next_at > self.now
        self.now = self.admission.next_at
        before = sum(map(len, self.queues.values()))
        self.fetch()
        assert sum(map(len, self.queues.values())) < before  # no timer in vain

    @rule(data=st.data())
    def reload(self, data: st.DataObject) -> None:
        self.limits = self.draw_limits(data)
        self.starts = []  # the rate is checked from here on
        self.admission.use(self.limits, self.now)
        self.fetch()

    @invariant()
    def the_books_agree(self) -> None:
        streams = [ticket.host for ticket in self.running]
        hosts = {*streams, *(host for host, queue in self.queues.items() if queue)}
        load = {host: HostLoad(streams.count(host), len(self.queues.get(host, []))) for host in hosts}
        assert self.admission.load() == load
        assert {ticket.state for ticket in self.running} <= {ADMITTED}
        assert {ticket.state for queue in self.queues.values() for ticket in queue} <= {WAITING}

    @invariant()
    def starts_keep_the_rate(self) -> None:
        for index, begin in enumerate(self.starts):
            allowed = self.limits.start_burst + (self.now - begin) * self.limits.starts_per_second + 1e-6
            assert self.limits.starts_per_second == math.inf or len(self.starts) - index <= allowed

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        waiting = [ticket for queue in self.queues.values() for ticket in queue]
        when = self.admission.next_at
        assert (when is None) == (not waiting)
        for ticket in waiting:
            assert when is not None
            assert self.now < when <= ticket.asked_at + self.limits.queue_seconds
            if self.has_room(ticket.host):  # then it waits for its start only, and that is near
                assert when <= self.now + 1 / self.limits.starts_per_second + 1e-6

    def teardown(self) -> None:
        """However it stands: once every stream ends and the timer is obeyed, all waiting ends and nothing is left."""
        if not hasattr(self, "admission"):
            return
        while self.running or (when := self.admission.next_at) is not None:
            if self.running:
                self.admission.release(self.running.pop(), self.now)
            else:
                assert when is not None
                self.now = when
            self.fetch()
        assert not any(self.queues.values())
        assert self.admission.load() == {}


AnyOrder.TestCase.settings = settings(deadline=None, max_examples=200)
TestAnyOrder = AnyOrder.TestCase
