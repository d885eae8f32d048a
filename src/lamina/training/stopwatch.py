"""Timing steps of a device that runs behind its host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Stopwatch:
    """The time of steps, taken a lap at a time.

    Args:
        clock: gives seconds.
        synchronize: waits for the device; called where the time is taken, never in a step between.
        lap: steps of a lap.

    Example:
        >>> watch = Stopwatch(iter([0.0, 3.0]).__next__, lambda: None, lap=2)
        >>> watch.start(), watch.count(), watch.start(), watch.count(), watch.laps
        (None, 0, None, 1, [1.5])
    """

    def __init__(self, clock: Callable[[], float], synchronize: Callable[[], Any], lap: int) -> None:
        self._clock = clock
        self._synchronize = synchronize
        self._lap = lap
        self._since: float | None = None
        self._seconds = 0.0
        self._steps = 0
        self.laps: list[float] = []  # seconds a step

    def start(self) -> None:
        """Run, if it does not run already."""
        if self._since is None:
            self._synchronize()
            self._since = self._clock()

    def stop(self) -> None:
        """Stand still while something else goes on; the lap is continued at the next `start`."""
        if self._since is not None:
            self._synchronize()
            self._seconds += self._clock() - self._since
            self._since = None

    def count(self) -> int:
        """A step has been made; how many laps are complete."""
        self._steps += 1
        if self._steps == self._lap:
            self.stop()
            self.laps.append(self._seconds / self._lap)
            self._seconds, self._steps = 0.0, 0
        return len(self.laps)
