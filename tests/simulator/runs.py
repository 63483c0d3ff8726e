"""Runs: answers being produced, whoever listens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.simulator.apps import CHAT_MODES, App
from tests.simulator.flow_app import FlowApp
from tests.simulator.producer import Producer
from tests.simulator.steps import AwaitForm, Break, Send, SendPing, Silence, Step, Turn, Wait

PING = b"event: ping\n\n"


@dataclass(frozen=True, slots=True)
class Quiet:
    """In a run's log: from here on no pings."""


@dataclass(frozen=True, slots=True)
class Paused:
    """In a run's log: who listens hears no more."""


LogEntry = bytes | Break | Quiet | Paused


class Run:
    """One generation. It goes on without a listener, as Dify's do, until it ends or is stopped."""

    def __init__(self, producer: Producer, speed: float, on_end: Callable[[Run], None]) -> None:
        turn = producer.turn
        self.producer = producer
        self.turn: Turn = turn
        self.task_id = turn.task_id
        self.workflow_run_id = turn.workflow_run_id
        self.app: App = turn.app
        self.user = turn.user
        self.query = turn.query
        self.inputs = dict(turn.inputs)
        self.state = "running"  # running, finished, stopped
        self.client_gone = False  # the client left before the last event
        self.tokens = 0  # answer tokens produced so far
        self.started = time.monotonic()
        self._speed = speed
        self._on_end = on_end
        self._ended = False
        self.log: list[LogEntry] = []
        self._changed = asyncio.Event()
        self._halt = asyncio.Event()
        self.form_reply: dict[str, Any] | None = None  # what a person has answered
        self.form_open = False
        self._answered = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._drive())

    @property
    def ended(self) -> bool:
        return self._ended

    def stop(self, delay: float, foreign: bool = False) -> None:
        """Like Dify's stop: it takes effect a moment later. A `foreign` one, of another user, may harm flows."""
        if foreign and not isinstance(self.producer, FlowApp):
            return
        if foreign and self.app.mode == "advanced-chat":
            assert isinstance(self.producer, FlowApp)
            self.producer.aborted = True  # the text goes on to its end
            return
        asyncio.get_running_loop().call_later(delay, self._halt.set)

    def answer_form(self, reply: dict[str, Any]) -> None:
        """A person has answered; the run goes on."""
        self.form_open, self.form_reply = False, reply
        self._answered.set()

    async def wait(self) -> None:
        await asyncio.shield(self._task)

    async def cancel(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def change(self) -> Coroutine[Any, Any, bool]:
        """Until the log grows or the run ends, counted from this call, not from the first await."""
        return self._changed.wait()

    @property
    def first_byte_seconds(self) -> float:
        """What the server sleeps in the request's path while the run already goes on."""
        return self.turn.profile.first_turn_seconds / self._speed if self._names_conversation else 0.0

    @property
    def title_seconds(self) -> float:
        """What the response stays open after its last event, for the model to find a title."""
        return self.turn.profile.title_seconds / self._speed if self._names_conversation else 0.0

    @property
    def _names_conversation(self) -> bool:
        return self.turn.first_turn and self.turn.auto_generate_name and self.app.mode in CHAT_MODES

    async def _drive(self) -> None:
        try:
            for step in self.producer.steps():
                if self._halt.is_set() or not await self._take(step):
                    break
            if self._halt.is_set():
                self._end_by_stop()
        finally:
            if self.state == "running":
                self.state = "stopped" if self.producer.status == "stopped" else "finished"
            self._ended = True
            self._on_end(self)
            self._notify()

    async def _take(self, step: Step) -> bool:
        """False: the run is over."""
        if isinstance(step, Wait):
            await self._pause(step.seconds / self._speed)
        elif isinstance(step, Silence):
            if not step.pings:
                self._append(Quiet())
            await self._halt.wait()
        elif isinstance(step, AwaitForm):
            self.form_open = True
            self._append(Paused())
            await self._either(self._answered, self._halt)
            if isinstance(self.producer, FlowApp):
                self.producer.form_reply = self.form_reply
        elif isinstance(step, Break):
            self._append(step)
            return False
        elif isinstance(step, SendPing):
            self._append(PING)
        else:
            self._send(step)
            await asyncio.sleep(0)
        return True

    def _end_by_stop(self) -> None:
        self.state = "stopped"
        for step in self.producer.stopped():
            if isinstance(step, Send):
                self._send(step)

    def _send(self, step: Send) -> None:
        self.tokens += step.tokens
        self._append(f"data: {self.turn.profile.stream_json(step.event)}\n\n".encode("utf-8", "surrogatepass"))

    def _append(self, entry: LogEntry) -> None:
        self.log.append(entry)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    @staticmethod
    async def _either(*events: asyncio.Event) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._halt.wait(), seconds)
