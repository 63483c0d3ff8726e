"""A head that has come is handed over as Tornado's stream would, and one that has not is waited for."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tornado.iostream import IOStream, StreamBufferFullError, StreamClosedError

from gateway.web.client_stream import ClientStream

LIMIT = 24
sent = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"\n\n", b"a", b"GET / HTTP", b"\r\n\r\n"])).map(b"".join)


async def read(kind: type[IOStream], data: bytes, *, twice: bool) -> list[bytes | str | None]:
    """What is read of one or two heads, and what is left; None: more was waited for."""
    near, far = socket.socketpair()
    stream = kind(near)
    found: list[bytes | str | None] = []
    try:
        if data:
            far.send(data)
        for _ in range(1 + twice):
            try:
                head = (
                    stream.head(LIMIT)
                    if isinstance(stream, ClientStream)
                    else stream.read_until_regex(b"\r?\n\r?\n", LIMIT)
                )
                found.append(head if isinstance(head, bytes) else await asyncio.wait_for(head, 0.001))
            except TimeoutError:
                found.append(None)
                break
            except StreamClosedError:
                found.append("closed")
                break
        return [*found, bytes(stream._read_buffer)]
    finally:
        stream.close()
        far.close()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(sent, st.booleans())
@example(b"GET / HTTP\r\n\r\nbody\n\n", True)
@example(b"a\n\n\r\n", False)
@example(b"a\n\r\n\n", False)
@example(b"a\r\n\n\r\n", True)
@example(b"a" * LIMIT + b"\r\n\r\n", False)
@example(b"", False)
def test_a_head_is_what_tornado_reads(data: bytes, twice: bool) -> None:
    ours = asyncio.run(read(ClientStream, data, twice=twice))
    assert ours == asyncio.run(read(IOStream, data, twice=twice))


async def test_what_has_not_come_is_waited_for() -> None:
    near, far = socket.socketpair()
    stream = ClientStream(near)
    head = stream.head(100)
    assert not isinstance(head, bytes)
    for piece in (b"GET", b" / HTTP/1.1\r\n\r", b"\nbody"):
        await asyncio.sleep(0.01)
        far.send(piece)
    assert await head == b"GET / HTTP/1.1\r\n\r\n"
    assert stream.take(4) == b"body"
    far.close()
    with pytest.raises(StreamClosedError):
        stream.head(100)
    assert stream.closed()


async def test_a_connection_that_is_reset_is_closed() -> None:
    near, far = socket.socketpair(socket.AF_UNIX)
    stream = ClientStream(near)
    near.send(b"unread")  # what nobody reads makes a reset of the close
    far.close()
    with pytest.raises(StreamClosedError):
        stream.head(100)
    assert stream.closed()
    assert isinstance(stream.error, ConnectionResetError)


async def test_no_more_is_held_than_allowed() -> None:
    near, far = socket.socketpair()
    stream = ClientStream(near, max_buffer_size=1000)
    far.send(b"x" * 2000)
    with pytest.raises(StreamBufferFullError):
        await asyncio.wait_for(stream.read_until(b"\n"), 1)
    assert stream.closed()
    far.close()
