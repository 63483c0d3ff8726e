"""The quick way to read what nearly every event of an answer is: one more piece of its text.

Within one answer Dify repeats each byte of its text events but the text's own. So the bytes around the text of an event
that was decoded are a template: an event that has the same bytes around another JSON string is the same event with
another text, and only that string has to be decoded. Whatever does not fit is decoded in full.
"""

from __future__ import annotations

import re
from typing import Any

from gateway.json_codec import loads

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
_PROBE = "?"
_LEARN_TIMES = 16  # where nothing repeats, to try each time would cost more than it saves


class TextTemplate:
    """A text event of one answer, to be filled with the texts of those that follow; empty until it was given one."""

    def __init__(self) -> None:
        self._head = b"\xff"  # no JSON begins so
        self._tail = b""
        self._around = 0
        self._event: Event = {}
        self._place: Event = {}
        self._key = ""
        self._to_learn = _LEARN_TIMES

    def text_of(self, data: bytes) -> str | None:
        """The text of the event that `data` is; None if it does not fit."""
        if not data.startswith(self._head) or not data.endswith(self._tail) or len(data) < self._around:
            return None
        text = data[len(self._head) : -len(self._tail)]
        try:
            if b"\\" in text or b'"' in text or b"\0" in text:  # of all raw bytes the decoder refuses a NUL alone
                return loads(b'"%b"' % text)  # type: ignore[no-any-return]  # what is one string here is one there
            return text.decode()
        except ValueError:
            return None

    def filled(self, text: str) -> Event:
        """The event with this text; good until the next call."""
        self._place[self._key] = text
        return self._event

    def learn(self, data: bytes, event: Event) -> bool:
        """Become the template that `data` gives, which was decoded to `event`: the template's own from now on.

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
        starts = list(_STRING_START[key].finditer(data))
        if len(starts) != 1:
            return False
        start = starts[0].end()
        end = _STRING_REST.match(data, start).end()  # type: ignore[union-attr]  # it matches the empty string, too
        head, tail = data[:start], data[end:]
        place[key] = _PROBE
        if loads(head + _PROBE.encode() + tail) != event:  # the proof that this string is the text, and all of it
            return False
        self._head, self._tail, self._around = head, tail, len(head) + len(tail)
        self._event, self._place, self._key = event, place, key
        return True
