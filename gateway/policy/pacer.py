"""Bursts of text → even small pieces: providers, proxies and Dify itself deliver a second's text at one go.

Pieces leave on a tick and are cut between grapheme clusters. The speed is the stream's own, or more where a deadline
asks for it. What holds for every stream:

- The first text goes out at once, and no text later than `max_delay` after its arrival.
- A stream that is even already passes untouched: same events, same moments.
- The end of the answer follows the last text, which flows on to it: at most `max_delay` late. Any other event, an error
  too, takes the waiting text with it and leaves at once.
- Nothing is reordered, and the text is the same text.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf

from gateway.exchange.answer import AnswerEvent, Finished, TextDelta

# Sizes are in code points.
_WORD = 16  # up to here a delta is a piece already: tokens are
_FEW_WORDS = 32  # the same for a stream that has shown no pauses
_OPENING = (
    8 * _WORD
)  # what an even stream of yet unknown speed brings in _PAUSE_TICKS: 100 tokens a second, and long ones
_LEAST = 4  # a slow flow sends pieces of this size less often, instead of one letter each tick

_PAUSE_TICKS = 3  # a pause that is seen
_LONGEST_TICKS = 2.5  # between two pieces while text waits
_SPEED_MEMORY = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class PacingLevel:
    """How much pacing the process can afford."""

    name: str
    ticks: int  # between two pieces; 0: text passes as it comes
    lag: float  # seconds of event-loop lag from which on this level is needed
    streams: int  # open streams from which on it is needed


# A piece costs about 60 µs: 200 streams that all burst take 50 x 200 x 60 µs = 0.6 of a core, and so do 600 on every
# third tick. Streams that are even cost nothing on any level.
FULL = PacingLevel("full", 1, 0.0, 0)
THIN = PacingLevel("thin", 3, 0.02, 200)
OFF = PacingLevel("off", 0, 0.05, 600)
PACING_LEVELS = (FULL, THIN, OFF)

_RELIEF = 0.6  # of what a level was needed for: the load from which on it may be left
_SHORT_CALM, _LONG_CALM = 3.0, 60.0  # seconds


class PacingLoad:
    """Thins pacing out, and switches it off, while the process has better things to do. One for all pacers.

    Less pacing comes at once. More comes back one level at a time, after a calm that doubles with each relapse, since
    it may have been the pacing that made the load.
    """

    def __init__(self) -> None:
        self.level = FULL
        self._calm = _SHORT_CALM
        self._busy_at = -inf  # when the load was last too high for more pacing
        self._eased_at = -inf

    def note(self, loop_lag: float, open_streams: int, now: float) -> PacingLevel:
        """Call about each second, with the worst lag since the last call."""
        level, rank = self.level, PACING_LEVELS.index(self.level)
        needed = max(i for i, row in enumerate(PACING_LEVELS) if loop_lag >= row.lag or open_streams >= row.streams)
        if needed > rank:
            self._calm = min(2 * self._calm, _LONG_CALM) if now - self._eased_at < _LONG_CALM else _SHORT_CALM
            self._busy_at = now
            self.level = PACING_LEVELS[needed]
        elif loop_lag > _RELIEF * level.lag or open_streams > _RELIEF * level.streams:
            self._busy_at = now
        elif rank and now - self._busy_at >= self._calm:
            self._busy_at = self._eased_at = now
            self.level = PACING_LEVELS[rank - 1]
        return self.level


class Pacer:
    """Paces one stream.

    The caller sends what `push` and `due` return, in one write, and calls `due` at `next_at`; it may be late. `push`
    takes what arrived together, so that it leaves together too: adjacent texts of one call are joined.
    """

    def __init__(self, max_delay: float = 0.25, tick: float = 0.02, load: PacingLoad | None = None) -> None:
        self.next_at: float | None = None  # when to call `due`; None: nothing waits
        self._max_delay = max_delay
        self._tick = tick
        self._load = load or PacingLoad()
        # What waits: text, and the end behind it.
        self._chunks: list[str] = []  # the first one from `_offset` on
        self._offset = 0
        self._arrived = 0  # code points that ever waited, and that left again
        self._left = 0
        self._deadlines: deque[tuple[float, int]] = deque()  # by when `_left` must have reached what
        self._end: Finished | None = None
        # How the stream flows.
        self._arrived_at = inf
        self._sent_at = -inf
        self._interval = tick  # from the last piece to the next
        self._uneven_until = -inf
        self._last_size = 0
        self._chars = 0.0  # speed = chars / seconds, of late
        self._seconds = 0.0
        self._window_at = -inf  # what an even stream sent in the last _PAUSE_TICKS
        self._window_chars = 0

    def push(self, events: list[AnswerEvent], now: float) -> list[AnswerEvent]:
        """Take what has arrived; return what to send at once: the same list if nothing stands against it."""
        if self.next_at is None and len(events) == 1:
            event = events[0]
            if isinstance(event, TextDelta) and self._is_even(len(event.text), now):
                return events
            sent: list[AnswerEvent] = []
            ...
        return []
