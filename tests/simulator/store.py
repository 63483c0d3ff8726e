"""The workspace's database: end users, conversations and uploaded files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.simulator.steps import Message


@dataclass(slots=True)
class StoredMessage:
    """One turn of a conversation."""

    id: str
    query: str
    inputs: dict[str, Any]
    created_at: int
    answer: str = ""
    status: str = "normal"  # or "error"
    error: str | None = None
    rating: str | None = None
    files: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    """Belongs to one user of one app."""

    id: str
    app_key: str
    user: str
    name: str
    inputs: dict[str, Any]
    introduction: str
    created_at: int
    updated_at: int
    messages: list[StoredMessage] = field(default_factory=list)

    def history(self) -> tuple[Message, ...]:
        """What the model is told of earlier turns; a failed or abandoned one leaves an empty answer."""
        pairs = ((Message("user", turn.query), Message("assistant", turn.answer.strip())) for turn in self.messages)
        return tuple(message for pair in pairs for message in pair)


@dataclass(frozen=True, slots=True)
class UploadedFile:
    id: str
    name: str
    size: int
    extension: str
    mime_type: str
    user: str
    app_key: str
    created_at: int
    content: bytes


class Store:
    """Everything that outlives a request."""

    def __init__(self) -> None:
        self.conversations: dict[str, Conversation] = {}
        self.files: dict[str, UploadedFile] = {}
        self._end_users: dict[tuple[str, str], str] = {}
        self._app_ids: dict[str, str] = {}
        self._run_numbers: dict[str, int] = {}

    def end_user_id(self, app_key: str, user: str) -> str:
        return self._end_users.setdefault((app_key, user), str(uuid4()))

    def app_id(self, app_key: str) -> str:
        return self._app_ids.setdefault(app_key, str(uuid4()))

    def next_run_number(self, app_key: str) -> int:
        number = self._run_numbers[app_key] = self._run_numbers.get(app_key, 0) + 1
        return number

    def conversation(self, conversation_id: str, app_key: str, user: str) -> Conversation | None:
        """Another user's or app's conversation does not exist."""
        found = self.conversations.get(conversation_id)
        return found if found and (found.app_key, found.user) == (app_key, user) else None

    def conversations_of(self, app_key: str, user: str) -> list[Conversation]:
        return [row for row in self.conversations.values() if (row.app_key, row.user) == (app_key, user)]

    def message(self, message_id: str, app_key: str, user: str) -> StoredMessage | None:
        rows = (message for row in self.conversations_of(app_key, user) for message in row.messages)
        return next((message for message in rows if message.id == message_id), None)


def now() -> int:
    """Dify's timestamps are whole seconds."""
    return int(time.time())
