"""One Dify app: what its key opens, as /info and /parameters describe it."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from gateway.dify_api.file_rules import NO_LIMITS, SizeLimits
from gateway.exchange.hold_back import Moderation
from gateway.exchange.model import FileRules, InputField, Model
from gateway.exchange.smoothing import Smoothing
from gateway.exchange.thoughts.reasoning import Reasoning
from gateway.frozen import frozen


class AppMode(StrEnum):
    """Dify's app modes, in Dify's words (service API, 0.15 to 1.16)."""

    CHAT = "chat"
    AGENT_CHAT = "agent-chat"
    AGENT = "agent"  # the New Agent, 1.16
    ADVANCED_CHAT = "advanced-chat"  # chatflow
    COMPLETION = "completion"
    WORKFLOW = "workflow"

    def __init__(self, word: str) -> None:
        # Whether the user's text travels as `query`; other modes take it as one of their inputs.
        self.takes_query = word not in ("completion", "workflow")
        self.has_conversations = self.takes_query  # that Dify keeps for the app's users


@frozen
class AppKey:
    """One configured key and what the operator said about its app."""

    key: str = field(repr=False)
    base_url: str  # of Dify's service API, ends in /v1, no trailing slash
    mode: AppMode | None = None  # None: ask Dify
    query_variable: str | None = None  # completion, workflow: the input that takes the user's text
    output_variable: str | None = None  # workflow: the output that is the answer
    system_variable: str | None = None  # the input that takes the system text
    memory_mode: int | None = None  # None: CONVERSATION_MEMORY_MODE
    smoothing: Smoothing | None = None  # None: SMOOTH_STREAMING
    reasoning: Reasoning | None = None  # None: REASONING
    moderation: Moderation | None = None  # None: MODERATION
    host: str = field(init=False, repr=False, compare=False)  # of base_url: scheme, name and port

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", "/".join(self.base_url.split("/", 3)[:3]))

    @property
    def hint(self) -> str:
        """What may be shown of the key: its last four characters."""
        return f"…{self.key[-4:]}"


@frozen
class App:
    """An app as Dify described it at the last refresh."""

    key: AppKey
    model_id: str  # unique in a snapshot, stable until restart
    name: str
    mode: AppMode
    description: str = ""
    inputs: tuple[InputField, ...] = ()
    created: int = 0  # Unix seconds: when the gateway first saw it
    files: FileRules | None = None  # None: its messages carry no files, though its inputs may
    sizes: SizeLimits = NO_LIMITS
    moderated: bool = False  # by sensitive-word rules of its own
    cites: bool = True  # shows what of its knowledge an answer rests on
    keeps_first_inputs: bool = False  # a conversation goes on with the inputs of its first turn (0.15)

    @property
    def takes_files(self) -> bool:
        """Whether it can be given any file at all."""
        return self.files is not None or any(field.files for field in self.inputs)

    def model(self) -> Model:
        """The app as an entry of the model list."""
        return Model(self.model_id, self.created, self.name, self.mode, self.description, self.inputs, self.files)
