"""Answer events → chat completion chunks, or one chat completion (OpenAI's published schema for both).

A client's loop sees: one role chunk, text and reasoning, one chunk with a finish_reason, the usage if it asked for it
and Dify told it, [DONE]. An answer that fails ends in an error frame instead, never in a finish_reason: the SDKs raise
on it, and nobody takes half an answer for a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

# Undocumented, but it is what json.dumps escapes with, in C: 50 ns for a short delta against ujson's 370.
from json.encoder import encode_basestring_ascii

from gateway import json_codec, sse
from gateway.errors import InternalError
from gateway.exchange.answer import (
    AnswerEvent,
    Failed,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from gateway.exchange.turn import ToolChoice, Turn
from gateway.openai_api.error_body import error_body
from gateway.openai_api.extras import citation_fields, dify_field, usage_json

_DONE = sse.DONE.decode("ascii")
Delta = dict[str, object]


class ChatStreamRenderer:
    """One answer as chunks. All but the text is the same in each chunk, so it is written once.

    Every delta has a string as `content`, since loops of openai-python 0.28's days read and join it unasked. Where
    calls may come it is null or absent, as in OpenAI's own chunks: some clients take "" for the start of a text.
    """

    def __init__(self, turn: Turn, answer_id: str, created: int) -> None:
        self._include_usage = turn.include_usage
        self._details = turn.details
        self._started: Started | None = None
        self._length = 0  # of the text
        self._tools = turn.tool_choice
        # What every chunk begins and ends with. A key that was not asked for breaks simple clients; one that was is
        # null until the last chunk (reference).
        name, model = encode_basestring_ascii(answer_id), encode_basestring_ascii(turn.model)
        self._chunk = f'data: {{"id":{name},"object":"chat.completion.chunk","created":{created},"model":{model}'
        self._end = ',"usage":null}\n\n' if turn.include_usage else "}\n\n"
        role = '{"role":"assistant","content":null}' if self._tools else '{"role":"assistant","content":""}'
        self._role_frame = self._delta_frame(role).encode("ascii")
        self._text_head = f'{self._chunk},"choices":[{{"index":0,"delta":{{"content":'
        self._text_tail = f'}},"logprobs":null,"finish_reason":null}}]{self._end}'

    def begin(self) -> bytes:
        """The role chunk, once."""
        frame, self._role_frame = self._role_frame, b""
        return frame

    def render(self, events: Sequence[AnswerEvent]) -> bytes:
        if len(events) == 1 and type(event := events[0]) is TextDelta and not self._role_frame:  # nearly always
            self._length += len(event.text)
            return f"{self._text_head}{encode_basestring_ascii(event.text)}{self._text_tail}".encode("ascii")
        frames = "".join([self._render_event(event) for event in events]).encode("ascii")
        return self.begin() + frames if frames else b""

    def _render_event(self, event: AnswerEvent) -> str:
        if isinstance(event, TextDelta):
            self._length += len(event.text)
            return f"{self._text_head}{encode_basestring_ascii(event.text)}{self._text_tail}"
        if isinstance(event, ReasoningDelta):
            thought = encode_basestring_ascii(event.text)
            return self._delta_frame(f'{{"reasoning_content":{thought},"content":""}}')
        if isinstance(event, ToolCallDelta):
            return self._delta_frame(_json(self._call_delta(event)))
        if isinstance(event, Finished):
            return self._end_frames(event)
        if isinstance(event, Failed):
            return f"data: {error_body(event.error).decode('ascii')}\n\n"
        if isinstance(event, Started):
            self._started = event
            if event.conversation_id:
                # In every chunk that is built from now on.
                self._chunk += f',"conversation_id":{encode_basestring_ascii(event.conversation_id)}'
        return ""  # whether to open the stream before there is text is the caller's choice

    def _end_frames(self, end: Finished) -> str:
        last: Delta = {} if self._tools else {"content": ""}
        cited = citation_fields(end.citations, self._length)
        citing = self._delta_frame(_json({**last, **cited})) if cited else ""
        dify = dify_field(self._details, self._started, end, streamed=True)
        ending = self._delta_frame(
            "{}" if self._tools else '{"content":""}', f'"{_finish_reason(end, self._tools)}"', _fields(dify)
        )
        return f"{citing}{ending}{self._usage_frame(end.usage)}{_DONE}"

    def _usage_frame(self, usage: Usage | None) -> str:
        """Nothing where Dify told no usage: clients that asked cope with its absence, not with invented numbers."""
        if not self._include_usage or usage is None:
            return ""
        return f'{self._chunk},"choices":[],"usage":{usage_json(usage)}}}\n\n'

    def _call_delta(self, event: ToolCallDelta) -> Delta:
        named = {} if event.name is None else {"name": event.name}
        function = {**named, "arguments": event.arguments}
        if self._tools and self._tools.as_functions:
            return {"function_call": function}
        opened = {} if event.id is None else {"id": event.id, "type": "function"}
        return {"tool_calls": [{"index": event.index, **opened, "function": function}]}

    def _delta_frame(self, delta: str, finish_reason: str = "null", fields: str = "") -> str:
        """A chunk of these pieces of JSON; `fields` are what it has besides."""
        choice = f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}'
        return f'{self._chunk},"choices":[{choice}]{fields}{self._end}'


def render_document(turn: Turn, answer_id: str, created: int, events: Iterable[AnswerEvent]) -> bytes:
    """The answer as one chat completion. Raises the error of a Failed event."""
    texts: list[str] = []
    thoughts: list[str] = []
    started: Started | None = None
    calls: dict[int, list[ToolCallDelta]] = {}
    end: Finished | None = None
    for event in events:
        if isinstance(event, TextDelta):
            texts.append(event.text)
        elif isinstance(event, ReasoningDelta):
            thoughts.append(event.text)
        elif isinstance(event, ToolCallDelta):
            calls.setdefault(event.index, []).append(event)
        elif isinstance(event, Failed):
            raise event.error
        elif isinstance(event, Finished):
            end = event
        elif isinstance(event, Started):
            started = event
    if end is None:
        raise InternalError("The answer has neither a finish nor an error.")
    text = "".join(texts) if end.text is None else end.text
    if end.reason is FinishReason.CONTENT_FILTER and end.text is not None:
        thoughts = []  # they may say what the text must not
    made = _message_calls(turn, calls) if end.reason is FinishReason.TOOL_CALLS else {}
    content = "null" if made and not text else encode_basestring_ascii(text)
    thought = f',"reasoning_content":{encode_basestring_ascii("".join(thoughts))}' if thoughts else ""
    more = _fields(citation_fields(end.citations, len(text))) + _fields(made)
    message = f'{{"role":"assistant","content":{content},"refusal":null{thought}{more}}}'
    finish_reason = _finish_reason(end, turn.tool_choice)
    name, model = encode_basestring_ascii(answer_id), encode_basestring_ascii(turn.model)
    usage = "" if end.usage is None else f',"usage":{usage_json(end.usage)}'
    conversation_id = started.conversation_id if started else None
    named = f',"conversation_id":{encode_basestring_ascii(conversation_id)}' if conversation_id else ""
    dify = _fields(dify_field(turn.details, started, end, streamed=False))
    return (
        f'{{"id":{name},"object":"chat.completion","created":{created},"model":{model},"choices":[{{"index":0,'
        f'"message":{message},"logprobs":null,"finish_reason":"{finish_reason}"}}]{usage}{named}{dify}}}'
    ).encode("ascii")


def _message_calls(turn: Turn, calls: dict[int, list[ToolCallDelta]]) -> dict[str, object]:
    functions = [
        {"name": deltas[0].name, "arguments": "".join(delta.arguments for delta in deltas)} for deltas in calls.values()
    ]
    if turn.tool_choice and turn.tool_choice.as_functions:
        return {"function_call": functions[0]} if functions else {}
    ids = [deltas[0].id for deltas in calls.values()]
    pairs = zip(ids, functions, strict=True)
    return {"tool_calls": [{"id": one, "type": "function", "function": function} for one, function in pairs]}


def _finish_reason(end: Finished, tools: ToolChoice | None) -> str:
    if end.reason is FinishReason.TOOL_CALLS and tools and tools.as_functions:
        return "function_call"
    return end.reason


def _fields(fields: Mapping[str, object]) -> str:
    """For the end of an object that has others before them."""
    return f",{_json(fields)[1:-1]}" if fields else ""


def _json(value: object) -> str:
    return json_codec.dumps(value).decode("ascii")
