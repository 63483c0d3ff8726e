"""An answer kept from its start, and the shelf that has room for so many of them. No I/O, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from sys import getsizeof
from typing import Generic, TypeVar

from gateway.exchange.answer import AnswerEvent, ReasoningDelta, TextDelta, ToolCallDelta

_EMPTY_BYTES = 1024  # a recording without events, its place on the shelf included
_EVENT_BYTES = 150  # an event without its text, its batch and its link
_LARGEST_SHARE = 16  # one recording may take a sixteenth of the shelf


@dataclass(eq=False, slots=True)
class Link:
    """A batch and the one after it. A reader holds the link where he is, so what nobody can reach any more is gone."""

    batch: list[AnswerEvent]
    next: Link | None = None


class Recording:
    """The batches of one answer, the first of them behind the empty link `first`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.first: Link | None = Link([])  # None: the start is gone, so nobody else can read it
        self.last: Link = self.first
        self.size = _EMPTY_BYTES  # about the bytes of memory it takes
        self.over = False

    @property
    def joinable(self) -> bool:
        """Whether it can still be read from its start."""
        return self.first is not None

    def append(self, batch: list[AnswerEvent]) -> None:
        """Record what comes next."""
        self.last.next = self.last = Link(batch)
        if self.first is not None:
            self.size += _size(batch)

    def end(self) -> None:
        """Nothing follows. What is kept gets smaller: a text in one piece takes a tenth of its tokens one by one."""
        self.over = True
        if self.first is not None:
            whole = list(_merged([event for link in _links(self.first) for event in link.batch]))
            self.first = Link([], Link(whole) if whole else None)
            self.size = _EMPTY_BYTES + _size(whole)

    def drop_start(self) -> None:
        """Keep nothing but what those still need who are reading."""
        self.first = None
        self.size = _EMPTY_BYTES


AnyRecording = TypeVar("AnyRecording", bound=Recording)


class Shelf(Generic[AnyRecording]):
    """Recordings by name, within a limit of bytes that the caller names. Times are seconds of one monotonic clock.

    When room is wanted, finished ones go, those first whose time would be over first. If only running ones are left,
    the one that grows loses its start: it keeps its place, so that its name is not taken by a second run.
    """

    def __init__(self) -> None:
        self.size = 0
        self._by_name: dict[str, AnyRecording] = {}
        self._sizes: dict[AnyRecording, int] = {}
        self._kept: list[tuple[float, int, AnyRecording]] = []  # a heap: until when
        self._number = count()

    def __len__(self) -> int:
        return len(self._by_name)

    def find(self, name: str, now: float) -> AnyRecording | None:
        """The recording of this name, unless its time is over."""
        self._forget_old(now)
        return self._by_name.get(name)

    def put(self, recording: AnyRecording, limit: int) -> None:
        """Take in a new recording; it replaces another one of its name."""
        if older := self._by_name.get(recording.name):
            self.remove(older)
        self._by_name[recording.name] = recording
        self._sizes[recording] = 0
        self.weigh(recording, limit)

    def keep(self, recording: AnyRecording, now: float, seconds: float, limit: int) -> None:
        """It is over; forget it after so many seconds, or when its room is wanted."""
        self._forget_old(now)
        if recording in self._sizes:
            heapq.heappush(self._kept, (now + seconds, next(self._number), recording))
            self.weigh(recording, limit)

    def remove(self, recording: AnyRecording) -> None:
        """Forget it. Without effect on one that is not here any more."""
        if recording in self._sizes:
            self.size -= self._sizes.pop(recording)
            del self._by_name[recording.name]

    def weigh(self, recording: AnyRecording, limit: int) -> None:
        """Its size has changed: see that all have room."""
        if recording not in self._sizes:
            return
        self._note_size(recording)
        if recording.size > limit // _LARGEST_SHARE:
            self._drop_start(recording)
        while self.size > limit and self._kept:
            self.remove(heapq.heappop(self._kept)[2])
        if self.size > limit and recording in self._sizes:
            self._drop_start(recording)

    def _forget_old(self, now: float) -> None:
        while self._kept and self._kept[0][0] <= now:
            self.remove(heapq.heappop(self._kept)[2])

    def _drop_start(self, recording: AnyRecording) -> None:
        recording.drop_start()
        self._note_size(recording)

    def _note_size(self, recording: AnyRecording) -> None:
        self.size += recording.size - self._sizes[recording]
        self._sizes[recording] = recording.size


def _size(batch: Sequence[AnswerEvent]) -> int:
    size = _EVENT_BYTES * len(batch)
    for event in batch:
        # What of an event can be long.
        text = event.arguments if type(event) is ToolCallDelta else getattr(event, "text", None)
        if text is not None:
            size += getsizeof(text)
    return size


def _links(first: Link) -> Iterator[Link]:
    link: Link | None = first
    while link is not None:
        yield link
        link = link.next


def _merged(events: Iterable[AnswerEvent]) -> Iterator[AnswerEvent]:
    """The same answer in fewer events: neighbouring deltas of one kind joined."""
    texts: list[str] = []
    kind: type[TextDelta | ReasoningDelta] = TextDelta
    for event in events:
        if texts and type(event) is not kind:
            yield kind("".join(texts))
            texts = []
        if isinstance(event, (TextDelta, ReasoningDelta)):
            kind = type(event)
            texts.append(event.text)
        else:
            yield event
    if texts:
        yield kind("".join(texts))
