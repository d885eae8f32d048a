"""Regions with one tensor in and one out that recur in different places, whatever their sizes.

Such single-entry single-exit regions are those of Johnson, Pearson and Pingali (1994), here on the graph of tensors.
The nodes are cut wherever one tensor alone goes across; strings of the pieces between the cuts that occur more than
once become one line each, those that save most lines first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

import numpy as np

from lamina.inspection.folding.wiring import Layout, Node, Wiring

LONGEST = 100  # pieces that one line may stand for


def find_regions(layout: Layout, wiring: Wiring) -> list[tuple[int, int]]:
    """Where regions begin and end of which there is another one, alike but for sizes and arguments.

    A run, an input, and what is in such a region already are in none.

    Args:
        layout: the nodes and their wires.
        wiring: what their rows take.
    """
    cuts = _cuts(layout)
    pieces = list(zip(cuts, cuts[1:], strict=False))
    codes = [_code(layout, begin, end, wiring) for begin, end in pieces]
    heights = np.array([sum(len(node.items) for node in layout.nodes[begin:end]) for begin, end in pieces])
    found: list[tuple[int, int]] = []
    while True:
        length, starts = _best(np.array(codes), heights)
        if not starts:
            return found
        for start in starts:
            found.append((pieces[start][0], pieces[start + length - 1][1]))
            for piece in range(start, start + length):
                codes[piece] = -1 - pieces[piece][0]


def _cuts(layout: Layout) -> list[int]:
    """The places before which one tensor goes on, or none."""
    count = len(layout.nodes)
    last: dict[tuple[int, Hashable], int] = {}
    for place, taken in enumerate(layout.takes):
        last.update(dict.fromkeys(taken, place))
    for place, read in enumerate(layout.readers):
        last.update({(place, what[2]): count for where, what in read if where >= layout.APART})
    across = np.zeros(count + 2, dtype=np.int64)
    for (source, _), reader in last.items():
        if source < reader:
            across[max(source, -1) + 1] += 1
            across[reader + 1] -= 1
    inner = np.flatnonzero(np.cumsum(across)[:count] <= 1)
    return sorted({0, *inner.tolist(), count})


def _code(layout: Layout, begin: int, end: int, wiring: Wiring) -> int:
    """A number for the nodes of a piece equal for those alike, below 0 where it is not to fold."""
    nodes = layout.nodes[begin:end]
    if any(map(_apart, nodes)) or any(layout.fixed[begin:end]):
        return -1 - begin
    wires = [
        tuple((place - begin, tensor) if place >= begin else None for place, tensor in layout.takes[i])
        for i in range(begin, end)
    ]
    return wiring.number(("piece", tuple(zip([node.outline for node in nodes], wires, strict=True))))


def _apart(node: Node) -> bool:
    """Whether a node is a group that is no part of a block: what shall be seen is how often it repeats."""
    return node.kind in ("run", "block")


def _best(codes: np.ndarray, heights: np.ndarray) -> tuple[int, list[int]]:
    """The string of pieces that saves most lines when each place where it is becomes a line: its length, the places."""
    best: tuple[int, int, list[int]] = (0, 0, [])
    total = np.concatenate(([0], np.cumsum(heights)))
    names = np.unique(codes, return_inverse=True)[1]
    strings = names
    for length in range(1, min(LONGEST, len(codes)) + 1):
        if length > 1:  # a string is one shorter by a piece, and that piece
            strings = np.unique(strings[:-1] * (len(names) + 1) + names[length - 1 :], return_inverse=True)[1]
        counts = Counter(strings.tolist())
        repeated = {string for string, count in counts.items() if count > 1}
        if not repeated:
            break
        places: dict[int, list[int]] = {}
        for place, string in enumerate(strings.tolist()):
            if string in repeated:
                found = places.setdefault(string, [])
                if not found or place >= found[-1] + length:
                    found.append(place)
        for found in places.values():
            saved = len(found) * int(total[found[0] + length] - total[found[0]] - 1)
            if len(found) > 1 and saved > best[0] and total[found[0] + length] - total[found[0]] > 2:
                best = (saved, length, found)
    return best[1], best[2]
