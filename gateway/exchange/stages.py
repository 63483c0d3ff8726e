"""What lies between the events as Dify's half reads them and the events that a client is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.exchange.answer import AnswerEvent, TextDelta
from gateway.exchange.forms.form import Form
from gateway.exchange.forms.form_stage import FormStage
from gateway.exchange.hold_back import HoldBackStage
from gateway.exchange.json_answers.structured_output import StructuredOutput
from gateway.exchange.stop_sequences import CutStage, StopSequences, TextLimit
from gateway.exchange.thoughts.reasoning import Reasoning, ReasoningStage
from gateway.exchange.tool_calling.call_syntax import CallSyntax
from gateway.exchange.tool_calling.tool_call_stage import ToolCallStage
from gateway.exchange.turn import Turn


class Stage(Protocol):
    """One step on an answer's way: a batch of events in, what can be told of them out.

    Finished or Failed is the last event of an answer, so on it a stage tells what it has held back. A stage that
    changes the text changes the settled text of Finished alike. One that lets an answer end early gives Finished
    itself; nothing comes after that. One that cannot use the answer gives Rejected instead of Finished: that is the end
    then, or the events of a second answer follow, which stages treat as more of the first.
    """

    def lets_pass(self, text: str) -> bool:
        """Whether a batch that is this text alone goes on as it is; it is taken then, and `feed` must not get it."""

    def feed(self, events: list[AnswerEvent]) -> list[AnswerEvent]:
        """Take the next batch; the result may be the same list, or empty."""


def pass_stages(stages: Sequence[Stage], events: list[AnswerEvent]) -> list[AnswerEvent]:
    """What is left of a batch behind all the stages."""
    text = only.text if len(events) == 1 and type(only := events[0]) is TextDelta else None
    for stage in stages:
        if text is None or not stage.lets_pass(text):  # nearly every text passes all of them
            text = None
            events = stage.feed(events)
    return events


def answer_stages(
    turn: Turn, syntax: CallSyntax, new_call_id: Callable[[int], str], form_call_id: Callable[[Form], str]
) -> Sequence[Stage]:
    """The steps for the answer to `turn`, in order; none for what the turn does not ask for.

    `new_call_id` gives the id of the answer's call number 0, 1, …; `form_call_id` that of one that shows a form.
    """
    inline = turn.reasoning is Reasoning.INLINE
    # A parser can do nothing with thoughts in the text, and a call that a model only thinks of is none.
    apart = inline and (turn.response_format is not None or turn.tool_choice is not None)
    stages: list[Stage] = [ReasoningStage(Reasoning.FIELD if apart else turn.reasoning)]
    if turn.hold_back:
        stages.append(HoldBackStage())
    if turn.tool_choice:
        stages.append(ToolCallStage(turn.tool_choice, syntax, new_call_id, turn.stream))
    if apart and turn.response_format is None:
        stages.append(ReasoningStage(Reasoning.INLINE))
    if turn.response_format:
        stages.append(StructuredOutput(turn.response_format, turn.stream))
    if turn.stop:
        stages.append(CutStage(lambda: StopSequences(turn.stop)))
    if turn.max_characters is not None:
        limit = turn.max_characters
        stages.append(CutStage(lambda: TextLimit(limit)))
    stages.append(FormStage(turn, form_call_id))
    return stages
