"""Which rows read which, and nodes: rows that are looked at as one."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from lamina.inspection.folding.likeness import likeness
from lamina.inspection.folding.tree import Item, chain
from lamina.inspection.report import Row

# Where the results of a row with rows inside begin among the tensors that it reads.
_RESULTS = 1_000_000

Tensor = tuple[int, int, int]  # row, call, result; a negative row is an input of the model that has no row


@dataclass(eq=False, slots=True)
class Node:
    """Rows that are looked at as one: a row alone, a row with those inside, or a group.

    Attributes:
        rows: their places, in an order that pairs them with those of a node that is alike.
        items: what they become.
        word: how a title calls them.
        kind: `"row"`, or the kind of the group.
        label: equal for nodes that are alike, inside as well.
        outline: equal for nodes that are alike but for sizes and arguments.
        takes: the tensors from outside, in order.
        readers: what reads their tensors outside: the row, the how-manieth tensor it reads, and which tensor of which
            of `rows` that is.
        weights: how many numbers its weights have.
        fixed: whether no group may hold it, since it takes nothing: an input, or what was not called.
    """

    rows: list[int]
    items: list[Item]
    word: str
    kind: str
    label: int
    outline: int
    takes: list[Tensor]
    readers: list[tuple[int, int, tuple[int, int, int]]]
    weights: int
    fixed: bool

    @property
    def first(self) -> int:
        """The place of the first row."""
        return min(self.rows)

    @property
    def joins(self) -> bool:
        """Whether it takes tensors of several rows."""
        return len({row for row, _, _ in self.takes}) > 1


def title(nodes: Sequence[Node]) -> str:
    """What a line says of nodes: it keeps branches and the last join.

    Args:
        nodes: the nodes in order.
    """
    joins = [i for i, node in enumerate(nodes) if node.joins and node.kind == "row"]
    return chain(
        [node.word for node in nodes], [node.kind == "parallel" or i in joins[-1:] for i, node in enumerate(nodes)]
    )


def items_of(nodes: Sequence[Node]) -> list[Item]:
    """What nodes become, ordered by first rows.

    Args:
        nodes: the nodes.
    """
    return [item for node in sorted(nodes, key=lambda node: node.first) for item in node.items]


class Wiring:
    """What each row takes and who reads it, and how rows become nodes.

    Args:
        rows: the rows of a report.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        self._numbers: dict[Hashable, int] = {}
        self._names = [row.class_name for row in rows]
        self.takes: list[list[Tensor]] = [[(link.row, link.call, link.tensor) for link in row.links] for row in rows]
        self._results = [[(link.row, link.call, link.tensor) for link in row.results] for row in rows]
        self._readers: list[list[tuple[int, int, Tensor]]] = [[] for _ in rows]
        for place in range(len(rows)):
            for slot, tensor in enumerate(self.takes[place]):
                self._readers[tensor[0]].append((place, slot, tensor))
            for slot, tensor in enumerate(self._results[place]):
                self._readers[tensor[0]].append((place, _RESULTS + slot, tensor))
        for place, row in enumerate(rows):
            # A model without a row for its input: what is called on it takes a tensor all the same, as do rows inside.
            begins = row.class_name == "InputLayer" and row.parent is None
            if not row.links and self._readers[place] and row.call_shapes and not begins:
                self.takes[place] = [(-1 - _outermost_without_links(rows, place), 0, 0)]
        self._weights = [row.num_params for row in rows]
        self._keys = [self.number(likeness(row)) for row in rows]
        self._classes = [self.number(("class", row.class_name)) for row in rows]

    def number(self, value: Hashable) -> int:
        """The same number for the same value.

        Args:
            value: anything that can be kept in a set.
        """
        return self._numbers.setdefault(value, len(self._numbers))

    def node(self, rows: list[int], items: list[Item], word: str | None = None, kind: str = "row") -> Node:
        """The node of some rows.

        Args:
            rows: their places, in an order that pairs them with those of a node that is alike.
            items: what they become.
            word: how a title calls them; the class of the only row by default.
            kind: `"row"`, or the kind of the group.
        """
        offsets = {row: offset for offset, row in enumerate(rows)}
        takes: list[Tensor] = []
        readers: list[tuple[int, int, tuple[int, int, int]]] = []
        wires: list[Any] = []
        for row in rows:
            inside: list[Any] = []
            for source, call, result in self.takes[row]:
                if source in offsets:
                    inside.append((offsets[source], call, result))
                else:
                    inside.append(None)
                    takes.append((source, call, result))
            inside += [(_RESULTS, offsets.get(source), call, result) for source, call, result in self._results[row]]
            wires.append(tuple(inside))
            readers += [
                (reader, slot, (offsets[row], call, result))
                for reader, slot, (_, call, result) in self._readers[row]
                if reader not in offsets
            ]
        return Node(
            rows,
            items,
            self._names[rows[0]] if word is None else word,
            kind,
            self.number((kind, tuple(zip([self._keys[row] for row in rows], wires, strict=True)))),
            self.number((kind, "outline", tuple(zip([self._classes[row] for row in rows], wires, strict=True)))),
            takes,
            readers,
            sum(self._weights[row] for row in rows),
            not takes,
        )


