"""What a tool call's id can carry there and back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.memory.call_id import read_call_id, write_call_id

TOKENS = st.binary(min_size=3, max_size=150)


@given(TOKENS, st.integers(0, 127))
def test_an_id_gives_its_token_back(token: bytes, number: int) -> None:
    written = write_call_id(token, number)
    assert re.fullmatch(r"call_[A-Za-z0-9_-]+", written)
    assert read_call_id(written) == token


def test_calls_of_one_answer_have_ids_of_their_own() -> None:
    assert len({write_call_id(b"token", number) for number in range(20)}) == 20


def test_a_token_of_usual_size_makes_an_id_of_known_length() -> None:
    assert len(write_call_id(bytes(53), 0)) == 78


@given(TOKENS, st.data())
def test_another_spelling_is_another_token_or_none(token: bytes, data: st.DataObject) -> None:
    written = write_call_id(token, 0)
    at = data.draw(st.integers(len("call_0_"), len(written) - 1))
    other = data.draw(st.sampled_from("AZaz09-_ =/+é").filter(lambda symbol: symbol != written[at]))
    assert read_call_id(written[:at] + other + written[at + 1 :]) != token
    assert read_call_id(written[:at]) != token
    assert read_call_id(written + "=") is None


def test_the_last_letter_has_one_spelling_although_not_all_of_it_counts() -> None:
    written = write_call_id(bytes(4), 0)
    assert written.endswith("AAAAAA")
    assert [read_call_id(written[:-1] + last) for last in "BCDEFGHIJKLMNOP"] == [None] * 15


@pytest.mark.parametrize(
    "call_id",
    [
        "",
        "call_",
        "call_0_",
        "call_abc123",
        "call_0_A",
        "call_0_AAA",
        "call_0_AAAAA",
        "call_12345_AAAA",
        "toolu_01",
        "é" * 50,
    ]
    + ["call_0_" + "A" * 257, "call_0_AB==", "call_0_AAAA\n", "Call_0_AAAA", "chatcmpl-tool-3a"],
)
def test_other_ids_carry_nothing(call_id: str) -> None:
    assert read_call_id(call_id) is None
