"""What lies between the events as Dify's half reads them and the events that a client is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.exchange.answer import AnswerEvent
from gateway.exchange.hold_back import HoldBackStage
from gateway.exchange.reasoning import ReasoningStage
from gateway.exchange.stop_sequences import CutStage, StopSequences, TextLimit
from gateway.exchange.turn import Turn


class Stage(Protocol):
    """One step on an answer's way: a batch of events in, what can be told of them out.

    Finished or Failed is the last event of an answer, so on it a stage tells what it has held back. A stage that
    changes the text changes the settled text of Finished alike. One that lets an answer end early gives Finished
    itself; nothing comes after that.
    """

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        """Take the next batch; the result may be the same list, or empty."""


def answer_stages(turn: Turn) -> Sequence[Stage]:
    """The steps for the answer to `turn`, in order; none for what the turn does not ask for."""
    stages: list[Stage] = [ReasoningStage(turn.reasoning)]
    if turn.hold_back:
        stages.append(HoldBackStage())
    if turn.stop:
        stages.append(CutStage(lambda: StopSequences(turn.stop)))
    if turn.max_characters is not None:
        limit = turn.max_characters
        stages.append(CutStage(lambda: TextLimit(limit)))
    return stages
