"""From rows to a tree of items."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lamina.inspection.folding.branches import fold_branches
from lamina.inspection.folding.regions import find_regions
from lamina.inspection.folding.repeats import Repeat, find_repeats
from lamina.inspection.folding.tree import Group, Item, moved
from lamina.inspection.folding.wiring import Layout, Node, Wiring, items_of, title
from lamina.inspection.report import Row

COARSEST = 2


def fold(rows: Sequence[Row], limit: int = 60) -> list[Item]:
    """Find what repeats in the rows of a report, from how they are linked and never from their names.

    Two rows are alike when class, output shapes, dtype, number of weights, trainable and configuration are equal,
    name, seeds and functions left out; two Lambdas when their shapes are. Every row is in the result once. An item
    is the place of a row, or a `Group` of one of these kinds:

    - `"parallel"`: at least three equal chains from the same tensors to the same join. Two are left alone: side by
      side they are as clear. If the join takes nothing else, it goes with them in a `"block"` of one copy, which holds
      the branches and the join: `Group("block", 1, [[Group("parallel", 4, ...), 9]], "4 x (Conv2D -> ReLU) -> Add")`.
    - `"run"`: equal blocks in a row, wired alike, each taking from the one before; at least two blocks of two rows, or
      three of one. What repeats inside a block is folded as well. Where a run may be cut into blocks in several ways,
      a block begins where the fewest tensors go on and the most rows read them, as at a shortcut.
    - `"block"`: only when there are more than `limit` items. First, blocks in a row that are alike in classes and
      wiring but not in sizes become one group with all of them. If that does not do, regions with one tensor in and
      one out of which there is another somewhere, alike but for sizes, become groups of one copy each, such as the
      first blocks of the stages of a ResNet. What is still longer then stays so: nothing in it repeats.

    Rows in other rows are folded among themselves and stay with the row around them. So do those of a torch module,
    which say their depth alone and come before the row of the module around them. Inputs, rows that were not called,
    and one row of each circle (a layer that is called on what comes out of it) are in no group.

    Args:
        rows: the rows of a report.
        limit: how many items there should be at most.

    Returns:
        The items, ordered by their first rows.

    Example:
        >>> from lamina import inspection, layers, models
        >>> model = models.Sequential([layers.Input((4,)), *(layers.Dense(4) for _ in range(5)), layers.Dense(1)])
        >>> run, last = fold(inspection.measure(model).rows)
        >>> run.kind, run.count, run.title, run.copies[0], last
        ('run', 5, 'Dense x 5', [0], 5)

    Reference:
        Main and Lorentz, "An O(n log n) algorithm for finding all repetitions in a string", 1984; Kolpakov and
        Kucherov, "Finding maximal repetitions in a word in linear time", 1999 (what a run is); Johnson, Pearson and
        Pingali, "The program structure tree", 1994 (regions with one entry and one exit).
    """
    folding = _Folding(rows)
    best: list[Item] | None = None
    for coarseness in range(COARSEST + 1):
        items = folding.items(coarseness)
        if best is None or len(items) < len(best):
            best = items
        if len(best) <= limit:
            break
    return best or []


class _Folding:
    """The rows, level by level.

    Args:
        rows: the rows of a report.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._wiring = Wiring(rows)
        self._inside: dict[int | None, list[int]] = {None: []}
        parents = _parents(rows)
        for place, parent in enumerate(parents):
            self._inside.setdefault(parent, []).append(place)
        depths = [0] * len(rows)
        for place in _outer_first(self._inside):
            depths[place] = 0 if parents[place] is None else depths[parents[place]] + 1  # type: ignore[index]
        self._levels = [parent for parent in self._inside if parent is not None]
        self._levels.sort(key=lambda parent: (-depths[parent], parent))
        self._names = [row.class_name for row in rows]
        self._equal: dict[int | None, list[Node]] = {}

    def items(self, coarseness: int) -> list[Item]:
        """The tree; the coarser, the fewer lines.

        Args:
            coarseness: 0 for what is equal only, up to `COARSEST`.
        """
        units: dict[int, tuple[list[int], list[Item]]] = {}
        for parent in [*self._levels, None]:
            nodes = []
            for place in self._inside[parent]:
                rows, items = units.pop(place, ([], []))
                own = [*rows, place] if rows and rows[0] < place else [place, *rows]
                items = [*items, place] if rows and rows[0] < place else [place, *items]
                nodes.append(self._wiring.node(own, items, self._names[place]))
            if any(place in self._inside for place in self._inside[parent]):
                nodes = self._fold(nodes)
            else:  # the same each time
                nodes = self._equal[parent] = self._equal.get(parent) or self._fold(nodes)
            nodes = self._coarser(nodes, coarseness)
            found = items_of(nodes)
            if parent is None:
                return found
            units[parent] = (sorted(row for node in nodes for row in node.rows), found)
        return []

    def _fold(self, nodes: list[Node]) -> list[Node]:
        """Fold what is equal, until nothing is left; the nodes in an order of calls."""
        while len(nodes) > 1:
            before = len(nodes)
            nodes = fold_branches(nodes, self._wiring, self._fold)
            layout = Layout(nodes, self._wiring)
            repeats = find_repeats(layout, _labels(layout, [node.label for node in layout.nodes]))
            nodes = _replaced(layout, [(repeat.start, repeat.stop, self._run(layout, repeat)) for repeat in repeats])
            if len(nodes) == before:
                break
        return Layout(nodes, self._wiring).nodes

    def _run(self, layout: Layout, repeat: Repeat) -> Node:
        """The node of equal blocks in a row."""
        copies = _blocks(layout, repeat)
        rows = [[row for node in copy for row in node.rows] for copy in copies]
        first = self._fold(copies[0]) if len(copies[0]) > 1 else copies[0]
        all_items = [moved(items_of(first), dict(zip(rows[0], other, strict=True))) for other in rows]
        group = Group("run", repeat.count, all_items, f"{title(first)} x {repeat.count}")
        return self._wiring.node([row for copy in rows for row in copy], [group], group.title, "run")

    def _coarser(self, nodes: list[Node], coarseness: int) -> list[Node]:
        """Fold what is alike but for sizes, as far as asked."""
        while coarseness >= 1:
            layout = Layout(nodes, self._wiring)
            outlines = [-1 - i if node.kind == "run" else node.outline for i, node in enumerate(layout.nodes)]
            repeats = find_repeats(layout, _labels(layout, outlines))
            if not repeats:
                break
            nodes = _replaced(layout, [(repeat.start, repeat.stop, self._alike(layout, repeat)) for repeat in repeats])
        if coarseness >= 2:
            layout = Layout(nodes, self._wiring)
            regions = find_regions(layout, self._wiring)
            nodes = _replaced(layout, [(begin, end, self._block(layout.nodes[begin:end])) for begin, end in regions])
        return nodes

    def _alike(self, layout: Layout, repeat: Repeat) -> Node:
        """The node of blocks in a row that differ in sizes."""
        copies = _blocks(layout, repeat)
        order = sorted(range(repeat.period), key=lambda i: copies[0][i].first)
        items = [[item for i in order for item in copy[i].items] for copy in copies]
        group = Group("block", repeat.count, items, f"{title(copies[0])} x {repeat.count}, sizes differ")
        rows = [row for copy in copies for node in copy for row in node.rows]
        return self._wiring.node(rows, [group], group.title, "block")

    def _block(self, nodes: list[Node]) -> Node:
        """The node of a region."""
        group = Group("block", 1, [items_of(nodes)], title(nodes))
        return self._wiring.node([row for node in nodes for row in node.rows], [group], group.title, "block")


