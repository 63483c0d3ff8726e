"""How a client's history reaches Dify: one file per memory mode, one row per number an operator can set."""

from __future__ import annotations

from typing import Protocol

from gateway.exchange.memory.hidden_id import HiddenId
from gateway.exchange.memory.named import recall_chat, recall_conversation
from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.stateless import Stateless
from gateway.exchange.memory.thread import Scope, Thread
from gateway.exchange.turn import Turn


class Memory(Protocol):
    """One way to carry a conversation on. Holds nothing of a turn, so one object serves all of them."""

    @property
    def meaning(self) -> str:
        """What an operator gets who chooses it, in a line."""

    def recall(self, turn: Turn, scope: Scope) -> Thread:
        """The turn's place in its conversation. Raises InvalidRequest when there is no text to ask."""


MEMORY_MODES: dict[int, Memory] = {
    0: Stateless(),
    1: PromptHistory(),
    2: HiddenId(),
}

HIDDEN = 2


def recall(turn: Turn, scope: Scope, mode: int) -> Thread:
    """The turn's place in its conversation: what the client names goes before what its history tells.

    Raises InvalidRequest where there is no text to ask, or no conversation to go on with.
    """
    if scope.conversation_id is not None:
        return recall_conversation(turn, scope, scope.conversation_id)
    if scope.is_chat:
        return recall_chat(turn, scope)
    return MEMORY_MODES[mode].recall(turn, scope)
