"""VALID_API_KEYS, with options of one client behind a key, and never a key in a problem."""

from __future__ import annotations

import pytest

from gateway.client_keys import ClientKey, parse_client_keys
from gateway.exchange.smoothing import Smoothing


def test_keys_and_their_options() -> None:
    assert parse_client_keys(" sk-one, sk-two?smooth=on&memory=0 ,,sk-three?memory=1") == (
        ClientKey("sk-one"),
        ClientKey("sk-two", memory_mode=0, smoothing=Smoothing.ON),
        ClientKey("sk-three", memory_mode=1),
    )


def test_keys_may_stand_in_lines() -> None:
    assert parse_client_keys("sk-one\r\nsk-two\n") == (ClientKey("sk-one"), ClientKey("sk-two"))


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("sk-one,sk-secret é", "key 2 has a character"),
        ("sk-secret?memory=9", "key 1 memory is not one of 0, 1, 2"),
        ("sk-one,sk-secret?smooth=maybe", "key 2 smooth is not one of off, on, auto"),
        ("sk-secret?colour=red", "key 1 has an unknown option"),
        ("sk-secret?memory=0&memory=1", "key 1 has memory twice"),
        ("sk-secret?name=two words", "key 1 name is not 1 to 40 letters"),
    ],
)
def test_a_problem_names_the_place_and_not_the_key(written: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_client_keys(written)
    assert "secret" not in str(caught.value)


def test_a_client_has_a_name_for_log_lines() -> None:
    (named,) = parse_client_keys("sk-one?name=chat-ui")
    assert named.label == "chat-ui"
    one, other = ClientKey("sk-one"), ClientKey("sk-other")
    assert one.label == ClientKey("sk-one", memory_mode=0).label != other.label
    assert one.label is not None
    assert len(one.label) == len("key-12345678")
    assert "sk-one" not in one.label
    assert ClientKey("").label is None
    assert ClientKey("k\udce9y").label  # what Tornado makes of bytes that are no text


def test_a_key_is_not_shown() -> None:
    assert "sk-one" not in repr(parse_client_keys("sk-one"))
