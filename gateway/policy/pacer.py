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

from math import ceil, inf

from gateway.exchange.answer import AnswerEvent, Finished, TextDelta
from gateway.frozen import frozen
from gateway.policy.graphemes import cut, last_cluster, may_grow

TICK_SECONDS = 0.02

# Sizes are in code points.
_WORD = 16  # up to here a delta is a piece already: tokens are
_FEW_WORDS = 32  # the same for a stream that has shown no pauses
_OPENING = 2 * _FEW_WORDS  # in one tick, from a stream whose speed is not known yet
_LEAST = 4  # pieces of a slow flow leave less often instead, not letter by letter

_PAUSE_TICKS = 3  # a pause that is seen
_LONGEST_TICKS = 2.5  # between two pieces while text waits
_SPEED_MEMORY = 2.0  # seconds
_HASTE = 1.1  # times the stream's own speed, so that no backlog stays


@frozen
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

    The caller sends what `push` and `due` return, in one write, and calls `due` at `next_at`. A late call costs
    smoothness, nothing else: more leaves at once. Texts that arrive in one `push` leave as one.
    """

    def __init__(self, max_delay: float = 0.25, tick: float = TICK_SECONDS, load: PacingLoad | None = None) -> None:
        self.next_at: float | None = None  # when to call `due`; None: nothing waits
        self._max_delay = max_delay
        self._tick = tick
        self._pause = _PAUSE_TICKS * tick
        self._load = load or PacingLoad()
        # What waits: text, and perhaps the end behind it.
        self._chunks: list[str] = []
        self._offset = 0  # into the first chunk
        self._arrived = 0  # code points that have ever waited
        self._left = 0  # how many of them are gone
        self._deadlines: list[tuple[float, int]] = []  # by when `_left` has to be how much
        self._end: Finished | None = None
        # How the stream flows.
        self._arrived_at = inf
        self._sent_at = -inf
        self._interval = tick  # after the last piece
        self._uneven_until = -inf
        self._window_at = -inf
        self._window_size = 0  # what has come since then
        self._last_size = 0
        self._size = 0.0  # speed: how much in how many
        self._seconds = 0.0

    def push(self, events: list[AnswerEvent], now: float) -> list[AnswerEvent]:
        """Take what has arrived together; return what to send at once. The same list, where nothing is to be done."""
        if self.next_at is None and len(events) == 1:
            event = events[0]
            if not isinstance(event, TextDelta) or self._passes(len(event.text), now):
                return events
            self._wait(event.text, now)
            return self.due(now)
        sent: list[AnswerEvent] = []
        texts: list[str] = []
        for event in events:
            if isinstance(event, TextDelta):
                texts.append(event.text)
                continue
            if texts:
                sent += self._take("".join(texts), now)
                texts.clear()
            if self.next_at is None:
                sent.append(event)
            elif isinstance(event, Finished):
                self._end = event
                self._hurry(now)  # nothing can join the last cluster any more
            else:
                sent += [*self.flush(), event]
                self._sent_at = -inf  # text after it begins at once again
        if texts:
            sent += self._take("".join(texts), now)
        return sent + self.due(now)

    def due(self, now: float) -> list[AnswerEvent]:
        """What is to be sent now."""
        # A timer may be early by its resolution.
        if self.next_at is None or now < self.next_at - self._tick / 20:
            return []
        level = self._load.level
        if level is OFF:
            self._sent_at = now
            return self.flush()
        if self._offset or len(self._chunks) > 1:
            self._chunks = ["".join([self._chunks[0][self._offset :], *self._chunks[1:]])]
            self._offset = 0
        return self._send_piece(self._chunks[0], self._tick * level.ticks, now)

    def flush(self) -> list[AnswerEvent]:
        """Everything, now: when the answer is cut off, or pacing is switched off."""
        events: list[AnswerEvent] = []
        if self._chunks:
            events.append(TextDelta("".join(self._chunks)[self._offset :]))
        if self._end is not None:
            events.append(self._end)
        self._chunks.clear()
        self._deadlines.clear()
        self._offset, self._left, self._end, self.next_at = 0, self._arrived, None, None
        self._interval = self._tick
        return events

    def _take(self, text: str, now: float) -> list[AnswerEvent]:
        if self._passes(len(text), now):
            return [TextDelta(text)]
        self._wait(text, now)
        return []

    def _passes(self, size: int, now: float) -> bool:
        """Note an arrival. Does it belong to an even flow, or is it a piece already, so that it needs no pacing?"""
        pause = now - self._arrived_at
        self._arrived_at = now
        if pause > self._pause:
            self._uneven_until = now + 2 * self._max_delay
            if pause > self._max_delay:
                pause = self._max_delay  # a longer silence cannot be filled, so it does not count for the speed
        if pause > 0.0:  # not the first text
            keep = _SPEED_MEMORY / (_SPEED_MEMORY + pause)
            # The pause is what the text before it had to fill.
            self._size = self._size * keep + self._last_size
            self._seconds = self._seconds * keep + pause
            self._last_size = size
        else:
            self._last_size += size
        if now < self._uneven_until:
            passes = size <= _WORD and now - self._sent_at >= self._tick
        else:
            if now - self._window_at >= self._tick:
                self._window_at, self._window_size = now, 0
            self._window_size += size
            passes = (size <= _FEW_WORDS and self._window_size <= _OPENING) or (
                self._window_size <= self._speed() * self._max_delay / 2
            )
        if self.next_at is not None or not (passes or self._load.level is OFF):
            return False
        self._sent_at = now
        return True

    def _wait(self, text: str, now: float) -> None:
        self._chunks.append(text)
        self._arrived += len(text)
        # Half a tick of reserve: the last timer may be late.
        deadline = now + self._max_delay - self._tick / 2
        if self._deadlines and deadline - self._deadlines[-1][0] < self._tick / 4:
            deadline, _ = self._deadlines.pop()
        self._deadlines.append((deadline, self._arrived))
        self._hurry(now)

    def _hurry(self, now: float) -> None:
        """There is more: go on at the next tick, also where a last cluster was held back for longer."""
        self.next_at = max(now, min(self._sent_at + self._interval, self._deadlines[0][0]))

    def _send_piece(self, text: str, tick: float, now: float) -> list[AnswerEvent]:
        size, self._interval = self._measure(tick, now)
        end = cut(text, 0, size)
        self.next_at = now + self._interval
        if end == len(text) and now < self._uneven_until and self._end is None:
            held_until = min(self._arrived_at + self._pause, self._sent_at + self._pause, self._deadlines[0][0])
            if now + tick <= held_until and may_grow(text):
                end = last_cluster(text, 0)
                self.next_at, self._interval = held_until, tick
        if end == len(text):
            self._sent_at = now
            return self.flush()
        if not end:
            return []
        self._sent_at = now
        self._offset = end
        self._left += end
        self._deadlines = [row for row in self._deadlines if row[1] > self._left]
        return [TextDelta(text[:end])]

    def _measure(self, tick: float, now: float) -> tuple[int, float]:
        """The size of the next piece, and the time from it to the one after it."""
        needs = [(deadline - now, arrived - self._left) for deadline, arrived in self._deadlines]
        own = _HASTE * self._speed()
        fastest = max(own, *(size / (max(seconds, 0.0) + tick) for seconds, size in needs))
        interval = min(max(_LEAST / fastest, tick), max(_LONGEST_TICKS * self._tick, tick))
        # Each size in as many pieces, from this one on, as leave before its deadline; a twentieth for float errors.
        sizes = [size / (max(int(seconds / interval + 0.05), 0) + 1) for seconds, size in needs]
        return max(round(own * interval), *map(ceil, sizes), _LEAST), interval

    def _speed(self) -> float:
        """Code points per second; too low rather than too high while little is known."""
        return self._size / max(self._seconds, self._max_delay / 2, 0.001)
