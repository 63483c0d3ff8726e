"""What all answers have in common: envelope, terminal events, the blocking reply."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from tests.simulator.failures import provider_error
from tests.simulator.speech import prompt_tokens
from tests.simulator.steps import Event, Send, Silence, Step, Turn
from tests.simulator.usage import ZERO, Tokens, metadata_of, usage_of

# 20 bytes of MP3 silence in base64, as a TTS model's pieces start.
_AUDIO = "//uQZAAAAAAAAAAAAAAAAAAAAAAA"


@dataclass(frozen=True, slots=True)
class BlockingReply:
    status: int
    document: dict[str, Any]


class Producer:
    """One turn's answer as steps. It remembers what it said, so it can also stop in the middle."""

    def __init__(self, turn: Turn, clock: Callable[[], float] = time.monotonic) -> None:
        self.turn = turn
        self.answer = ""  # streamed so far
        self.replaced_answer: str | None = None  # by moderation
        self.stored_answer: str | None = None  # what history keeps when it is not the streamed text
        self.tokens = 0
        self.status = "succeeded"  # of a flow's run; "failed" in any mode fails a blocking call
        self.error: str | None = None
        self._clock = clock
        self._started = clock()

    def steps(self) -> Iterator[Step]:
        raise NotImplementedError

    def stopped(self) -> Iterator[Step]:
        """The end of a run somebody stopped."""
        raise NotImplementedError

    def blocking_reply(self) -> BlockingReply:
        raise NotImplementedError

    @property
    def seconds(self) -> float:
        return self._clock() - self._started

    def event(self, name: str, **fields: Any) -> Event:
        """A message app's event with its envelope."""
        turn = self.turn
        conversation = {} if turn.app.mode == "completion" else {"conversation_id": turn.conversation_id}
        identity = {"message_id": turn.message_id, "created_at": turn.created_at}
        task = {} if name == "error" else {"task_id": turn.task_id}
        return {"event": name, **conversation, **identity, **task, **fields}

    def usage(self, timed: bool | None = None) -> dict[str, Any] | None:
        """The usage of a whole answer."""
        wanted = self.turn.script.usage
        if wanted == "none":
            return None
        tokens = ZERO if wanted == "zero" else Tokens(prompt_tokens(self.turn), max(self.tokens, 1))
        return usage_of(self.turn, tokens, self.seconds, timed=timed)

    def message_end(self, usage: dict[str, Any] | None, files: list[Any] | None = None) -> Event:
        metadata = metadata_of(self.turn, usage)
        return self.event("message_end", id=self.turn.message_id, metadata=metadata, files=files)

    def message_replace(self, text: str, reason: str) -> Event:
        self.replaced_answer = self.stored_answer = text
        extra = {"reason": reason} if self.turn.profile.replace_reason else {}
        return self.event("message_replace", answer=text, **extra)

    def message_file(self, file_id: str) -> Event:
        """A file the app made."""
        url = f"{self.turn.base_url}/files/tools/{file_id}.png?timestamp=1&nonce=2&sign=3"
        return self.event("message_file", id=file_id, type="image", belongs_to="assistant", url=url)

    def fail(self) -> Iterator[Step]:
        """A message app's failed end: one error event."""
        error = provider_error(self.turn)
        self.status, self.error, self.stored_answer = "failed", error.message, ""
        yield Send(self.event("error", code=error.code, status=400, message=error.message))
        yield from self.tail()

    def tail(self) -> Iterator[Step]:
        """What may follow the terminal event."""
        if self.speaks:
            yield Send(self.tts(_AUDIO))
            yield Send(self.tts(""))
        if self.status == "failed" and self.turn.script.errorhang:
            yield Silence(pings=True)

    @property
    def speaks(self) -> bool:
        return self.turn.app.speaks or self.turn.script.tts

    def tts(self, audio: str) -> Event:
        return self.event("tts_message" if audio else "tts_message_end", audio=audio)

    def interludes(self, count: int) -> Iterator[Step]:
        """Events that may come between two tokens and mean nothing to most clients."""
        if self.turn.script.unknown and count % 2 == 1:
            yield Send(self.event("weather_report", data={"answer": "not for you", "list": [1, None]}, answer="no"))
        if self.speaks and count % 5 == 4:
            yield Send(self.tts(_AUDIO))

    def message_reply(self) -> BlockingReply:
        """The blocking reply of chat, chatflow and completion."""
        turn = self.turn
        if self.status == "failed":
            error = provider_error(turn, blocking=True)
            message = error.message if turn.app.mode != "advanced-chat" else f"Run failed: {error.message}"
            return BlockingReply(400, {"code": error.code, "message": message, "status": 400})
        conversation = {} if turn.app.mode == "completion" else {"conversation_id": turn.conversation_id}
        return BlockingReply(
            200,
            {
                "event": "message",
                "task_id": turn.task_id,
                "id": turn.message_id,
                "message_id": turn.message_id,
                **conversation,
                "mode": turn.app.mode,
                "answer": self.answer if self.replaced_answer is None else self.replaced_answer,
                "metadata": metadata_of(turn, self.usage()),
                "created_at": turn.created_at,
            },
        )


def new_id() -> str:
    return str(uuid4())
