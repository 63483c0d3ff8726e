"""What a node knows of chats is the newest, and not more than it has room for."""

from __future__ import annotations

from gateway.exchange.memory.hidden_token import HiddenToken
from gateway.exchange.memory.known_chats import LONGEST, KnownChats


def token(number: int) -> HiddenToken:
    return HiddenToken(f"c-{number}", f"m-{number}", bytes(8), bytes(2))


def test_the_last_token_of_a_chat_is_kept() -> None:
    known = KnownChats()
    assert known.find(("app", "ann")) is None
    known.remember(("app", "ann"), token(1))
    known.remember(("app", "ann"), token(2))
    known.remember(("app", "bob"), token(3))
    assert (known.find(("app", "ann")), known.find(("app", "bob"))) == (token(2), token(3))
    assert known.find(("other app", "ann")) is None


def test_the_longest_unused_is_forgotten() -> None:
    known = KnownChats(longest=2)
    for name, number in (("a", 1), ("b", 2)):
        known.remember((name,), token(number))
    known.find(("a",))
    known.remember(("c",), token(3))
    assert [known.find((name,)) for name in "abc"] == [token(1), None, token(3)]
    known.remember(("a",), token(4))
    assert len(known) == 2


def test_there_is_an_end_to_it() -> None:
    known = KnownChats()
    for number in range(LONGEST + 5):
        known.remember((str(number),), token(0))
    assert len(known) == LONGEST
