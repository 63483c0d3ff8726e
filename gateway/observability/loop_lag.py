"""How late the event loop is: what a callback waits for that should run now."""

from __future__ import annotations

from collections.abc import Callable

from tornado.ioloop import PeriodicCallback

_LOOK_SECONDS = 0.1


class LoopLag:
    """Looks ten times a second how late it is called."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looked_at = 0.0
        self._worst = 0.0
        self._periodic = PeriodicCallback(self._look, _LOOK_SECONDS * 1000)

    def start(self) -> None:
        """Begin to look; needs a running loop."""
        self._looked_at = self._clock()
        self._periodic.start()

    def stop(self) -> None:
        """Look no more."""
        self._periodic.stop()

    def take_worst(self) -> float:
        """The worst lateness in seconds since the last call."""
        worst, self._worst = self._worst, 0.0
        return worst

    def _look(self) -> None:
        now = self._clock()
        # A PeriodicCallback that is late skips to its next multiple, so only more than a period counts.
        self._worst = max(self._worst, now - self._looked_at - _LOOK_SECONDS)
        self._looked_at = now
