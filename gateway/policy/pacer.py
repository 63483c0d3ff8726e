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
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from gateway.exchange.answer import AnswerEvent, Finished, TextDelta
from gateway.policy.graphemes import cut, last_cluster, may_grow

# Sizes are in code points.
_WORD = 16  # up to here a delta is a piece already: tokens are
_FEW_WORDS = 32  # the same for a stream that has shown no pauses
_OPENING = 8 * _WORD  # what an even stream of yet unknown speed brings in _PAUSE_TICKS: 100 tokens a second, and long ones
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
        self._rank = 0
        self._calm = _SHORT_CALM
        self._calm_since: float | None = None

    def note(self, loop_lag: float, open_streams: int, now: float) -> PacingLevel:
        """Call about each second, with the worst lag since the last call."""
        needed = max(
            rank for rank, level in enumerate(PACING_LEVELS) if loop_lag >= level.lag or open_streams >= level.streams
        )
        if needed > self._rank:
            if self._calm_since is not None or self._rank:
                self._calm = min(2 * self._calm, _LONG_CALM)
            self._rank, self._calm_since = needed, None
        elif loop_lag > _RELIEF * self.level.lag or open_streams > _RELIEF * self.level.streams:
            self._calm_since = None
        elif self._calm_since is None:
            self._calm_since = now
        elif self._rank and now - self._calm_since >= self._calm:
            self._rank, self._calm_since = self._rank - 1, now
        elif now - self._calm_since >= _LONG_CALM:
            self._calm = _SHORT_CALM
        self.level = PACING_LEVELS[self._rank]
        return self.level
