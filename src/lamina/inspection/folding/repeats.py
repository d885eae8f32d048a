"""Equal blocks in a row: where they are, which of them are worth most, and whether they are wired alike.

A stretch of nodes in which each is like the one `period` places on is a repetition in the sense of Main and Lorentz
(1984) and of Kolpakov and Kucherov (1999). Here the letters are wired to each other as well, so that a stretch is found
by comparing all nodes with those `period` places on, for one period after the other, in numpy; and what was found is
then checked wire by wire.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lamina.inspection.folding.wiring import Layout

COLUMNS = 8  # wires of a node that the search compares; the check afterwards compares all
TRIES = 8  # places to cut a repetition into blocks that are checked


@dataclass(frozen=True)
class Repeat:
    """`count` equal blocks of `period` nodes from the place `start` on."""

    start: int
    period: int
    count: int

    @property
    def stop(self) -> int:
        """The place after the last block."""
        return self.start + self.period * self.count


@dataclass(frozen=True)
class _Candidate:
    """What may be `count` blocks of `period` nodes that begin somewhere from `low` to `high`."""

    count: int
    period: int
    low: int
    high: int

    @property
    def worth(self) -> float:
        """More for more rows and for more blocks: 24 blocks of 7 rows tell more than two halves of 100 rows."""
        return self.count * self.period * math.log2(self.count)


def find_repeats(layout: Layout, labels: np.ndarray) -> list[Repeat]:
    """Equal blocks in a row that do not overlap.

    At least two lines must be saved: two blocks of two nodes, or three of one.

    Args:
        layout: the nodes and their wires.
        labels: a number for each node, equal for those that are alike.
    """
    found: list[Repeat] = []
    taken = np.zeros(len(labels), dtype=bool)
    cuts = _Cuts(layout)
    candidates = sorted(_candidates(layout, labels), key=lambda found: (-found.worth, found.period, found.low))
    for candidate in candidates:
        if taken[candidate.low : candidate.high + candidate.count * candidate.period].any():
            continue
        for repeat in cuts.ways(candidate):
            if wired_alike(layout, repeat):
                found.append(repeat)
                taken[repeat.start : repeat.stop] = True
                break
    return found


def _candidates(layout: Layout, labels: np.ndarray) -> Iterator[_Candidate]:
    """All stretches that may be repeats."""
    count = len(labels)
    takes = _Columns(layout.takes, backward=True)
    readers = _Columns([[(place, 0) for place, _ in read] for read in layout.readers], backward=False)
    for period in range(1, count // 2 + 1):
        same = labels[period:] == labels[:-period]
        if np.count_nonzero(same) < period:
            continue
        pairs = _stretches(same, period)
        if not pairs:
            continue
        if period > 1:
            for begin, end in pairs:
                yield _Candidate(2, period, begin, end - period)
        # Blocks in the middle: wired like the one before, and read like the one after.
        middle = (same & readers.like(period))[:-period] & (same & takes.like(period))[period:]
        for begin, end in _stretches(middle, period):
            blocks, over = divmod(end - begin, period)
            yield _Candidate(blocks + 2, period, begin, begin + over)


def _stretches(mask: np.ndarray, shortest: int) -> list[tuple[int, int]]:
    """Where `mask` is true for at least `shortest` places on end."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    begins, ends = edges[::2], edges[1::2]
    long = ends - begins >= shortest
    return list(zip(begins[long].tolist(), ends[long].tolist(), strict=True))


class _Columns:
    """The first wires of each node, one a column.

    Args:
        wires: for each node places and tensors.
        backward: whether wires lead to nodes before, of which the block before is the farthest.
    """

    def __init__(self, wires: list[list[tuple[int, int]]], backward: bool) -> None:
        width = min(max(map(len, wires), default=0), COLUMNS)
        self._places = np.full((width, len(wires)), -1, dtype=np.int64)
        self._tensors = np.zeros((width, len(wires)), dtype=np.int64)
        self._counts = np.array([len(found) for found in wires])
        for node, found in enumerate(wires):
            for column, (place, tensor) in enumerate(found[:width]):
                self._places[column, node], self._tensors[column, node] = place, tensor
        self._far = np.arange(len(wires)) - self._places if backward else None

    def like(self, period: int) -> np.ndarray:
        """Which nodes have wires like the one `period` on: to places `period` apart, or to one place."""
        shift = self._places[:, period:] - self._places[:, :-period]
        apart = shift == period
        if self._far is not None:
            apart &= self._far[:, period:] < 2 * period
        like = (apart | (shift == 0)) & (self._tensors[:, period:] == self._tensors[:, :-period])
        return like.all(axis=0) & (self._counts[period:] == self._counts[:-period])


