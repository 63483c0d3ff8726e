"""Reads the stream of one Dify run and says it as the answer's events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gateway.dify_api.app import AppMode
from gateway.dify_api.event_readers import READERS, Event, text_or_none
from gateway.dify_api.failure import one_line
from gateway.dify_api.run import Run
from gateway.dify_api.text_template import TextTemplate
from gateway.errors import UpstreamProtocolError, UpstreamTruncated
from gateway.exchange.answer import AnswerEvent, Started
from gateway.json_codec import loads


class AnswerReader:
    """The data of Dify's events in, the answer's events out; after Finished or Failed nothing more comes.

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
    ) -> None:
        self._run = Run(mode, output_variable if mode is AppMode.WORKFLOW else None, host, tells_progress, cites)
        self._template = TextTemplate()
        self.events_seen = 0  # the measure of progress: whatever Dify sent but pings
        self.unknown_events = 0
        self.complete = False  # Finished or Failed was returned: stop reading
        self.settling = False  # an event that can end the answer was seen, another one may still tell more

    @property
    def workflow_run_id(self) -> str | None:
        """The run's id, which some versions tell later than Started."""
        return self._run.workflow_run_id

    def lose_text(self) -> None:
        """Text may be missing from now on (the stream broke and was taken up again): only the settled text counts."""
        self._run.text_lost = True

    def receive(self, frames: Iterable[bytes]) -> list[AnswerEvent]:
        """Take the data of several events; the texts of those that came side by side are one."""
        answer: list[AnswerEvent] = []
        texts: list[str] = []
        for data in frames:
            if (text := self._template.text_of(data)) is not None:
                texts.append(text)
                continue
            if texts:
                answer += self._receive_texts(texts)
                texts = []
            answer += self.receive_data(data)
        return answer + self._receive_texts(texts) if texts else answer

    def _receive_texts(self, texts: list[str]) -> list[AnswerEvent]:
        if self.complete:
            return []
        self.events_seen += len(texts)
        event = self._template.filled("".join(texts))
        answer = READERS[event["event"]](self._run, event)
        self._template.filled("")  # so that it holds no text while a client does not read
        return answer

    def receive_data(self, data: bytes) -> list[AnswerEvent]:
        """Take the data of one event, decoded in full."""
        answer = self._receive_data(data)
        run = self._run
        self.complete = run.complete
        self.settling = bool(run.terminals) and not run.complete
        return answer

    def _receive_data(self, data: bytes) -> list[AnswerEvent]:
        run = self._run
        if run.complete or not data:
            return []
        try:
            event = _decode(data)
        except ValueError as error:
            return run.fail(UpstreamProtocolError(one_line(f"Dify sent an event that is not JSON: {error}")))
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
        if run.task_id is not None:
            self._template.learn(data, event)
        return answer

    def receive_eof(self) -> list[AnswerEvent]:
        """The stream has ended, or the caller waits no longer."""
        if self.complete:
            return []
        settling, self.settling, self.complete = self.settling, False, True
        if settling:
            return self._run.finish()
        return self._run.fail(UpstreamTruncated("Dify closed the stream before the end of the answer."))

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
