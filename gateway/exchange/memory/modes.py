"""How a client's history reaches Dify: one file per memory mode, one row per number an operator can set."""

from __future__ import annotations

from typing import Protocol

from gateway.exchange.memory.prompt_history import PromptHistory
from gateway.exchange.memory.stateless import Stateless
from gateway.exchange.turn import Prompt, Turn


class Memory(Protocol):
    """One way to carry a conversation on. Holds nothing of a turn, so one object serves all of them."""

    @property
    def meaning(self) -> str:
        """What an operator gets who chooses it, in a line."""

    def recall(self, turn: Turn) -> Prompt:
        """The text for Dify and the conversation that it belongs to."""


# A mode that writes into the answer (2: the conversation's id, invisible in its text) will need `feed` and `finish`
# over the answer's text, kept per turn; these two have nothing to say there.
MEMORY_MODES: dict[int, Memory] = {
    0: Stateless(),
    1: PromptHistory(),
}