def _outermost_without_links(rows: Sequence[Row], place: int) -> int:
    """The outermost of the rows around `place` up to which none takes a tensor."""
    around = rows[place].parent
    while around is not None and not rows[around].links:
        place, around = around, rows[around].parent
    return place


class Layout:
    """Nodes in an order of calls that finishes one branch before the next, and the wires between them.

    Args:
        nodes: the nodes.
        wiring: what their rows take.

    Attributes:
        nodes: the nodes in that order.
        takes: for each node the tensors from outside: the place of the node that makes it, and which of that one's
            tensors. What no node here makes has a negative place, a thousand million apart from any other.
        readers: for each node where its tensors go: the place of a node, or a number beyond for what is not here, and
            which of its inputs is which of the tensors.
        fixed: which nodes no group may hold: inputs, rows that were not called, and those that a circle goes
            through, as it does when a layer is called on what comes out of it.
    """

    APART = 10**9

    def __init__(self, nodes: Sequence[Node], wiring: Wiring) -> None:
        self.nodes, self.fixed = _in_calling_order(sorted(nodes, key=lambda node: node.first))
        owners = {row: (place, offset) for place, node in enumerate(self.nodes) for offset, row in enumerate(node.rows)}
        outside: dict[Hashable, int] = {}
        self.takes: list[list[tuple[int, int]]] = []
        self.readers: list[list[tuple[int, Hashable]]] = []
        nothing = wiring.number("outside")
        for node in self.nodes:
            taken: list[tuple[int, int]] = []
            for row, call, result in node.takes:
                if row in owners:
                    place, offset = owners[row]
                    taken.append((place, wiring.number((offset, call, result))))
                else:
                    number = outside.setdefault((row, call, result), len(outside))
                    taken.append((-(number + 1) * self.APART, nothing))
            self.takes.append(taken)
            read: list[tuple[int, Hashable]] = []
            for row, slot, tensor in node.readers:
                place, offset = owners.get(row, (None, None))
                if place is None:
                    place = (outside.setdefault(row, len(outside)) + 1) * self.APART
                read.append((place, (offset, slot, wiring.number(tensor))))
            self.readers.append(sorted(read, key=lambda one: one[0]))


def _in_calling_order(nodes: list[Node]) -> tuple[list[Node], list[bool]]:
    """The nodes so that each comes after those that it reads, the newest that can come first; and which are fixed."""
    owners = {row: place for place, node in enumerate(nodes) for row in node.rows}
    sources = [{owners[row] for row, _, _ in node.takes if row in owners} for node in nodes]
    readers: list[list[int]] = [[] for _ in nodes]
    for place, found in enumerate(sources):
        for source in found:
            readers[source].append(place)
    missing = [len(found) for found in sources]
    ready = [place for place in reversed(range(len(nodes))) if not missing[place]]
    ordered: list[Node] = []
    fixed: list[bool] = []
    done = [False] * len(nodes)
    following = 0
    while len(ordered) < len(nodes):
        stuck = not ready
        if stuck:
            while done[following]:
                following += 1
            ready.append(following)
        place = ready.pop()
        done[place] = True
        ordered.append(nodes[place])
        fixed.append(nodes[place].fixed or stuck)
        for reader in reversed(readers[place]):
            missing[reader] -= 1
            if missing[reader] == 0 and not done[reader]:
                ready.append(reader)
    return ordered, fixed
