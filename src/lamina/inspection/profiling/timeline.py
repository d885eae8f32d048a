"""When which row of a profile was at work, in one step: moments, and between two of them one row."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import torch

from lamina.inspection.profiling.clocks import HostClock

OUTSIDE = 0
"""The row of everything that no layer does."""

# The number that the next node of autograd's graph will have. Without it nobody knows whose node is whose, and the
# way back is one row.
_next_number: Any = getattr(torch.autograd, "_get_sequence_nr", lambda: 0)


class Timeline:
    """The moments at which the work passes from one row to another.

    Every moment belongs to a row, so that the times of all rows add up to that of the whole.

    Args:
        clock: what the time is.

    Example:
        >>> timeline = Timeline(HostClock())
        >>> timeline.begin()
        >>> timeline.switch(2); timeline.switch(OUTSIDE); timeline.end()
        >>> [seconds >= 0 for seconds in timeline.seconds(3)]
        [True, True, True]
    """

    def __init__(self, clock: HostClock) -> None:
        self.clock = clock
        self.current = OUTSIDE
        self._moments: list[tuple[int, Any, int]] = []

    def begin(self) -> None:
        """Forget what was, and start outside of all layers."""
        self.current = OUTSIDE
        self._moments.clear()
        self.close(OUTSIDE)

    def close(self, row: int) -> None:
        """What was done since the last moment was the work of `row`.

        Args:
            row: which.
        """
        self._moments.append((row, self.clock.stamp(), _next_number()))

    def switch(self, row: int) -> None:
        """What comes is the work of `row`.

        Args:
            row: which.
        """
        self.close(self.current)
        self.current = row

    def end(self) -> None:
        """Nothing more comes; the moments can be read."""
        self.close(self.current)
        self.clock.settle()

    def seconds(self, count: int) -> list[float]:
        """The time of each row.

        Args:
            count: how many rows there are.
        """
        found = [0.0] * count
        for (_, before, _), (row, now, _) in zip(self._moments, self._moments[1:], strict=False):
            found[row] += self.clock.seconds(before, now)
        return found

    def makers(self) -> Makers:
        """Who made the nodes of autograd's graph meanwhile."""
        return Makers([number for _, _, number in self._moments], [row for row, _, _ in self._moments])


class Makers:
    """Which row made a node of autograd's graph, by the node's number.

    Args:
        numbers: for each moment the number of the next node.
        rows: for each moment the row that was at work until then.
    """

    def __init__(self, numbers: list[int], rows: list[int]) -> None:
        self._numbers, self._rows = numbers, rows

    def of(self, number: int) -> int:
        """The row that made a node.

        Args:
            number: the node's.
        """
        place = bisect_right(self._numbers, number)
        return self._rows[place] if 0 < place < len(self._rows) else OUTSIDE