def _parents(rows: Sequence[Row]) -> list[int | None]:
    """The place of the row around each row. Where rows say only their depth, those around come after those inside."""
    if any(row.parent is not None for row in rows):
        return [row.parent for row in rows]
    parents: list[int | None] = [None] * len(rows)
    waiting: list[int] = []
    for place, row in enumerate(rows):
        while row.call_shapes and waiting and rows[waiting[-1]].depth > row.depth:
            parents[waiting.pop()] = place
        waiting.append(place)
    return parents


def _outer_first(inside: dict[int | None, list[int]]) -> list[int]:
    """All places, each after the one around it."""
    found = list(inside[None])
    for place in found:
        found.extend(inside.get(place, []))
    return found


def _labels(layout: Layout, labels: list[int]) -> np.ndarray:
    """The labels of nodes, each fixed one with a label that no other has."""
    return np.array([-1 - i if layout.fixed[i] else label for i, label in enumerate(labels)], dtype=np.int64)


def _blocks(layout: Layout, repeat: Repeat) -> list[list[Node]]:
    """The nodes of each block."""
    begins = range(repeat.start, repeat.stop, repeat.period)
    return [layout.nodes[begin : begin + repeat.period] for begin in begins]


def _replaced(layout: Layout, groups: list[tuple[int, int, Node]]) -> list[Node]:
    """The nodes, each stretch of a group replaced by the group's node."""
    gone = {place for begin, end, _ in groups for place in range(begin, end)}
    return [node for place, node in enumerate(layout.nodes) if place not in gone] + [node for _, _, node in groups]
