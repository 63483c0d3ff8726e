"""JSON as models write it."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.exchange.json_answers.json_text import JsonText, read_json, read_strictly, write_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = st.lists(VALUES) | st.dictionaries(st.text(), VALUES)


def scan(text: str, size: int) -> tuple[str, str, bool]:
    """What belongs to the value, what follows, and whether the value is complete."""
    json_text, pieces, rest = JsonText(), "", ""
    for start in range(0, len(text), size):
        piece, behind = json_text.feed(text[start : start + size])
        pieces, rest = pieces + piece, rest + behind
    return pieces, rest, json_text.complete


@given(CONTAINERS, st.integers(1, 9), st.sampled_from([None, 2]))
@settings(max_examples=150, deadline=None)
def test_good_json_passes_unchanged_and_ends_where_it_ends(value: object, size: int, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    assert scan(text + ' and {"more": ]', size) == (text, ' and {"more": ]', True)


@given(CONTAINERS, st.data())
@settings(max_examples=150, deadline=None)
def test_what_would_end_it_is_known_everywhere(value: object, data: st.DataObject) -> None:
    text = json.dumps(value)
    json_text = JsonText()
    piece, _ = json_text.feed(text[: data.draw(st.integers(1, len(text)))])
    assert scan(piece + json_text.ending() + "x", 1000) == (piece + json_text.ending(), "x", True)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("written", "strict"),
    [
        ('{"a": "two\nlines\tand \x01"}', '{"a": "two\\nlines\\tand \\u0001"}'),
        (r'{"a": "\d+\s \'x\' C:\Users"}', r"""{"a": "\\d+\\s 'x' C:\\Users"}"""),
        (r'{"a": "\\ \" \/ \u00e9"}', r'{"a": "\\ \" \/ \u00e9"}'),
        ('{"a": "\\\n"}', '{"a": "\\\\\\n"}'),
        ('{"a": "}]"}', '{"a": "}]"}'),
    ],
)
def test_sloppy_strings_are_put_right_on_their_way(written: str, strict: str, size: int) -> None:
    assert scan(written, size) == (strict, "", True)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("written", "strict"),
    [
        ('{"a": [1, 2,], "b": {"c": 3,\n},}', '{"a": [1, 2], "b": {"c": 3\n}}'),
        ('{"a": True, "b": [None, False,\n ]}', '{"a": true, "b": [null, false\n ]}'),
        ('{"a": "True,]", "b": -1.5e3 , "c": true}', '{"a": "True,]", "b": -1.5e3 , "c": true}'),
        ("{'a': 'True,]', 'b': [1,]}", "{'a': 'True,]', 'b': [1,]}"),  # left to the library
    ],
)
def test_commas_too_many_and_words_of_python_are_put_right_on_their_way(written: str, strict: str, size: int) -> None:
    assert scan(written + " x", size) == (strict, " x", True)


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        ('{"a": [{"b": "x', '"}]}'),
        ("[1, [2", "]]"),
        ("{}", ""),
        ('["a"', "]"),
        ('["a", ', "]"),
        ("[tru", "tru]"),
        ("[None", "null]"),
    ],
)
def test_an_open_value_knows_its_ending(text: str, ending: str) -> None:
    json_text = JsonText()
    json_text.feed(text)
    assert json_text.ending() == ending


# --- reading and writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1}', {"a": 1}),
        ("{'a': True, b: None,}", {"a": True, "b": None}),
        ('{"a": "unfinished', {"a": "unfinished"}),
        ('{"a": "he said "hi" there"}', {"a": 'he said "hi" there'}),
        ("[1, 2", [1, 2]),
    ],
)
def test_broken_json_is_repaired(text: str, value: object) -> None:
    assert read_json(text) == value


def test_nothing_is_lost_of_a_string_in_three_quotes() -> None:
    with pytest.raises(ValueError, match="three quotes"):
        read_json('{"path": "a", "content": """x = "1"\ny"""}')


@pytest.mark.parametrize("text", ["", "words", "5", '"text"', "[" * 100_000, '{"a' * 30_000, "NaN"])
def test_what_is_no_object_and_no_array_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_json(text)


@pytest.mark.parametrize("text", ['{"' + "]]1{a" * 800, "a]-\\{“" * 600, "[" + '-"' * 2000, "{.}true\n." * 400])
def test_garbage_that_the_library_ponders_on_for_seconds_is_given_up(text: str) -> None:
    with pytest.raises(ValueError, match=r"beyond repair|neither"):
        read_json(text)


@given(st.text(max_size=60) | st.text("{}[]\"':,\\ tn1-", max_size=60))
@settings(max_examples=200, deadline=None)
def test_garbage_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        read_json(text)
    json_text = JsonText()
    if text[:1] in ("{", "["):
        json_text.feed(text)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{'a': 1}", "", "[1,]", "[" * 100_000])
def test_a_strict_reader_takes_only_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_strictly(text)


def test_written_json_is_compact_and_can_be_sent() -> None:
    assert write_json({"a": [1, "é"], "b": "\ud83d"}) == '{"a":[1,"é"],"b":"?"}'
    with pytest.raises(ValueError, match="Out of range"):
        write_json([float("inf")])
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="deep"):
        write_json(nested)  # type: ignore[arg-type]
