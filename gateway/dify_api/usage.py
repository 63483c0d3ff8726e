"""Token counts from the places where Dify tells them, which differ by mode and version and do not always agree."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from gateway.exchange.answer import Usage

_LONGEST_PRICE = 30  # digits before or behind the point
_NOTHING = Usage(0, 0, 0)
_PRICED = (str, int, float)


class UsageCount:
    """Collects what one stream says about tokens and gives the count that is most likely right.

    Every number is Dify's own or a sum of Dify's own; nothing is estimated.
    """

    def __init__(self) -> None:
        self._answer: Usage | None = None  # message_end's
        self._run_total: int | None = None  # workflow_finished's
        self._nodes: Usage | None = None  # the sum over the nodes that called a model
        self._node_ids: set[str] = set()

    def add_answer(self, usage: Any) -> None:
        """Take message_end's metadata.usage."""
        self._answer = read_usage(usage)

    def add_run_total(self, total: Any) -> None:
        """Take workflow_finished's total_tokens."""
        self._run_total = _count(total)

    def add_node(self, data: dict[str, Any]) -> None:
        """Take a node_finished's data. LLM nodes tell in outputs, extractors and classifiers in process_data."""
        usage = read_usage(_at(data, "outputs", "usage")) or read_usage(_at(data, "process_data", "usage"))
        if usage is None:
            return
        execution = data.get("id")
        if isinstance(execution, str):
            if execution in self._node_ids:  # told twice
                return
            self._node_ids.add(execution)
        self._nodes = usage if self._nodes is None else self._nodes.plus(usage)

    def result(self) -> Usage | None:
        """The answer's usage; None if Dify told nothing."""
        answer, nodes, total = self._answer, self._nodes or _NOTHING, self._run_total
        # A flow's run total is right in 0.15 and 1.12, so a sum over nodes that meets it is right too. message_end is
        # not: 1.12 counts what iterations and loops used twice there, 0.15 says 0.
        if total is not None and nodes.total_tokens == total:
            return nodes
        if answer is not None and answer.total_tokens > 0:
            return answer
        # Dify told only a total, and how it splits cannot be known: the zeros stand for that. The total is what budgets
        # and dashboards add up, and dropping a true number because its parts are unknown would help nobody.
        if total:
            return Usage(prompt_tokens=0, completion_tokens=0, total_tokens=total)
        if nodes.total_tokens > 0:  # a stopped run says 0 although nodes had finished
            return nodes
        return answer


def read_usage(usage: Any) -> Usage | None:
    """Dify's usage object, None if it holds no count."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    if prompt is None and completion is None and total is None:
        return None
    prompt, completion = prompt or 0, completion or 0
    price, currency = _price(usage.get("total_price")), usage.get("currency")
    return Usage(
        prompt,
        completion,
        total or prompt + completion,  # 0.15's agents say a total of 0 next to right parts
        cached_tokens=_count(_at(usage, "prompt_tokens_details", "cached_tokens")),
        reasoning_tokens=_count(_at(usage, "completion_tokens_details", "reasoning_tokens")),
        price=None if price is None else f"{price:f}",
        currency=currency if price is not None and isinstance(currency, str) and currency else None,
    )


def _price(value: Any) -> Decimal | None:
    """Dify writes prices as decimals in strings ("0.0000390", "0E-7"), very old and patched ones as numbers."""
    if type(value) not in _PRICED:
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    if not price.is_finite() or price < 0 or abs(price.adjusted()) > _LONGEST_PRICE:
        return None
    return price if price else Decimal(0)


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _at(data: dict[str, Any], outer: str, inner: str) -> Any:
    value = data.get(outer)
    return value.get(inner) if isinstance(value, dict) else None
