"""A body is bounded, and what is too large is not kept."""

from __future__ import annotations

import pytest

from gateway.errors import BodyTooLarge
from gateway.web.limited_body import LimitedBody


def test_a_body_comes_in_pieces_and_is_given_once() -> None:
    body = LimitedBody(5)
    for chunk in (b"ab", b"", b"cde"):
        body.add(chunk)
    assert body.take() == b"abcde"
    assert body.take() == b""


@pytest.mark.parametrize("chunks", [[b"abcdef"], [b"abc", b"def"], [b"abcdef", b"", b"a"]])
def test_a_body_beyond_the_limit_is_refused_at_its_end(chunks: list[bytes]) -> None:
    body = LimitedBody(5)
    for chunk in chunks:
        body.add(chunk)
    with pytest.raises(BodyTooLarge, match="the limit of 5 bytes"):
        body.take()


def test_what_a_client_announces_is_refused_before_it_is_sent() -> None:
    body = LimitedBody(5)
    body.expect(5)
    with pytest.raises(BodyTooLarge, match="MAX_BODY_BYTES"):
        body.expect(6)
