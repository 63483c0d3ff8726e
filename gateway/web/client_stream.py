"""A client's socket as Tornado's stream, with fewer steps to a request that has come whole."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.concurrent import Future
from tornado.iostream import IOStream, StreamBufferFullError

_BLANK_LINE = rb"\r?\n\r?\n"  # ends a head, as Tornado has it
_blank_line = re.compile(_BLANK_LINE)


class ClientStream(IOStream):
    """Tornado's stream, which hands over what is there without a future for it."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.done: Future[None] = Future()  # what is waited for where there is nothing to wait for
        self.done.set_result(None)

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        self._close_callback = callback
        if callback is not None:  # else there is nothing to listen for
            self._maybe_add_error_listener()

    def head(self, max_bytes: int) -> bytes | Awaitable[bytes]:
        """A request's head with its blank line: itself where it has come, else what to wait for.

        As `read_until_regex`, which looks at each byte with the pattern, and for more bytes where there were none.
        """
        buffer = self._read_buffer
        if not buffer and not self.closed() and self._read_to_buffer() == 0 and not self.closed():
            future = self._start_read()
            self._read_regex, self._read_max_bytes = _blank_line, max_bytes
            self._add_io_state(self.io_loop.READ)
            return future
        end = buffer.find(b"\n\r\n") + 3
        if 3 <= end <= max_bytes and buffer.find(b"\n\n", 0, end - 1) < 0:
            return self.take(end)
        return self.read_until_regex(_BLANK_LINE, max_bytes)

    def take(self, size: int) -> bytes:
        """So many of the bytes that have come."""
        return self._consume(size)

    def _read_to_buffer(self) -> int | None:
        """Tornado's, without a piece of memory that is filled with zeros before each read."""
        try:
            data = self.socket.recv(self.read_chunk_size)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.close(exc_info=error)
            if self._is_connreset(error):
                return None
            raise
        if not data:
            self.close()
            return 0
        self._read_buffer += data
        self._read_buffer_size += len(data)
        if self._read_buffer_size > self.max_buffer_size:
            full = StreamBufferFullError("Reached maximum read buffer size")
            self.close(exc_info=full)
            raise full
        return len(data)
