"""Tags, and what may become one, in a text that may go on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exchange.tool_calling.tag_search import fence_before, find_tag, open_fence

TAGS = ("<call_x>", "</call_x>")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", (0, "")),
        ("text", (4, "")),
        ("a <b> c", (7, "")),
        ("a <call_x> b </call_x>", (2, "<call_x>")),
        ("a </call_x><call_x>", (2, "</call_x>")),
        ("a <call_y> <", (11, "")),
        ("a <", (2, "")),
        ("a </call_", (2, "")),
        ("a <call_x", (2, "")),
        ("a <call_x ", (10, "")),
        ("<<call_x", (1, "")),
    ],
)
def test_a_tag_or_its_beginning_is_found(text: str, found: tuple[int, str]) -> None:
    assert find_tag(text, TAGS) == found


@given(st.lists(st.sampled_from([*"<>/cal_x", "<call_x>", "</call_x>", " "])).map("".join), st.data())
@settings(max_examples=200, deadline=None)
def test_nothing_before_a_beginning_ever_becomes_a_tag(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    settled, tag = find_tag(text[:cut], TAGS)
    whole, _ = find_tag(text, TAGS)
    assert whole >= settled if not tag else whole == settled


@pytest.mark.parametrize(
    ("text", "begin"),
    [("```json\n", 0), ("x ```\n  \n", 2), ("````\n", 1), ("```json", 7), ("``\n", 3), ("```a b\n", 7), ("", 0)],
)
def test_a_fence_in_front_of_a_tag_is_found(text: str, begin: int) -> None:
    assert fence_before(text + "<call_x>", len(text)) == begin


@pytest.mark.parametrize("text", ["`", "``", "```", "```json", "```json ", "```json\n", "```\n   "])
def test_what_may_open_a_fence_is_found_at_the_end(text: str) -> None:
    assert open_fence(f"a {text}") == 2
    assert open_fence(f"{text}.") == len(text) + 1
