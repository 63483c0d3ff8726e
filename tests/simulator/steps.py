"""What an answer is made of before it meets a clock or a socket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.simulator.apps import App
from tests.simulator.script import Script
from tests.simulator.versions import VersionProfile

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Send:
    """One event; `tokens` says how many of the answer's tokens are in it."""

    event: Event
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class SendPing:
    """A ping outside the rhythm: the one that opens a flow's stream."""


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing more until somebody stops the run, with or without pings."""

    pings: bool


@dataclass(frozen=True, slots=True)
class AwaitForm:
    """The run is paused: its streams end, and it goes on when somebody answers its form."""


@dataclass(frozen=True, slots=True)
class Break:
    """The connection ends here: "drop" (FIN without the last chunk), "rst", or "eof" (a clean end)."""

    how: str


Step = Send | SendPing | Wait | Silence | AwaitForm | Break


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the model is sent it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Everything an answer depends on."""

    profile: VersionProfile
    app: App
    script: Script
    user: str
    end_user_id: str
    query: str
    inputs: Mapping[str, Any]
    task_id: str
    message_id: str  # of a workflow: unused
    conversation_id: str  # of completion and workflow: unused
    workflow_run_id: str
    workflow_id: str
    app_id: str
    created_at: int
    base_url: str
    files: tuple[Mapping[str, Any], ...] = ()
    history: tuple[Message, ...] = ()
    first_turn: bool = True
    auto_generate_name: bool = True
    run_number: int = 1
    dialogue_count: int = 0
