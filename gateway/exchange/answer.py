"""What an app answers, piece by piece, in neutral words.

An answer is a list of events in this order: at most one Started, any number of deltas, then exactly one Finished or
Failed. Nothing follows Finished or Failed.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from gateway.errors import GatewayError
from gateway.exchange.citation import Citation
from gateway.exchange.file_link import FileLink
from gateway.exchange.forms.form import Form
from gateway.frozen import frozen


@frozen
class Started:
    """Dify has begun a run. Ids are Dify's own and keep its names; those that a mode lacks are None."""

    task_id: str
    conversation_id: str | None = None
    message_id: str | None = None
    workflow_run_id: str | None = None


@frozen
class TextDelta:
    """More of the answer's text; never empty."""

    text: str


@frozen
class ReasoningDelta:
    """More of what the model thought, or of what the app did for the answer; never empty."""

    text: str
    begins: bool = False  # a new thought: what was thought before it has ended


@frozen
class ToolCallDelta:
    """More of a call of the client's tools. The first delta of an index has the call's id and the tool's name."""

    index: int  # 0, 1, … in the order of their beginnings
    arguments: str  # more of the JSON text
    id: str | None = None
    name: str | None = None


class FinishReason(StrEnum):
    """Why the text ends where it ends (OpenAI's words)."""

    STOP = "stop"
    LENGTH = "length"  # the model's limit, or the run was stopped from outside before its natural end
    CONTENT_FILTER = "content_filter"  # Dify's moderation replaced the text
    TOOL_CALLS = "tool_calls"  # the client is to run its tools


@frozen
class Usage:
    """Tokens as Dify counted them; never estimated here."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int | None = None  # of the prompt's
    reasoning_tokens: int | None = None  # of the completion's
    price: str | None = None  # a decimal number; 0 also where Dify knows no price of the model
    currency: str | None = None  # of the price: USD

    def plus(self, other: Usage) -> Usage:
        """What two runs took together; what is unknown of one of them is unknown of both."""
        price, currency = None, None
        if self.price is not None and other.price is not None and self.currency == other.currency:
            price, currency = format(Decimal(self.price) + Decimal(other.price), "f"), self.currency
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.total_tokens + other.total_tokens,
            _sum(self.cached_tokens, other.cached_tokens),
            _sum(self.reasoning_tokens, other.reasoning_tokens),
            price,
            currency,
        )


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


@frozen
class Finished:
    """The answer is whole.

    `text` is the answer as Dify settled it, where that differs from the deltas' concatenation (moderation, a node's
    retry, several workflow outputs); readers that have shown nothing yet use it instead. None: the deltas are right.
    """

    reason: FinishReason = FinishReason.STOP
    usage: Usage | None = None
    text: str | None = None
    files: tuple[FileLink, ...] = ()  # that the app made; the text has links to them
    citations: tuple[Citation, ...] = ()
    workflow_run_id: str | None = None  # which some versions tell later than Started
    questions: tuple[str, ...] = ()  # that could come next, where they were asked for
    form: Form | None = None  # the run is not over: it waits for a person's answer to this


@frozen
class Failed:
    """The answer ends in an error; text sent before it is not whole."""

    error: GatewayError


@frozen
class Rejected:
    """Instead of Finished, from a stage: the answer is over, and not what the client can use.

    The line may ask the app once more, in the same conversation; no client ever gets this event.
    """

    question: str
    error: GatewayError  # where it is not asked
    usage: Usage | None = None


@frozen
class AnswerStamp:
    """What tells one answer from all others, for every client that gets it."""

    id: str  # as the client sees it: chatcmpl-…
    created: int  # Unix seconds


def coalesced(events: list[AnswerEvent]) -> list[AnswerEvent]:
    """The same answer with texts that stand side by side made one: what waits together is sent together."""
    if len(events) < 2:
        return events
    made: list[AnswerEvent] = []
    texts: list[str] = []
    for event in events:
        if type(event) is TextDelta:
            texts.append(event.text)
            continue
        if texts:
            made.append(TextDelta("".join(texts)))
            texts = []
        made.append(event)
    return [*made, TextDelta("".join(texts))] if texts else made


AnswerEvent = Started | TextDelta | ReasoningDelta | ToolCallDelta | Finished | Failed | Rejected
