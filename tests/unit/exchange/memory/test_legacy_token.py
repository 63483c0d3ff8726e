from __future__ import annotations

import base64
import random
import re
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.memory.legacy_token import ALPHABET, find
from gateway.exchange.memory.zero_width import strip

BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def written_by_opendify(conversation_id: str) -> str:
    """As described for OpenDify: base64, then two symbols of three bits for each of its characters."""
    numbers = [BASE64.index(char) for char in base64.b64encode(conversation_id.encode()).decode().rstrip("=")]
    return "".join(ALPHABET[number // 8] + ALPHABET[number % 8] for number in numbers)


ID = "5f2c1b1e-8d0a-4c52-9f9e-0a7f6d3b2e1d"


@given(st.uuids(), st.text(), st.text("ab \n"))
def test_an_id_of_opendify_is_found_anywhere(value: uuid.UUID, before: str, after: str) -> None:
    text = f"{before} {written_by_opendify(str(value))}{after}"
    assert find(text) == str(value)


def test_a_known_run_of_opendify() -> None:
    # By hand: "00000000-..." is base64 "MDAw...": M = 12 = 1,4; D = 3 = 0,3; A = 0,0; w = 48 = 6,0.
    zero = str(uuid.UUID(int=0))
    assert written_by_opendify(zero)[:8] == "\u200c\u2060\u200b\ufeff\u200b\u200b\u2061\u200b"
    assert find(written_by_opendify(zero)) == zero


def test_the_last_id_counts() -> None:
    other = str(uuid.UUID(int=7))
    assert find(f"one{written_by_opendify(other)} two{written_by_opendify(ID)}") == ID
    assert find(f"one{written_by_opendify(other)}{written_by_opendify(ID)}") == ID


@pytest.mark.parametrize("last", "0123456789abcdef")
def test_javascripts_trim_loses_no_id(last: str) -> None:
    conversation_id = ID[:-1] + last
    assert find("Hello" + written_by_opendify(conversation_id).rstrip("\ufeff")) == conversation_id


def test_the_last_id_counts_even_when_it_was_trimmed() -> None:
    first, last = str(uuid.UUID(int=7)), ID[:-1] + "c"
    text = f"one{written_by_opendify(first)} two{written_by_opendify(last)}"
    assert find(text.rstrip("\ufeff")) == last


def test_a_long_run_without_an_id_does_not_hide_an_earlier_one() -> None:
    assert find(f"one{written_by_opendify(ID)} two{ALPHABET * 20}") == ID


def test_an_invisible_character_before_the_run_does_not_matter() -> None:
    assert find("👩\u200d" + written_by_opendify(ID)) == ID


def test_half_a_run_is_no_id() -> None:
    run = written_by_opendify(ID)
    for at in range(1, len(run)):
        assert find("Hello" + run[at:]) is None
        assert find(f"Hello{run[:at]}, world") is None
    for at in range(len(run) - 1):  # at the end of a text, one symbol may be what trim() took
        assert find("Hello" + run[:at]) is None
    assert find("Hello" + re.sub("[\u200b-\u200d\ufeff]", "", run)) is None


@pytest.mark.parametrize("text", ["not-a-uuid", ID.upper(), ID.replace("-", ""), "x" * 36, "{" + ID[1:], "é" * 18])
def test_other_texts_are_no_id(text: str) -> None:
    assert find("Hello" + written_by_opendify(text)) is None


def test_random_runs_are_no_id() -> None:
    source = random.Random(2)
    for _ in range(10_000):
        assert find("".join(source.choices(ALPHABET, k=source.choice([95, 96, 97, 200])))) is None


def test_plain_text_has_none() -> None:
    assert find("Hello, مرحبا, 👩‍👩‍👧") is None
    assert find("Hello") is None


def test_a_run_of_opendify_is_stripped() -> None:
    assert strip(f"Hello{written_by_opendify(ID)}, world") == "Hello, world"
