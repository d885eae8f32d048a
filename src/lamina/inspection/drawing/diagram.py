"""From a report to what is drawn: boxes, what holds them, and which of them are linked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from lamina.inspection.drawing.boxes import Box, Shown, Text, group_box, heading, row_box
from lamina.inspection.report import Link, ReportData, Row


@dataclass
class Node:
    """A layer, a nested model or a folded group.

    Attributes:
        index: its place in `Diagram.nodes`; what holds a node comes before it.
        parent: the node that holds it, or `None`.
        row: the place of its row, or `None` for a group.
        box: how it looks when closed.
        title: what stands over it when open.
        members: the nodes that it holds; only these two kinds have some.
        count: how many copies a group has, 0 for anything else.
    """

    index: int
    parent: int | None
    row: int | None
    box: Box
    title: Text | None = None
    members: list[int] = field(default_factory=list)
    count: int = 0


@dataclass
class Diagram:
    """What is drawn, before anything has a place.

    Attributes:
        nodes: the nodes.
        links: from which node to which tensors go, each pair once.
    """

    nodes: list[Node]
    links: list[tuple[int, int]]

    def holders(self, node: int) -> list[int]:
        """The node and all that hold it, outwards.

        Args:
            node: its index.
        """
        found = [node]
        while (parent := self.nodes[found[-1]].parent) is not None:
            found.append(parent)
        return found

    def closed(self, groups: bool, models: bool) -> Diagram:
        """The diagram with some nodes closed: what they hold is left out, and links end at them.

        Args:
            groups: whether the groups are.
            models: whether the nested models are.
        """
        stands: list[int] = []  # for each node the one that is seen in its place
        for node in self.nodes:
            outer = None if node.parent is None else stands[node.parent]
            hidden = outer is not None and (outer != node.parent or _shuts(self.nodes[outer], groups, models))
            stands.append(outer if hidden and outer is not None else node.index)
        places = {index: place for place, index in enumerate(dict.fromkeys(stands))}
        nodes = []
        for index, place in places.items():
            node = self.nodes[index]
            parent = None if node.parent is None else places[node.parent]
            members = [] if _shuts(node, groups, models) else [places[member] for member in node.members]
            nodes.append(Node(place, parent, node.row, node.box, node.title, members, node.count))
        links = {
            (places[stands[source]], places[stands[target]]): None
            for source, target in self.links
            if stands[source] != stands[target] or source == target == stands[source]
        }
        return Diagram(nodes, list(links))


def draw_up(report: ReportData, items: list[Any], shown: Shown) -> Diagram:
    """The diagram of a report.

    Args:
        report: the report.
        items: places of rows and groups of them, as `folding.fold` gives them.
        shown: what boxes show.
    """
    return _Draft(report.rows, shown).diagram(items)


def _shuts(node: Node, groups: bool, models: bool) -> bool:
    return bool(node.members) and (groups if node.count else models)


class _Draft:
    """A diagram in the making."""

    def __init__(self, rows: list[Row], shown: Shown) -> None:
        self._rows = rows
        self._shown = shown
        self._nodes: list[Node] = []
        self._at: dict[int, int] = {}  # the node of each row

    def diagram(self, items: list[Any]) -> Diagram:
        """The nodes of all items and of rows that none of them has, and the links."""
        self._place(items, None, frozenset())
        self._place([row for row in range(len(self._rows)) if row not in self._at], None, frozenset())
        for node in self._nodes:
            if node.row is not None and node.members:
                row = self._rows[node.row]
                node.title = heading(f"{row.name} ({row.class_name})")
                node.box.stacked = True
        return Diagram(self._nodes, self._links())

    def _place(self, items: list[Any], holder: int | None, around: frozenset[int | None]) -> None:
        """Add nodes for `items`, which stand in the node `holder`, itself in the rows `around`."""
        waiting = [(item, holder, around) for item in reversed(items)]
        while waiting:
            item, holder, around = waiting.pop()
            first = item if isinstance(item, int) else next(_rows_of(item))
            if first in self._at:
                continue
            outer = self._rows[first].parent
            if outer is not None and outer not in around and outer not in self._at:
                waiting += [(item, holder, around), (outer, holder, around)]  # torch's modules come after their parts
                continue
            # A row in a nested model stands in that model's node, unless the group does already.
            parent = holder if outer is None or outer in around or outer not in self._at else self._at[outer]
            if isinstance(item, int):
                self._at[item] = self._add(parent, item, row_box(self._rows[item], self._shown)).index
                continue
            node = self._add(parent, None, self._group_box(item))
            node.title, node.count = heading(item.title), item.count
            inside = around | ({outer} if outer is not None else set())
            members = [member for copy in item.copies for member in copy]
            waiting += [(member, node.index, inside) for member in reversed(members)]

    def _add(self, parent: int | None, row: int | None, box: Box) -> Node:
        node = Node(len(self._nodes), parent, row, box)
        self._nodes.append(node)
        if parent is not None:
            self._nodes[parent].members.append(node.index)
        return node

    def _group_box(self, group: Any) -> Box:
        rows = list(_rows_of(group))
        inside = set(rows)
        params = sum(self._rows[row].num_params for row in rows if self._rows[row].parent not in inside)
        return group_box(group.title, [self._rows[row] for row in rows], params)

    def _links(self) -> list[tuple[int, int]]:
        """Which node's tensors enter which, each pair once, in the order of the rows."""
        found: dict[tuple[int, int], None] = {}
        for place, row in enumerate(self._rows):
            node = self._nodes[self._at[place]]
            if node.row is not None and node.members and row.results:
                for link, reader in self._entered_again(place):
                    found[self._maker(link), self._at[reader]] = None
                continue
            for link in row.links:
                found[self._maker(link), self._at[place]] = None
        return list(found)

    def _maker(self, link: Link) -> int:
        """The node that makes the tensor of a link: for an open model, one inside."""
        row = self._rows[link.row]
        while row.results and self._nodes[self._at[link.row]].members:
            link = row.results[min(link.tensor, len(row.results) - 1)]
            row = self._rows[link.row]
        return self._at[link.row]

    def _entered_again(self, place: int) -> Iterator[tuple[Link, int]]:
        """The links of a nested model's calls after the first, which its own rows do not have, and the row inside
        that takes each."""
        row, inside = self._rows[place], {place}
        readers: list[tuple[Link, int]] = []
        for other in range(place + 1, len(self._rows)):
            if self._rows[other].parent not in inside:
                break
            inside.add(other)
            readers += [(link, other) for link in self._rows[other].links if link in row.links]
        entries = dict(reversed(readers))
        first = [link for link in dict.fromkeys(row.links) if link in entries]
        for at, link in enumerate(row.links):
            if link not in entries:
                yield link, entries[first[at % len(first)]] if first else place


def _rows_of(group: Any) -> Iterator[int]:
    """The rows of a group, in order."""
    waiting = [group]
    while waiting:
        item = waiting.pop()
        if isinstance(item, int):
            yield item
        else:
            waiting += [member for copy in reversed(item.copies) for member in reversed(copy)]