class _Cuts:
    """Where to cut a repetition into blocks: where the fewest tensors go across and the most nodes read them.

    That is where a block with a shortcut begins. Among equals a block begins as the first of a chain of such classes
    does, or else with the node that has most weights.

    Args:
        layout: the nodes and their wires.
    """

    def __init__(self, layout: Layout) -> None:
        count = len(layout.nodes)
        tensors, wires = np.zeros(count + 2, dtype=np.int64), np.zeros(count + 2, dtype=np.int64)
        last: dict[tuple[int, int], int] = {}
        for place, taken in enumerate(layout.takes):
            for tensor in taken:
                last[tensor] = max(place, last.get(tensor, place))
                if 0 <= tensor[0] < place:
                    wires[tensor[0] + 1] += 1
                    wires[place + 1] -= 1
        for place, read in enumerate(layout.readers):
            last.update({(place, what[2]): count for where, what in read if where >= layout.APART})
        for (source, _), reader in last.items():
            if source < reader:
                tensors[max(source, -1) + 1] += 1
                tensors[reader + 1] -= 1
        across = np.cumsum(wires)
        self._worth = np.cumsum(tensors) * (across.max() + 1) - across  # the less, the better
        self._outlines = np.array([node.outline for node in layout.nodes])
        self._weights = np.unique([-node.weights for node in layout.nodes], return_inverse=True)[1]  # 0 for the most

    def ways(self, candidate: _Candidate) -> Iterator[Repeat]:
        """Repeats to try, the best first; for each way to cut also without the first or the last block, or both.

        Args:
            candidate: what may be a repeat.
        """
        period, count = candidate.period, candidate.count
        starts = np.arange(candidate.low, candidate.high + 1)
        # Where the classes alone begin to repeat is where a block begins.
        differ = np.flatnonzero(self._outlines[period:] != self._outlines[:-period])
        before = np.searchsorted(differ, candidate.low)
        phase = differ[before - 1] + 1 if before else 0
        worth = (self._worth[starts + period] * 2 + ((starts - phase) % period != 0)) * len(self._weights)
        order = np.argsort(worth + self._weights[starts], kind="stable")
        for start in starts[order[:TRIES]].tolist():
            for skipped, blocks in ((0, count), (1, count - 1), (0, count - 1), (1, count - 2)):
                if blocks >= 2 and blocks * period >= 3:
                    yield Repeat(start + skipped * period, period, blocks)


def wired_alike(layout: Layout, repeat: Repeat) -> bool:
    """Whether the blocks of a repeat are wired alike, inside and to what is around them.

    Each node takes tensors from its own block as its likes do; from the block before as its likes do, which for the
    first block are tensors from outside, one for each; or from outside the very tensor that its likes take. Every
    block takes something from the one before. What reads a block from outside reads all others in the same way, but
    for what reads the results of the last one. A block is in one piece.

    Args:
        layout: the nodes and their wires.
        repeat: the blocks.
    """
    entries = _entries(layout, repeat)
    return bool(entries) and _read_alike(layout, repeat, set(entries)) and _in_one_piece(layout, repeat)


def _entries(layout: Layout, repeat: Repeat) -> dict[tuple[int, int], tuple[int, int]]:
    """For each tensor that blocks hand on what the first one takes in its place; nothing if they are not alike."""
    period, start = repeat.period, repeat.start
    entries: dict[tuple[int, int], tuple[int, int]] = {}
    steady: set[tuple[int, int]] = set()
    for node in range(start + period, repeat.stop):
        own = node - (node - start) % period
        before = layout.takes[node - period]
        if len(before) != len(layout.takes[node]):
            return {}
        for (place, tensor), earlier in zip(layout.takes[node], before, strict=True):
            if place < start:
                alike = earlier == (place, tensor)
                steady.add(earlier)
            elif place >= own or own > start + period:
                alike = earlier == (place - period, tensor) and place >= own - period
            else:
                alike = earlier[0] < start and entries.setdefault((place - start, tensor), earlier) == earlier
            if not alike:
                return {}
    one_for_each = len(set(entries.values())) == len(entries) and steady.isdisjoint(entries.values())
    return entries if one_for_each else {}


def _read_alike(layout: Layout, repeat: Repeat, handed_on: set[tuple[int, int]]) -> bool:
    """Whether blocks are read alike by what is outside all of them."""
    start, stop = repeat.start, repeat.stop
    for node in range(start, stop):
        at = (node - start) % repeat.period
        outside, first = (
            {(place, what[0], what[2]) for place, what in layout.readers[i] if not start <= place < stop}
            for i in (node, start + at)
        )
        if node >= stop - repeat.period:
            outside = {wire for wire in outside if wire in first or (at, wire[2]) not in handed_on}
        if outside != first:
            return False
    return True


def _in_one_piece(layout: Layout, repeat: Repeat) -> bool:
    """Whether the nodes of a block hang together, by wires or by reading one tensor of the block before."""
    begin = repeat.start + repeat.period
    ties: dict[int | tuple[int, int], list[int | tuple[int, int]]] = {}
    for node in range(begin, begin + repeat.period):
        ties.setdefault(node, [])
        for place, tensor in layout.takes[node]:
            if place >= repeat.start:
                other = place if place >= begin else (place, tensor)
                ties[node].append(other)
                ties.setdefault(other, []).append(node)
    reached = {begin}
    waiting: list[int | tuple[int, int]] = [begin]
    while waiting:
        for other in ties[waiting.pop()]:
            if other not in reached:
                reached.add(other)  # type: ignore[arg-type]
                waiting.append(other)
    return len(reached) == len(ties)
