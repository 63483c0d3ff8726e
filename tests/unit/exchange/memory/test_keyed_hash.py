from __future__ import annotations

import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.exchange.memory.keyed_hash import KeyedHash


@given(st.binary(max_size=200), st.lists(st.binary(max_size=200), max_size=3))
@example(b"", [b""])
@example(b"k" * 64, [b"x" * 64])
@example(b"k" * 65, [b"x" * 65])
def test_it_is_hmac_of_sha256_for_any_number_of_messages(key: bytes, messages: list[bytes]) -> None:
    keyed = KeyedHash(key)
    assert [keyed.digest(message) for message in messages] == [
        hmac.digest(key, message, "sha256") for message in messages
    ]
