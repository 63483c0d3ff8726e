"""Cuts fall between what a reader takes for characters, wherever one asks for them."""

from __future__ import annotations

import time

import pytest
import regex  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from gateway.policy.graphemes import cut, last_cluster, may_grow

CLUSTERS = [
    "a",
    "e\u0301",  # combining mark
    "Z\u0351\u036b\u0343\u036a",  # many of them
    "\r\n",
    "👩‍👩‍👧‍👦",  # family: joined with ZWJ
    "🏳️‍🌈",
    "👍🏽",  # skin tone
    "❤️",  # variation selector
    "1️⃣",  # keycap
    "🇩🇪",  # flag: two letters
    "🏴󠁧󠁢󠁳󠁣󠁴󠁿",  # Scotland: tags
    "한",  # Hangul, composed
    "\u1112\u1161\u11ab",  # and not
    "กำ",  # Thai: sara am
    "น้ำ",
    "क्षि",  # Hindi conjunct
    "ক্ষ",  # Bengali
    "ண்",  # Tamil
    "人",
    "\u0600\u0661",  # Arabic number sign before its number
]
# Code points of every kind that the rules name.
ODD = (
    "a \r\n\x01\u0300\u034f\u0600\u0903\u0915\u0937\u094d\u093c\u0e01\u0e33\u1100\u1160\u11a8\uac00\uac01\u200b\u200c"
    "\u200d\ufe0f\u20e3人😀❤👩👧🏽🏴\U000e0067\U000e007f🇩🇪\ud83d"
)


def boundaries(text: str) -> list[int]:
    """By the whole text, from its start."""
    return [0, *(match.end() for match in regex.finditer(r"\X", text))]


@pytest.mark.parametrize("cluster", CLUSTERS, ids=ascii)
@pytest.mark.parametrize("neighbour", ["x", "人", "👩", "क"])
def test_a_cluster_is_never_cut(cluster: str, neighbour: str) -> None:
    text = neighbour + cluster + neighbour
    for size in range(1, len(text)):
        assert cut(text, 0, size) in (1, 1 + len(cluster), len(text))
        assert cut(text, 0, size) >= size
    assert cut(text, 0, 1) == 1
    assert cut(text, 0, 2) == 1 + len(cluster)


def test_two_flags_are_two_clusters() -> None:
    assert [cut("🇩🇪🇫🇷🇮🇹", 0, size) for size in range(1, 7)] == [2, 2, 4, 4, 6, 6]
    assert cut("🇩🇪🇫🇷🇮🇹", 2, 1) == 4


@given(st.lists(st.sampled_from(ODD), max_size=100).map("".join), st.integers(1, 110), st.data())
def test_a_cut_is_the_next_boundary(text: str, size: int, data: st.DataObject) -> None:
    whole = boundaries(text)
    start = data.draw(st.sampled_from(whole))
    end = cut(text, start, size)
    assert end in whole
    if size <= 64:
        assert end == min([place for place in whole if place >= start + size], default=len(text))
    else:
        assert end >= min(start + size, len(text))


@given(st.lists(st.sampled_from(ODD), min_size=1, max_size=200).map("".join), st.data())
def test_the_last_cluster_is_found(text: str, data: st.DataObject) -> None:
    whole = boundaries(text)
    assert last_cluster(text, data.draw(st.sampled_from(whole[:-1]))) == whole[-2]


@pytest.mark.parametrize("text", ["人" * 1_000_000, "a" * 1_000_000, "नमस्ते " * 150_000], ids=["zh", "en", "hi"])
def test_a_cut_far_away_costs_no_more_than_a_near_one(text: str) -> None:
    began = time.perf_counter()
    for _ in range(100):
        cut(text, 0, 900_000)
        last_cluster(text, 0)
    assert time.perf_counter() - began < 0.5  # cluster by cluster it takes 0.1 s each


@pytest.mark.parametrize("text", ["e", "3", "人", "👩", "न", "👩\u200d", "e\u0301"])
def test_more_may_join(text: str) -> None:
    assert may_grow("x. " + text)


@pytest.mark.parametrize("text", [".", " ", "\n", "!"])
def test_no_mark_is_awaited(text: str) -> None:
    assert not may_grow("x" + text)
