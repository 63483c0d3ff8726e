"""What an OpenAI endpoint that answers with text has to offer; `web` serves every one of them by the same handler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.exchange.answer import AnswerEvent
from gateway.exchange.turn import Turn


class StreamRenderer(Protocol):
    """Turns the events of one answer into the bytes of one event stream; it owns no socket and no clock."""

    def begin(self) -> bytes:
        """The frames that open the stream, for a commit before any text; nothing if they are already out."""

    def render(self, events: Sequence[AnswerEvent]) -> bytes:
        """The frames of a batch of events, opened by `begin`; nothing if the batch shows nothing to a client."""


class Endpoint(Protocol):
    """One route: its request JSON → Turn, and an answer's events → its chunks or its document."""

    name: str  # a metric label: "chat.completions"
    id_prefix: str  # what an answer's id starts with: "chatcmpl-"

    def parse_request(self, body: object) -> Turn:
        """Read a decoded JSON body. Raises InvalidRequest, with the offending parameter's path."""

    def stream_renderer(self, turn: Turn, answer_id: str, created: int) -> StreamRenderer:
        """A renderer for the answer to `turn`; `created` is in Unix seconds."""

    def document(self, turn: Turn, answer_id: str, created: int, events: Iterable[AnswerEvent]) -> bytes:
        """The whole answer as one JSON body. Raises the error of a Failed event."""
