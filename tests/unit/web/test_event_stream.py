"""What a stream's writer sends at once, what it puts off, and when it makes the answer wait for the client."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.http1connection import HTTP1ConnectionParameters

from gateway.lot import Lot
from gateway.web.client_connection import Exchange
from gateway.web.client_stream import ClientStream
from gateway.web.event_stream import EventStreamWriter, Heartbeat


class Client:
    """Reads what one writer sends in the middle of its answer."""

    def __init__(self) -> None:
        near, self.socket = socket.socketpair()
        self.socket.setblocking(False)
        self.exchange = Exchange(ClientStream(near), HTTP1ConnectionParameters(), None, is_first=True)
        self.lot = Lot()
        handler: Any = SimpleNamespace(request=SimpleNamespace(connection=self.exchange))
        self.writer = EventStreamWriter(handler, self.lot, Heartbeat(time.monotonic), write_timeout=9, silence=9)

    def taken(self) -> bytes:
        try:
            return self.socket.recv(1 << 20)
        except BlockingIOError:
            return b""


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    made = Client()
    yield made
    made.exchange.stream.close()
    made.socket.close()


async def test_alone_it_sends_at_once(client: Client) -> None:
    assert client.writer.send(b"a") is None
    assert client.taken() == b"a"


async def test_in_a_lot_it_sends_when_all_have_rendered(client: Client) -> None:
    with client.lot:
        assert client.writer.send(b"a") is None
        assert client.taken() == b""
    assert client.taken() == b"a"


async def test_in_a_lot_only_one_piece_is_put_off(client: Client) -> None:
    """A reader that goes on within a lot would else collect all that Dify has said, whatever its client takes."""
    with client.lot:
        assert client.writer.send(b"a") is None
        assert client.writer.send(b"b") is None
        assert client.taken() == b"ab"
        client.writer.send(b"c")
        taken = client.writer.send(b"d" * 3_000_000)
        assert taken is not None
        taken.close()  # type: ignore[attr-defined]
    assert client.taken().startswith(b"cd")


async def test_what_is_last_takes_along_what_was_put_off(client: Client) -> None:
    with client.lot:
        client.writer.send(b"a")
        assert client.writer.send(b"b", is_last=True) is None
        assert client.taken() == b"ab"
