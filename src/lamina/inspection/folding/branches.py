"""Equal branches between one fork and one join."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from lamina.inspection.folding.tree import Group, Item, moved
from lamina.inspection.folding.wiring import Layout, Node, Wiring, items_of, title

FEWEST = 3


def fold_branches(nodes: list[Node], wiring: Wiring, inside: Callable[[list[Node]], list[Node]]) -> list[Node]:
    """Make a node of equal branches, with their join where it takes nothing else.

    Args:
        nodes: the nodes of one level.
        wiring: what their rows take.
        inside: folds the nodes of one branch.
    """
    layout = Layout(nodes, wiring)
    gone: set[int] = set()
    made: list[Node] = []
    for join in range(len(layout.nodes)):
        for branches in _equal_branches(layout, join):
            node = _parallel(branches, layout, wiring, inside)
            gone.update(place for branch in branches for place in branch)
            if {place for place, _ in layout.takes[join]} <= gone and not layout.fixed[join]:
                gone.add(join)
                node = _joined(node, layout.nodes[join], wiring)
            made.append(node)
    return [node for place, node in enumerate(layout.nodes) if place not in gone] + made


def _equal_branches(layout: Layout, join: int) -> list[list[list[int]]]:
    """For each set of equal branches that end at `join` the places of each branch, from its first node to its last."""
    slots: dict[int, list[int]] = {}
    for place, tensor in layout.takes[join]:
        slots.setdefault(place, []).append(tensor)
    if len(slots) < FEWEST:
        return []
    found: dict[Hashable, list[list[int]]] = {}
    for place, tensors in slots.items():
        branch = _branch(layout, place, join)
        if branch:
            head = branch[0]
            begin = (layout.nodes[head].label, tuple(layout.takes[head]))
            rest = tuple((layout.nodes[i].label, tuple(tensor for _, tensor in layout.takes[i])) for i in branch[1:])
            found.setdefault((begin, rest, tuple(tensors)), []).append(branch)
    return [branches for branches in found.values() if len(branches) >= FEWEST]


def _branch(layout: Layout, place: int, reader: int) -> list[int]:
    """The longest chain that ends at `place`: each node is read by the next one alone and takes from the one before."""
    branch: list[int] = []
    while place >= 0 and not layout.fixed[place] and layout.takes[place]:
        if any(where != reader for where, _ in layout.readers[place]):
            break
        branch.append(place)
        sources = {source for source, _ in layout.takes[place]}
        if len(sources) > 1:
            break
        place, reader = sources.pop(), place
    return branch[::-1]


def _parallel(
    branches: list[list[int]], layout: Layout, wiring: Wiring, inside: Callable[[list[Node]], list[Node]]
) -> Node:
    """The node of equal branches."""
    branches = sorted(branches, key=lambda branch: min(layout.nodes[place].first for place in branch))
    copies = [[layout.nodes[place] for place in branch] for branch in branches]
    rows = [[row for node in copy for row in node.rows] for copy in copies]
    first = inside(copies[0])
    items = items_of(first)
    group = Group(
        "parallel",
        len(copies),
        [moved(items, dict(zip(rows[0], other, strict=True))) for other in rows],
        f"{len(copies)} x {title(first)}",
    )
    return wiring.node([row for copy in rows for row in copy], [group], group.title, "parallel")


def _joined(branches: Node, join: Node, wiring: Wiring) -> Node:
    """The node of equal branches and the join that takes nothing but them."""
    items: list[Item] = [*branches.items, *join.items]
    group = Group("block", 1, [items], f"{branches.word} -> {join.word}")
    return wiring.node([*branches.rows, *join.rows], [group], group.title, "parallel")
