"""Answer events → chat completion chunks, or one chat completion (OpenAI's published schema for both).

A client's loop sees: one role chunk, text and reasoning, one chunk with a finish_reason, the usage if it asked for it
and Dify told it, [DONE]. An answer that fails ends in an error frame instead, never in a finish_reason: the SDKs raise
on it, and nobody takes half an answer for a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# Undocumented, but it is what json.dumps escapes with, in C: 50 ns for a short delta against ujson's 370.
from json.encoder import encode_basestring_ascii

from gateway import json_codec, sse
from gateway.errors import InternalError
from gateway.exchange.answer import AnswerEvent, Failed, Finished, ReasoningDelta, Started, TextDelta, Usage
from gateway.exchange.turn import Turn
from gateway.openai_api.error_body import error_body
from gateway.openai_api.extras import citation_fields, dify_field, usage_object

_DONE = sse.DONE.decode("ascii")
_MARK = "\0"  # stands where a delta's text will be


class ChatStreamRenderer:
    """One answer as chunks. All but the text is the same in each chunk, so it is encoded once.

    Every delta has a string as `content`, since loops of openai-python 0.28's days read and join it unasked.
    """

    def __init__(self, turn: Turn, answer_id: str, created: int) -> None:
        self._chunk: dict[str, object] = {
            "id": answer_id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": turn.model,
        }
        self._include_usage = turn.include_usage
        self._details = turn.details
        self._started: Started | None = None
        self._length = 0  # of the text
        self._role_frame = self._delta_frame({"role": "assistant", "content": ""}).encode("ascii")
        self._text_head, self._text_tail = self._split_frame({"content": _MARK})
        self._reasoning_head, self._reasoning_tail = self._split_frame({"reasoning_content": _MARK, "content": ""})

    def begin(self) -> bytes:
        """The role chunk, once."""
        frame, self._role_frame = self._role_frame, b""
        return frame

    def render(self, events: Sequence[AnswerEvent]) -> bytes:
        if len(events) == 1 and type(event := events[0]) is TextDelta and not self._role_frame:  # nearly always
            self._length += len(event.text)
            return (self._text_head + encode_basestring_ascii(event.text) + self._text_tail).encode("ascii")
        frames = "".join([self._render_event(event) for event in events]).encode("ascii")
        return self.begin() + frames if frames else b""

    def _render_event(self, event: AnswerEvent) -> str:
        if isinstance(event, TextDelta):
            self._length += len(event.text)
            return self._text_head + encode_basestring_ascii(event.text) + self._text_tail
        if isinstance(event, ReasoningDelta):
            return self._reasoning_head + encode_basestring_ascii(event.text) + self._reasoning_tail
        if isinstance(event, Finished):
            return self._end_frames(event)
        if isinstance(event, Failed):
            return f"data: {error_body(event.error).decode('ascii')}\n\n"
        if isinstance(event, Started):
            self._started = event
        return ""  # whether to open the stream before there is text is the caller's choice

    def _end_frames(self, end: Finished) -> str:
        cited = citation_fields(end.citations, self._length)
        dify = dify_field(self._details, self._started, end, streamed=True)
        return (
            (self._delta_frame({"content": "", **cited}) if cited else "")
            + self._delta_frame({"content": ""}, end.reason, **dify)
            + self._usage_frame(end.usage)
            + _DONE
        )

    def _usage_frame(self, usage: Usage | None) -> str:
        """Nothing where Dify told no usage: clients that asked cope with its absence, not with invented numbers."""
        if not self._include_usage or usage is None:
            return ""
        return self._frame({"choices": [], "usage": usage_object(usage)})

    def _delta_frame(self, delta: dict[str, object], finish_reason: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # A key that was not asked for breaks simple clients; one that was is null until the last chunk (reference).
        return self._frame({"choices": [choice], **({"usage": None} if self._include_usage else {}), **more})

    def _split_frame(self, delta: dict[str, object]) -> tuple[str, str]:
        """The frame around the text that `_MARK` stands for; the model's own JSON stands before it."""
        head, _, tail = self._delta_frame(delta).rpartition(encode_basestring_ascii(_MARK))
        return head, tail

    def _frame(self, fields: dict[str, object]) -> str:
        return f"data: {json_codec.dumps({**self._chunk, **fields}).decode('ascii')}\n\n"


def render_document(turn: Turn, answer_id: str, created: int, events: Iterable[AnswerEvent]) -> bytes:
    """The answer as one chat completion. Raises the error of a Failed event."""
    texts: list[str] = []
    thoughts: list[str] = []
    started: Started | None = None
    end: Finished | None = None
    for event in events:
        if isinstance(event, TextDelta):
            texts.append(event.text)
        elif isinstance(event, ReasoningDelta):
            thoughts.append(event.text)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Finished):
            end = event
        elif isinstance(event, Started):
            started = event
    if end is None:
        raise InternalError("The answer has neither a finish nor an error.")
    text = "".join(texts) if end.text is None else end.text
    return json_codec.dumps(
        {
            "id": answer_id,
            "object": "chat.completion",
            "created": created,
            "model": turn.model,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": text,
                        "refusal": None,
                        **({"reasoning_content": "".join(thoughts)} if thoughts else {}),
                        **citation_fields(end.citations, len(text)),
                    },
                    "logprobs": None,
                    "finish_reason": end.reason,
                }
            ],
            **({} if end.usage is None else {"usage": usage_object(end.usage)}),
            **dify_field(turn.details, started, end, streamed=False),
        }
    )
