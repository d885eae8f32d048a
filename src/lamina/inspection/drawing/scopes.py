"""A diagram taken apart: what each open node holds is a graph of its own, joined to the outside by ports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lamina.inspection.drawing.diagram import Diagram
from lamina.inspection.drawing.layers import Component, back_edges, components


class Vertex(NamedTuple):
    """A place in a scope's graph.

    Attributes:
        kind: `"node"`, or `"top"` or `"bottom"` for a port in that side of the frame.
        of: the node, or for a port the node whose tensor passes there.
    """

    kind: str
    of: int


@dataclass
class Scope:
    """What one node holds, or what no node does.

    Attributes:
        owner: the node, or `None`.
        vertices: its own nodes, then ports.
        strands: from which vertex down to which an edge goes, each pair once.
        carried: for each strand, the nodes whose tensors it carries.
        components: the graph in layers; vertices beyond `vertices` are bends.
    """

    owner: int | None
    vertices: list[Vertex]
    strands: list[tuple[int, int]] = field(default_factory=list)
    carried: list[list[int]] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)

    def strong(self) -> list[bool]:
        """For each strand whether it holds a column together: all but those that skip layers beside other ways."""
        outs = [0] * len(self.vertices)
        for upper, _ in self.strands:
            outs[upper] += 1
        bends = {index for component in self.components for index, chain in component.bends.items() if chain}
        return [index not in bends or outs[upper] == 1 for index, (upper, _) in enumerate(self.strands)]


class Leg(NamedTuple):
    """The part of a link in one scope.

    Attributes:
        scope: the scope's owner.
        strand: which of its strands.
        back: whether the link runs up the strand.
    """

    scope: int | None
    strand: int
    back: bool


@dataclass
class Parts:
    """A diagram in scopes.

    Attributes:
        scopes: by owner; `None` is the outermost.
        routes: for each link of the diagram its legs, from source to target; none for one from a node to itself.
    """

    scopes: dict[int | None, Scope]
    routes: list[list[Leg]]


def take_apart(diagram: Diagram) -> Parts:
    """Cut a diagram into scopes, and put the graph of each into layers.

    Args:
        diagram: the diagram.

    Returns:
        The scopes and the way of each link through them.
    """
    maker = _Maker(diagram)
    routes = [maker.route(source, target) for source, target in diagram.links]
    for scope in maker.scopes.values():
        top = {at for at, vertex in enumerate(scope.vertices) if vertex.kind == "top"}
        bottom = {at for at, vertex in enumerate(scope.vertices) if vertex.kind == "bottom"}
        scope.components = components(len(scope.vertices), scope.strands, top, bottom)
    return Parts(maker.scopes, routes)


class _Maker:
    """Scopes in the making."""

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._holders = [list(reversed(diagram.holders(node.index))) for node in diagram.nodes]
        outer = [node.index for node in diagram.nodes if node.parent is None]
        held = {node.index: node.members for node in diagram.nodes if node.members}
        self.scopes = {
            owner: Scope(owner, [Vertex("node", node) for node in nodes])
            for owner, nodes in [(None, outer), *held.items()]
        }
        self._places = {
            owner: {vertex: at for at, vertex in enumerate(scope.vertices)} for owner, scope in self.scopes.items()
        }
        self._strands: dict[tuple[int | None, int, int], int] = {}
        self._turned = self._find_turned()

    def _meeting(self, source: int, target: int) -> int:
        """How many nodes hold both ends of a link."""
        ways = self._holders[source][:-1], self._holders[target][:-1]
        parted = (at for at, (one, other) in enumerate(zip(*ways, strict=False)) if one != other)
        return next(parted, min(map(len, ways)))

    def _find_turned(self) -> set[tuple[int, int]]:
        """The pairs of neighbours, in any scope, whose edge would close a circle."""
        direct: dict[int | None, dict[tuple[int, int], None]] = {}
        for source, target in self._diagram.links:
            depth = self._meeting(source, target)
            pair = self._holders[source][depth], self._holders[target][depth]
            if pair[0] != pair[1]:
                direct.setdefault(self._diagram.nodes[pair[0]].parent, {})[pair] = None
        found = set()
        for owner, pairs in direct.items():
            at = self._places[owner]
            edges = [(at[Vertex("node", one)], at[Vertex("node", other)]) for one, other in pairs]
            turned = back_edges(len(self.scopes[owner].vertices), edges)
            found |= {pair for index, pair in enumerate(pairs) if index in turned}
        return found

    def route(self, source: int, target: int) -> list[Leg]:
        """The way of a link, whose strands and ports are made where they are new."""
        depth = self._meeting(source, target)
        up, down = self._holders[source], self._holders[target]
        pair = up[depth], down[depth]
        if pair[0] == pair[1]:
            return []
        back = pair in self._turned
        out, into = ("top", "bottom") if back else ("bottom", "top")
        legs = [
            self._leg(holder, Vertex("node", node), Vertex(out, source), source, back)
            for holder, node in reversed(list(zip(up[depth:], up[depth + 1 :], strict=False)))
        ]
        owner = up[depth - 1] if depth else None
        legs.append(self._leg(owner, Vertex("node", pair[0]), Vertex("node", pair[1]), source, back))
        legs += [
            self._leg(holder, Vertex(into, source), Vertex("node", node), source, back)
            for holder, node in zip(down[depth:], down[depth + 1 :], strict=False)
        ]
        return legs

    def _leg(self, owner: int | None, begin: Vertex, end: Vertex, key: int, back: bool) -> Leg:
        scope, places = self.scopes[owner], self._places[owner]
        ends = []
        for vertex in (begin, end):
            if vertex not in places:
                places[vertex] = len(scope.vertices)
                scope.vertices.append(vertex)
            ends.append(places[vertex])
        upper, lower = reversed(ends) if back else ends
        strand = self._strands.get((owner, upper, lower))
        if strand is None:
            strand = self._strands[owner, upper, lower] = len(scope.strands)
            scope.strands.append((upper, lower))
            scope.carried.append([])
        if key not in scope.carried[strand]:
            scope.carried[strand].append(key)
        return Leg(owner, strand, back)
