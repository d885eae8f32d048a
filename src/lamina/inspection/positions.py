"""Where the columns of a table end, when the caller says so."""

from __future__ import annotations

from collections.abc import Sequence

from lamina.errors import ArgumentError

LEAST = 4
"""The fewest characters that a column may have."""


def ends_of(positions: Sequence[float], line_length: int, count: int) -> list[int]:
    """Where columns end, in characters.

    Args:
        positions: parts of the line if the last is at most 1, else characters. There may be more than are needed, as
            one list may serve a chain and a graph.
        line_length: the length of the line.
        count: how many columns there are.

    Raises:
        ArgumentError: there are too few, or they leave a column no room.

    Example:
        >>> ends_of([0.45, 0.85, 1.0], 65, 3), ends_of([20, 40, 50, 90], 90, 3)
        ([29, 55, 65], [20, 40, 50])
    """
    whole = len(positions) > 0 and positions[-1] > 1
    ends = [int(place) if whole else int(line_length * place) for place in positions][:count]
    if len(ends) < count or any(end - start < LEAST for start, end in zip([0, *ends], ends, strict=False)):
        raise ArgumentError(
            "These positions leave no room for the columns.",
            expected=f"{count} rising numbers, each at least {LEAST} characters after the one before",
            received=f"positions={list(positions)} of a line of {line_length}",
            fix="give a larger line_length, or leave positions out",
        )
    return ends
