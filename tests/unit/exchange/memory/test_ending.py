"""How an answer ends, and whether a program is going to parse it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.memory.ending import LAST_LINE, LONGEST_JSON, Ending

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


def ending_of(text: str, size: int = 7) -> Ending:
    ending = Ending()
    for at in range(0, len(text), size):
        ending.feed(text[at : at + size])
    return ending


@given(VALUES, st.sampled_from(["", " ", "\n", "\r\n\t "]), st.integers(1, 50), st.booleans(), st.booleans())
def test_json_is_json_in_any_pieces(value: object, around: str, size: int, indented: bool, ascii_only: bool) -> None:
    text = json.dumps(value, indent=2 if indented else None, ensure_ascii=ascii_only)
    assert ending_of(around + text + around, size).is_json()
    assert ending_of(f"```json\n{text}\n```{around}", size).is_json()


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "[1] says so, and so does [2]",
        "[1], [2]",
        "{name} is a variable, and so is {other}",
        "42 apples",
        "1. First\n2. Second",
        "true enough",
        "-",
        '"Yes", she said',
        '{"a": 1} {"b": 2}',
        "{'a': 1}",
        "{}, []",
        "```python\nprint({})\n```",
        "```json\n{}\n```\nThat was it.",
        "Here it is:\n```json\n{}\n```",
        "[" * 100_000,
        "Hello",
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_text_for_people_is_none(text: str, size: int) -> None:
    assert not ending_of(text, size).is_json()


@pytest.mark.parametrize("text", ["[" + "1, " * LONGEST_JSON + "1]", '{"a": "' + "x" * LONGEST_JSON + '"}\n'])
def test_of_a_very_long_answer_the_ends_are_looked_at(text: str) -> None:
    ending = ending_of(text, 4000)
    assert ending.is_json()
    assert not ending_of(text + "x", 4000).is_json()
    assert len(ending.text) < 4 * LAST_LINE


@pytest.mark.parametrize("begin", ["Text", '{"text": "'])
def test_a_long_answer_is_not_kept(begin: str) -> None:
    ending = ending_of(begin + "x" * 2_000_000, 1000)
    assert len(ending.text) < 4 * LAST_LINE


@given(st.text(max_size=30), st.integers(1, 3 * LAST_LINE), st.integers(1, 3 * LAST_LINE), st.integers(1, 500))
def test_the_last_line_is_there(first: str, rest: int, line: int, size: int) -> None:
    text = f"{first}{'y ' * rest}\n{'z' * line}"
    assert ending_of(text, size).text[-LAST_LINE:] == text[-LAST_LINE:]
