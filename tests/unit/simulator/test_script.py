"""Directives: what a text makes of the next answer."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulator.script import (
    DIRECTIVES,
    Script,
    UnknownDirective,
    help_lines,
    markdown_table,
    parse_script,
    without_directives,
)

README = Path(__file__).parents[2] / "simulator" / "README.md"


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("no directives at all", Script()),
        ("hi [[n=3]]", Script(n=3)),
        ("[[n=50 delay=0.2 first=3]] hi", Script(n=50, delay=0.2, first=3.0)),
        ("[[ echo ]]", Script(echo=True)),
        ("[[fail=429 failafter=2]]", Script(fail="429", failafter=2)),
        ('say [[text="two words, a ]] and a \\"quote\\"\\n"]]', Script(text='two words, a ]] and a "quote"\n')),
        ("[[text=word]]", Script(text="word")),
        ("[[think]]", Script(think="whole")),
        ("[[think=split]]", Script(think="split")),
        ("[[drop]]", Script(drop=0)),
        ("[[drop=2\nsplit=1]]", Script(drop=2, split=1)),
        ("[[replay=1.12.1/chat_stream]]", Script(replay="1.12.1/chat_stream")),
    ],
)
def test_a_block_becomes_a_script(text: str, script: Script) -> None:
    assert parse_script(text) == script


def test_the_last_block_counts_so_that_a_resent_history_does_not() -> None:
    assert parse_script("user: a [[fail=500]]\nassistant: error\nuser: b [[n=2]]") == Script(n=2)


@pytest.mark.parametrize("text", ["[[1, 2], [3, 4]]", "if [[ -f x ]]; then", "a[[0]]", "[[]]", "[[n=3"])
def test_brackets_that_start_with_no_letter_are_only_text(text: str) -> None:
    assert parse_script(text) == Script()
    assert without_directives(text) == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[delai=1]]", "delai"),
        ("[[n=3 slow]]", "slow"),
        ("[[n]]", "n"),
        ("[[n=three]]", "n=three"),
        ("[[fail=418]]", "fail=418"),
        ("[[usage=some]]", "usage=some"),
        ("[[n=3, delay=1]]", "n=3,"),
    ],
)
def test_a_typo_is_named(text: str, named: str) -> None:
    with pytest.raises(UnknownDirective, match=re.escape(named)):
        parse_script(text)


def test_echo_and_the_demo_see_the_text_without_directives() -> None:
    assert without_directives("hello [[echo n=3]] there") == "hello  there"


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_script(text)
    except UnknownDirective:
        assert "[[" in text


def test_every_directive_is_in_help_and_readme() -> None:
    assert len(list(help_lines())) == len(DIRECTIVES)
    assert markdown_table() in README.read_text()
