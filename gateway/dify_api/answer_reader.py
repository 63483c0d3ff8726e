"""Reads the stream of one Dify run and says it as the answer's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.dify_api.app import AppMode
from gateway.dify_api.event_readers import READERS, SAYERS, Event, text_or_none
from gateway.dify_api.failure import one_line
from gateway.dify_api.run import Run
from gateway.dify_api.text_template import TextTemplate
from gateway.errors import UpstreamProtocolError, UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, Started
from gateway.json_codec import loads
from gateway.sse import SSEDecoder


class AnswerReader:
    """The bytes of Dify's stream in, the answer's events out; after Finished or Failed nothing more comes.

    A chatflow ends with two events, in an order that depends on the version, and either may be lost. After the first
    one the reader is `settling`: wait a moment for the other, then call `receive_eof`.
    """

    def __init__(
        self,
        mode: AppMode,
        output_variable: str | None = None,
        host: str = "",
        tells_progress: bool = False,
        cites: bool = True,
        heard: Callable[[bytes], None] | None = None,
    ) -> None:
        """`heard` gets the data of each event before it is read."""
        self._run = Run(mode, output_variable if mode is AppMode.WORKFLOW else None, host, tells_progress, cites)
        self._heard = heard
        self._decoder = SSEDecoder()
        self._template = TextTemplate()
        self._say = SAYERS["message"]  # the template's
        self.events_seen = 0  # the measure of progress: whatever Dify sent but pings
        self.unknown_events = 0
        self.complete = False  # Finished or Failed was returned: stop reading
        self.settling = False  # an event that can end the answer was seen, another one may still tell more
        self.run_is_over = False  # as far as Dify has told

    @property
    def workflow_run_id(self) -> str | None:
        """The run's id, which some versions tell later than Started."""
        return self._run.workflow_run_id

    def lose_text(self) -> None:
        """The stream broke and was taken up again: text may be missing, so only the settled text counts from now on."""
        self._decoder, self._template = SSEDecoder(), TextTemplate()
        self._run.text_lost = True

    def receive(self, data: bytes) -> list[AnswerEvent]:
        """Take what one read brought; the texts of events that came side by side are one."""
        if self._decoder.at_rest and self._heard is None and (found := self._template.texts_of(data)) is not None:
            text, events = found
            return self._receive_text(text, events)
        return self._receive_all(self._decoder.feed(data))

    def _receive_all(self, frames: list[bytes]) -> list[AnswerEvent]:
        answer: list[AnswerEvent] = []
        texts: list[str] = []
        for data in frames:
            if self._heard is not None:
                self._heard(data)
            if (text := self._template.text_of(data)) is not None:
                texts.append(text)
                continue
            if texts:
                answer += self._receive_text("".join(texts), len(texts))
                texts = []
            answer += self.receive_data(data)
        return answer + self._receive_text("".join(texts), len(texts)) if texts else answer

    def _receive_text(self, text: str, events: int) -> list[AnswerEvent]:
        if self.complete:
            return []
        self.events_seen += events
        return self._say(self._run, text, self._template.selector)

    def receive_data(self, data: bytes) -> list[AnswerEvent]:
        """Take the data of one event, decoded in full."""
        run = self._run
        if run.complete or not data:
            return []
        try:
            event = _decode(data)
        except ValueError as error:
            self.complete, self.settling = True, False  # and the run goes on, for all that is known
            return run.fail(UpstreamProtocolError(one_line(f"Dify sent an event that is not JSON: {error}")))
        answer = self._receive_event(event, data)
        self.complete = run.complete
        self.settling = bool(run.terminals) and not run.complete
        self.run_is_over = self.complete or self.settling
        return answer

    def _receive_event(self, event: Any, data: bytes) -> list[AnswerEvent]:
        run = self._run
        name = event.get("event") if isinstance(event, dict) else None
        reader = READERS.get(name) if isinstance(name, str) else None
        if name == "ping":  # Dify's pings have no data; a proxy that rewrites streams may give them some
            return []
        self.events_seen += 1
        if not isinstance(event, dict):
            self.unknown_events += 1
            return []
        started = self._read_ids(event) if run.task_id is None else []
        if reader is None:
            self.unknown_events += 1
            return started
        answer = started + reader(run, event)
        if run.task_id is not None and self._template.learn(data, event):
            self._say = SAYERS[event["event"]]
        return answer

    def receive_eof(self) -> list[AnswerEvent]:
        """The stream has ended, or the caller waits no longer."""
        answer = self._receive_all(self._decoder.finish())
        if self.complete:
            return answer
        settling, self.settling, self.complete = self.settling, False, True
        if settling:
            return answer + self._run.finish()
        return answer + self._run.fail(UpstreamTruncated("Dify closed the stream before the end of the answer."))

    def _read_ids(self, event: Event) -> list[AnswerEvent]:
        # In every mode the first event has the task's id, and the run's too if there is one. A stop needs the task's,
        # so Started does not wait for the other.
        run = self._run
        run.task_id = text_or_none(event.get("task_id"))
        if run.task_id is None:
            return []
        run.conversation_id = text_or_none(event.get("conversation_id"))
        run.message_id = text_or_none(event.get("message_id"))
        run.workflow_run_id = text_or_none(event.get("workflow_run_id"))
        return [Started(run.task_id, run.conversation_id, run.message_id, run.workflow_run_id)]


def _decode(data: bytes) -> Any:
    """One event. Bytes that are no UTF-8 become U+FFFD, as in a browser. Raises ValueError where it is no JSON."""
    try:
        return loads(data)
    except ValueError:
        return loads(data.decode("utf-8", "replace"))
