"""POST /v1/chat/completions, in one object: the request's half and the answer's half are in the files beside it."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.exchange.answer import AnswerEvent
from gateway.exchange.turn import Turn
from gateway.openai_api import chat_answer, chat_request
from gateway.openai_api.endpoint import Endpoint, StreamRenderer


class ChatCompletions:
    """OpenAI's most spoken endpoint: the client sends its whole history each time."""

    name = "chat.completions"
    id_prefix = "chatcmpl-"

    def parse_request(self, body: object) -> Turn:
        return chat_request.parse_request(body)

    def stream_renderer(self, turn: Turn, answer_id: str, created: int) -> StreamRenderer:
        return chat_answer.ChatStreamRenderer(turn, answer_id, created)

    def document(self, turn: Turn, answer_id: str, created: int, events: Iterable[AnswerEvent]) -> bytes:
        return chat_answer.render_document(turn, answer_id, created, events)


ENDPOINT: Endpoint = ChatCompletions()
