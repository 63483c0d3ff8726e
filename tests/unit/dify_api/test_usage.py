"""Which of Dify's counts is believed."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.dify_api.usage import UsageCount, read_usage
from gateway.exchange.answer import Usage


def told(prompt: Any, completion: Any, total: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}


def node(identity: str | None, usage: Any, place: str = "outputs") -> dict[str, Any]:
    return {"id": identity, "outputs": None, "process_data": None, place: {"usage": usage}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (told(13, 3, 16), Usage(13, 3, 16)),
        (told(13, 3, 20), Usage(13, 3, 20)),
        (told(38, 4, 0), Usage(38, 4, 42)),
        (told(38, 4, None), Usage(38, 4, 42)),
        (told(0, 0, 0), Usage(0, 0, 0)),
        (told(None, None, 7), Usage(0, 0, 7)),
        (told("13", 3.0, True), None),
        (told(-1, 3, 16), Usage(0, 3, 16)),
        ({}, None),
        (None, None),
        ([1], None),
    ],
)
def test_only_counts_are_read(usage: Any, expected: Usage | None) -> None:
    assert read_usage(usage) == expected


@pytest.mark.parametrize(
    ("answer", "nodes", "total", "expected"),
    [
        pytest.param(None, [], None, None, id="nothing told"),
        pytest.param(told(13, 3, 16), [], None, Usage(13, 3, 16), id="chat"),
        pytest.param(told(13, 3, 16), [node("a", told(13, 3, 16))], 16, Usage(13, 3, 16), id="chatflow"),
        pytest.param(
            told(90, 18, 108),
            [node("a", told(15, 3, 18)), node("b", told(15, 3, 18)), node("c", told(15, 3, 18))],
            54,
            Usage(45, 9, 54),
            id="an iteration counted twice",
        ),
        pytest.param(told(0, 0, 0), [node("a", told(15, 3, 18))], 18, Usage(15, 3, 18), id="message_end says 0"),
        pytest.param(None, [node("a", told(15, 3, 18))], 18, Usage(15, 3, 18), id="message_end lost, or workflow"),
        pytest.param(
            None,
            [node("a", told(9, 1, 10)), node("a", told(9, 1, 10)), node(None, told(2, 2, 4))],
            14,
            Usage(11, 3, 14),
            id="a node told twice",
        ),
        pytest.param(
            None,
            [node("a", told(9, 1, 10), "process_data"), node("b", told(2, 2, 4))],
            14,
            Usage(11, 3, 14),
            id="a parameter extractor",
        ),
        pytest.param(told(20, 4, 24), [node("a", told(9, 1, 10))], 99, Usage(20, 4, 24), id="the sums disagree"),
        pytest.param(told(0, 0, 0), [node("a", told(9, 1, 10))], 99, Usage(0, 0, 99), id="only a total"),
        pytest.param(None, [], 99, Usage(0, 0, 99), id="only a total, workflow"),
        pytest.param(told(0, 0, 0), [node("a", told(9, 1, 10))], 0, Usage(9, 1, 10), id="stopped after a node"),
        pytest.param(told(0, 0, 0), [], 0, Usage(0, 0, 0), id="stopped before any node"),
        pytest.param(None, [], 0, Usage(0, 0, 0), id="a workflow without a model"),
        pytest.param(None, [node("a", None), node("b", [])], None, None, id="nodes without usage"),
        pytest.param(None, [], "16", None, id="a total that is none"),
    ],
)
def test_the_likeliest_count_wins(answer: Any, nodes: list[dict[str, Any]], total: Any, expected: Usage | None) -> None:
    count = UsageCount()
    for data in nodes:
        count.add_node(data)
    if total is not None:
        count.add_run_total(total)
    if answer is not None:
        count.add_answer(answer)
    assert count.result() == expected


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("0.0000390", "0.0000390"),
        ("0E-7", "0"),
        ("1.5E-5", "0.000015"),
        (0.25, "0.25"),
        (3, "3"),
        ("free", None),
        ("NaN", None),
        ("-1", None),
        ("1E+999999", None),
        (True, None),
        (None, None),
    ],
)
def test_prices_are_plain_decimals(price: Any, expected: str | None) -> None:
    usage = read_usage({**told(13, 3, 16), "total_price": price, "currency": "USD"})
    assert usage == Usage(13, 3, 16, price=expected, currency=None if expected is None else "USD")


def test_nodes_prices_add_up_in_one_currency() -> None:
    def priced(price: Any, currency: str = "USD", **more: Any) -> dict[str, Any]:
        return {**told(1, 2, 3), "total_price": price, "currency": currency, **more}

    def total(*usages: dict[str, Any]) -> Usage | None:
        count = UsageCount()
        for number, usage in enumerate(usages):
            count.add_node(node(str(number), usage))
        return count.result()

    assert total(priced("0.1"), priced("0.02")) == Usage(2, 4, 6, price="0.12", currency="USD")
    assert total(priced("0.1"), priced("0.02", "EUR")) == Usage(2, 4, 6)
    assert total(priced("0.1"), told(1, 2, 3)) == Usage(2, 4, 6)
    cached = {"prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": {"reasoning_tokens": 2}}
    assert total(priced("1", **cached), priced("1", **cached)) == Usage(2, 4, 6, 2, 4, "2", "USD")
    assert total(priced("1", **cached), priced("1")) == Usage(2, 4, 6, None, None, "2", "USD")
