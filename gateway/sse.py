"""Server-Sent Events: bytes → the data of whole events, and an event → bytes (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from gateway.errors import UpstreamProtocolError

MAX_EVENT_BYTES = 64 * 1024 * 1024  # flow events repeat inputs and outputs: 21 MB were seen from a 5 MB query

DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"

DATA, END = b"data: ", b"\n\n"  # what an event of one line begins and ends with

_CR = 0x0D  # a number: to look for bytes in bytes takes ten times as long
_BETWEEN = END + DATA
_BOM = b"\xef\xbb\xbf"


class SSEDecoder:
    """Bytes in, the data of whole events out; the caller owns the socket.

    Only `data` matters: Dify puts the event's name into the JSON and uses `event:` for its pings alone, which have no
    data and therefore are no event. Several data lines of one event are joined by a line feed.
    """

    def __init__(self) -> None:
        self.at_rest = True  # no part of an event is held, nor of a byte order mark
        self._start: bytes | None = b""  # what of a byte order mark has come so far; None: past it
        self._ended_by_cr = False  # the last line ended with CR: an LF that comes first now belongs to it
        self._line: list[bytes] = []  # the pieces of an unfinished line; joined once, or a long line costs its square
        self._line_bytes = 0
        self._data: list[bytes] = []  # the data lines of an unfinished event
        self._data_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; return the data of each event that is now whole."""
        if self.at_rest and (plain := _plain_events(data)) is not None:
            self._start = None
            return plain
        events = self._feed(data)
        self.at_rest = not (self._start or self._ended_by_cr or self._line or self._data)
        return events

    def _feed(self, data: bytes) -> list[bytes]:
        if self._start is not None:
            data = self._skip_bom(data)
        if self._ended_by_cr and data:
            self._ended_by_cr = False
            data = data.removeprefix(b"\n")
        # Bytes, and these two only: str.splitlines() would also split at U+2028, which Dify >= 1.9 sends raw.
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if not end:
            self._hold(data)
            return []
        lines = b"".join([*self._line, data[:end]]) if self._line else data[:end]
        self._line, self._line_bytes = [], 0
        if end < len(data):
            self._hold(data[end:])
        if _CR in lines:
            self._ended_by_cr = end == len(data) and lines.endswith(b"\r")
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self._take_lines(lines)

    def finish(self) -> list[bytes]:
        """The connection ended: return the event that lacks only its blank line, if there is one.

        A browser drops it; Dify's last event is worth keeping, and half an event shows as broken JSON.
        """
        line = b"".join(self._line)
        self._line, self._line_bytes = [], 0
        return self._take_lines(line + b"\n\n")

    def _skip_bom(self, data: bytes) -> bytes:
        data = (self._start or b"") + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(_BOM)

    def _hold(self, piece: bytes) -> None:
        if piece:
            self._line.append(piece)
            self._line_bytes += len(piece)
            _check_size(self._line_bytes + self._data_bytes)

    def _take_lines(self, lines: bytes) -> list[bytes]:
        """Take whole lines, each ended by LF."""
        if not self._data and (plain := _plain_events(lines)) is not None:
            return plain
        events: list[bytes] = []
        for line in lines[:-1].split(b"\n"):
            self._take_line(line, events)
        return events

    def _take_line(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(b"\n".join(self._data))
                self._data, self._data_bytes = [], 0
        elif line.startswith(b"data:"):
            self._add_data(line[5:].removeprefix(b" "))
        elif line == b"data":  # a field without a colon has an empty value
            self._add_data(b"")

    def _add_data(self, value: bytes) -> None:
        self._data.append(value)
        self._data_bytes += len(value) + 1
        _check_size(self._data_bytes)


def encode_data(payload: bytes) -> bytes:
    """One event of one data line; `payload` has no line break."""
    return DATA + payload + END


def _plain_events(data: bytes) -> list[bytes] | None:
    """The usual batch in one go: whole events of one data line each, and LF alone. None if it is another."""
    if not data.endswith(END) or not data.startswith(DATA) or len(data) > MAX_EVENT_BYTES or _CR in data:
        return None
    events = data[len(DATA) : -len(END)].split(_BETWEEN)
    return events if data.count(b"\n") == 2 * len(events) else None


def _check_size(size: int) -> None:
    if size > MAX_EVENT_BYTES:
        raise UpstreamProtocolError(f"Dify sent an event of more than {MAX_EVENT_BYTES // (1024 * 1024)} MiB.")
