"""The quick way to read what nearly every event of an answer is: one more piece of its text.

Within one answer Dify repeats each byte of its text events but the text's own. So the bytes around the text of an event
that was decoded are a template: an event that has the same bytes around another JSON string is the same event with
another text, and only that string has to be decoded. Whatever does not fit is decoded in full.
"""

from __future__ import annotations

import math
import re
from typing import Any

from gateway.json_codec import loads
from gateway.sse import DATA, END

Event = dict[str, Any]

# Where each text event has its text.
TEXT_EVENTS: dict[str, tuple[str, ...]] = {
    "message": ("answer",),
    "agent_message": ("answer",),
    "text_chunk": ("data", "text"),
}
_STRING_START = {key: re.compile(rb'"%s"\s*:\s*"' % key.encode()) for key in ("answer", "text")}
# Possessive: for each step that it could take back, `re` would keep 115 bytes, so 2 GB for a text of 20 MB.
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_LEARN_TIMES = 16  # where nothing repeats, to try each time would cost more than it saves
_BACKSLASH, _QUOTE, _NUL, _LF, _CR = b'\\"\0\n\r'  # numbers: to look for bytes in bytes takes ten times as long
_LINE = len(DATA) + len(END)


class TextTemplate:
    """A text event of one answer, for those that follow; none until it was given one."""

    def __init__(self) -> None:
        self.selector: Any = None  # which variable of which node the text is
        self._head = self._begin = self._tail = self._end = b""
        self._between = b""  # the texts of two events of one read
        self._around = math.inf  # bytes of an event around its text; where there is no template, none is long enough
        self._to_learn = _LEARN_TIMES

    def text_of(self, data: bytes) -> str | None:
        """The text of the event that `data` is; None if it does not fit."""
        head, tail = self._head, self._tail
        if not data.startswith(head) or not data.endswith(tail) or len(data) < self._around:
            return None
        try:
            return _decode(data[len(head) : -len(tail)])
        except ValueError:
            return None

    def texts_of(self, read: bytes) -> tuple[str, int] | None:
        """The texts of the events that a whole read is, as one, and their number; None if anything does not fit.

        For a decoder of events that holds nothing.
        """
        begin, end = self._begin, self._end
        if not read.startswith(begin) or not read.endswith(end) or len(read) < self._around + _LINE:
            return None
        text = read[len(begin) : -len(end)]
        try:
            if _LF in text:
                return self._texts_of_many(read)
            return None if _CR in text else (_decode(text), 1)
        except ValueError:
            return None

    def _texts_of_many(self, read: bytes) -> tuple[str, int] | None:
        start, stop = len(self._head), -len(self._tail)
        texts = [event[start:stop] for event in read[len(DATA) : -len(END)].split(END + DATA)]
        if self._begin + self._between.join(texts) + self._end != read:  # quicker than to split at what is between
            return None
        text = b"".join(texts)
        if _LF in text or _CR in text:  # an event of several lines
            return None
        if text.isascii() and _BACKSLASH not in text:  # else the end of one and the begin of the next could meet
            return _decode(text), len(texts)
        return "".join(map(_decode, texts)), len(texts)

    def learn(self, data: bytes, event: Event) -> bool:
        """Become the template that `data` gives, which was decoded to `event`.

        False where it gives none: it is no text event, or which of its bytes are the text is not certain.
        """
        if (path := TEXT_EVENTS.get(event["event"])) is None or not self._to_learn:
            return False
        self._to_learn -= 1
        place, key = event, path[-1]
        for name in path[:-1]:
            place = place.get(name)  # type: ignore[assignment]
        if not isinstance(place, dict) or not isinstance(place.get(key), str):
            return False
        # The text is a string behind its key. If no escape is outside of it, that key is written as it is, and if only
        # one string is behind such a key, that is the text.
        found = _STRING_START[key].search(data)
        if found is None:
            return False
        start = found.end()
        end = _STRING_REST.match(data, start).end()  # type: ignore[union-attr]  # it matches the empty string, too
        head, tail = data[:start], data[end:]
        around = head + tail
        if _BACKSLASH in around or _LF in around or _CR in around or _STRING_START[key].search(tail):
            return False
        self.selector = place.get("from_variable_selector")
        self._head, self._tail = head, tail
        self._begin, self._end = DATA + head, tail + END
        self._between = self._end + self._begin
        self._around = len(head) + len(tail)
        return True


def _decode(text: bytes) -> str:
    """A JSON string without its quotes; what is one string here is one in its event. Raises ValueError."""
    if _BACKSLASH in text or _QUOTE in text or _NUL in text:  # of all raw bytes the decoder refuses a NUL alone
        return loads(b'"%b"' % text)  # type: ignore[no-any-return]
    return text.decode()
