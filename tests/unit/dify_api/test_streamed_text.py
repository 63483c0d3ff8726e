"""The fingerprint finds out how a settled text relates to the deltas, without keeping them."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dify_api.streamed_text import StreamedText, mend_surrogates

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too


def streamed(*deltas: str) -> StreamedText:
    text = StreamedText()
    for delta in deltas:
        text.add(delta)
    return text


@pytest.mark.parametrize(
    ("deltas", "settled", "missing"),
    [
        (["w1 ", "w2"], "w1 w2", ""),
        (["w1 ", "w2"], "w1 w2 and more", " and more"),
        (["w1 ", "w2 "], "w1 w2", ""),
        (["w1 w2\n", "\n \r\n"], "w1 w2", ""),
        (["w1 w2"], "w1 w2 \n", ""),
        (["w1 w2 \n"], "w1 w2\n ", ""),
        ([" w1"], "w1", None),
        (["w1 w2"], "w1", None),
        (["w1 "], "w1more", None),
        (["w1 w2"], "w1 w3", None),
        (["w1"], "", None),
        ([], "all of it", "all of it"),
        ([], "  ", "  "),
        ([], "", ""),
        (["  "], "", ""),
        (["\ud83d", "\ude00"], "😀", ""),
        (["😀"], "\ud83d\ude00!", "!"),
        (["é"], "e\u0301", None),
    ],
)
def test_a_settled_text_is_compared(deltas: list[str], settled: str, missing: str | None) -> None:
    assert streamed(*deltas).missing_from(settled) == missing


@given(st.lists(ANY_TEXT, max_size=10), ANY_TEXT)
def test_the_deltas_are_always_the_beginning_of_their_continuation(deltas: list[str], more: str) -> None:
    text = StreamedText()
    shown = "".join(map(text.add, deltas)) + text.end()
    assert len(shown) == text.length
    shown.encode()  # valid Unicode
    more = mend_surrogates(more)
    missing = text.missing_from(shown + more)
    assert missing == (more if more.strip() or not shown else "")


@given(st.text(), st.lists(st.integers(0, 200), max_size=8))
def test_split_characters_are_joined_again(text: str, cuts: list[int]) -> None:
    units = text.encode("utf-16-le")
    ends = sorted(min(cut * 2, len(units)) for cut in cuts)
    halves = [units[start:end] for start, end in zip([0, *ends], [*ends, len(units)], strict=True)]
    reader = StreamedText()
    shown = [reader.add(half.decode("utf-16-le", "surrogatepass")) for half in halves]
    assert "".join(shown) + reader.end() == text


@pytest.mark.parametrize(
    ("deltas", "text", "begins"),
    [
        (["w1 ", "w2"], "", True),
        (["w1 ", "w2"], "w1", True),
        (["w1 ", "w2"], "w1 w2", True),
        (["w1 ", "w2"], "w1 w2 w3", False),
        (["w1 ", "w2"], "w2", False),
        ([], "", True),
        ([], "w1", False),
        (["\ud83d", "\ude00!"], "😀", True),
        (["x" * 4000, "y" * 1000], "x" * 4000 + "y" * 96, True),
        (["x" * 4000, "y" * 1000], "x" * 4000 + "y" * 97, False),  # true, but that much is not kept
    ],
)
def test_what_the_deltas_go_beyond_is_seen(deltas: list[str], text: str, begins: bool) -> None:
    assert streamed(*deltas).begins_with(text) is begins


@given(st.lists(ANY_TEXT), st.integers(0, 20), st.text(max_size=5))
def test_deltas_begin_with_every_beginning_of_theirs_and_with_nothing_else(
    deltas: list[str], cut: int, other: str
) -> None:
    text = StreamedText()
    shown = "".join(map(text.add, deltas))
    assert text.begins_with(shown[:cut])
    assert text.begins_with(other) is shown.startswith(other)
    assert text.missing_from(shown) is not None  # looking changes nothing


def test_a_half_without_its_other_half_is_replaced() -> None:
    text = StreamedText()
    assert [text.add("a\ud83d"), text.add("b"), text.add("\ude00c"), text.add("\ud83d"), text.end()] == [
        "a",
        "\ufffdb",
        "\ufffdc",
        "",
        "\ufffd",
    ]


def test_batches_do_not_matter() -> None:
    words = [f"w{number} " for number in range(5000)] + ["x" * 70_000, "\n" * 70_000]
    text = streamed(*words)
    assert text.length == len("".join(words))
    assert text.missing_from("".join(words) + "more") == "more"
    assert text.missing_from("".join(words).strip()) == ""
    assert text.missing_from("".join(words).strip()[:-1]) is None


def test_a_long_answer_is_not_kept() -> None:
    text = StreamedText()
    for _ in range(100):
        text.add("x" * 60_000)
    assert sum(map(sys.getsizeof, text._pieces)) < 200_000
