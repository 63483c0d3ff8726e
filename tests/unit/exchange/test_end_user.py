"""Dify's `user` is stable, short enough for Dify, and never a key."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.exchange.end_user import chat_user, end_user

DIGEST = r"[0-9a-f]{16}"
KEY = "sk-client-0123456789"


@pytest.mark.parametrize("named", ["alice", "Алиса 🙂", "a b", " x ", "n" * 100, "alice@example.org", "\u2028x"])
def test_a_name_travels_as_it_is(named: str) -> None:
    assert end_user(named, KEY) == named


@pytest.mark.parametrize(
    ("named", "shape"),
    [
        ("n" * 101, f"n{{83}}-{DIGEST}"),
        ("🙂" * 5000, f"🙂{{83}}-{DIGEST}"),
        ("a\0b", f"ab-{DIGEST}"),  # Postgres takes no NUL
        ("\0", f"-{DIGEST}"),
        ("  ", f"  -{DIGEST}"),
        ("a\ud83d", f"a\\?-{DIGEST}"),  # half a surrogate pair cannot be sent
    ],
)
def test_a_name_that_dify_cannot_take_keeps_its_beginning(named: str, shape: str) -> None:
    assert re.fullmatch(shape, end_user(named, KEY))


@pytest.mark.parametrize(
    "names",
    [("a", "a\0"), ("ab", "a\0b"), ("\0", "\0\0"), ("a?", "a\ud800"), ("a\ud800", "a\ud801"), ("n" * 101, "n" * 102)],
)
def test_cleaned_names_stay_apart(names: tuple[str, str]) -> None:
    assert end_user(names[0], KEY) != end_user(names[1], KEY)


@given(st.text(min_size=1), st.text(min_size=1), st.text())
def test_names_stay_apart_and_fit(one: str, other: str, key: str) -> None:
    first, second = end_user(one, key), end_user(other, key)
    assert (first == second) == (one == other)
    for user in (first, second):
        assert user.strip()
        assert len(user) <= 100
        assert "\0" not in user
        user.encode()


@pytest.mark.parametrize("named", [None, ""])
def test_without_a_name_the_client_key_tells_users_apart(named: str | None) -> None:
    user = end_user(named, KEY)
    assert re.fullmatch(f"client-{DIGEST}", user)
    assert user == end_user(named, KEY)
    assert user != end_user(named, KEY + "0")
    assert user == "client-0bb88abee3a1063d"  # on every node and after every restart


def test_nobody_is_anonymous() -> None:
    assert end_user(None, "") == "anonymous"


@pytest.mark.parametrize("key", ["schlüssel", "\ud800", "x" * 10_000])
def test_any_key_has_a_user(key: str) -> None:
    assert re.fullmatch(f"client-{DIGEST}", end_user(None, key))


# Who says what only a digest may look like ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made", [end_user(None, KEY), end_user(None, ""), end_user("n" * 101, KEY), chat_user("ann", "7")]
)
def test_nobody_can_name_himself_as_another_one_is_called(made: str) -> None:
    assert end_user(made, "another key") != made
    assert end_user(made, "another key").startswith(made[:83])


# Chats ----------------------------------------------------------------------------------------------------------------


def test_a_chat_is_a_user_of_its_own() -> None:
    assert re.fullmatch(f"ann-chat-{DIGEST}", chat_user("ann", "7"))
    assert chat_user("ann", "7") == chat_user("ann", "7") == "ann-chat-0ba095f0a4d51052"


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_chats_stay_apart_and_fit(one: str, other: str, chat: str, other_chat: str) -> None:
    users = [end_user(name, KEY) for name in (one, other)]
    first, second = chat_user(users[0], chat), chat_user(users[1], other_chat)
    assert (first == second) == ((one, chat) == (other, other_chat))
    assert first not in users
    assert len(first) <= 100
