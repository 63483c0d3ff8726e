"""Each tag is told from every text that only looks like it, and from its own beginnings."""

from __future__ import annotations

import pytest

from gateway.exchange.thoughts.think_tags import (
    DETAILS,
    DETAILS_END,
    LONGEST_TAG,
    THINK,
    THINK_AT_LINE_END,
    THINK_END,
    THINK_WITHIN_LINE,
    Tag,
)

DIFY_0_15 = '<details style="color:gray;background-color: #f8f8f8;" open> <summary> Thinking... </summary>'


@pytest.mark.parametrize(
    ("tag", "text", "length"),
    [
        (THINK, "<think>", 7),
        (THINK, "<think>hm", 7),
        (THINK, "<THINK>", 7),
        (THINK, '<think lang="en">x', 17),
        (THINK, "<thinker>", 0),
        (THINK, "<think<b>", 0),
        (THINK, "<table>", 0),
        (THINK_END, "</think>x", 8),
        (THINK_END, "</Think >x", 9),
        (THINK_END, "</thinking>", 0),
        (THINK_AT_LINE_END, "<think>\nhm", 7),
        (THINK_AT_LINE_END, "<think> \r\nhm", 7),
        (THINK_AT_LINE_END, "<think> hm\n", 0),
        (THINK_WITHIN_LINE, "<think>hm</think> so", 7),
        (THINK_WITHIN_LINE, "<think>hm\n</think>", 0),
        (THINK_WITHIN_LINE, "<think>a<b></think>", 0),
        (DETAILS, DIFY_0_15 + "hm", len(DIFY_0_15)),
        (DETAILS, "<details><summary>Thinking</summary>", 36),
        (DETAILS, "<details><summary>More</summary>", 0),
        (DETAILS_END, "</details>", 10),
    ],
)
def test_what_is_a_tag(tag: Tag, text: str, length: int) -> None:
    assert tag.length(text) == length


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (THINK, '<think lang="en">'),
        (THINK_AT_LINE_END, "<think>  \n"),
        (THINK_WITHIN_LINE, "<think>hm</think>"),
        (THINK_END, "</think >"),
        (DETAILS, DIFY_0_15),
        (DETAILS_END, "</details>"),
    ],
)
def test_a_beginning_waits_for_its_end(tag: Tag, text: str) -> None:
    for cut in range(len(text)):
        assert tag.length(text[:cut]) is None, text[:cut]
    assert tag.length(text)


def test_nothing_waits_for_ever() -> None:
    for tag in (THINK, THINK_AT_LINE_END, THINK_WITHIN_LINE, THINK_END, DETAILS, DETAILS_END):
        for beginning in ("<think " + "x" * LONGEST_TAG, "<think>" + "x" * LONGEST_TAG, "</think" + " " * LONGEST_TAG):
            assert tag.length(beginning) in (0, 7)
