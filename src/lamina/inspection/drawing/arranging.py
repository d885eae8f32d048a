"""From scopes in layers to places: along is the way that tensors go, across is beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lamina.inspection.drawing.boxes import RADIUS
from lamina.inspection.drawing.columns import Plan, columns
from lamina.inspection.drawing.diagram import Diagram
from lamina.inspection.drawing.scopes import Leg, Parts, Scope

MEASURES: dict[str, Any] = {
    "gaps": (28.0, 18.0, 14.0),  # beside each other: two boxes, a box and a bend, two bends
    "between": (30.0, 0.07, 96.0),  # layers: the least, more for each point that an edge moves aside, the most
    "port": 0.6,  # of that between a frame's ports and what is next to them
    "components": 44.0,
    "pad": 16.0,  # from a frame to what it holds
    "title": 22.0,  # the height of a frame's title
    "toggle": 28.0,  # beside it, for the page's button
    "arrow": (8.0, 3.6),  # its length, and half its width
    "lane": 5.0,  # from the middle, where tensors go both ways
    "loop": 24.0,
    "reach": 0.35,  # how far towards its neighbour an edge is fastened at a box
    "corner": RADIUS + 4,
    "margin": 20.0,
}
"""Lengths in points; the page's script has them from here."""

Point = tuple[float, float]


class Turn(NamedTuple):
    """How across and along lie on the paper.

    Attributes:
        sideways: whether along is to the right or left rather than down or up.
        reverse: whether it is up or to the left.
    """

    sideways: bool
    reverse: bool


TURNS = {"TB": Turn(False, False), "BT": Turn(False, True), "LR": Turn(True, False), "RL": Turn(True, True)}


@dataclass
class Spot:
    """A scope with places in it, from its own corner.

    Attributes:
        across, along: its size.
        middles: of all vertices and bends across.
        bands: where the layer of each begins and ends along.
        halves: half the size along of each vertex.
    """

    across: float = 0.0
    along: float = 0.0
    middles: dict[int, float] = field(default_factory=dict)
    bands: dict[int, tuple[float, float]] = field(default_factory=dict)
    halves: dict[int, float] = field(default_factory=dict)


class Arrangement:
    """Places for all nodes and ways for all links of a diagram.

    Args:
        diagram: the diagram, all of whose nodes with members are open.
        parts: the same in scopes.
        turn: how it lies on the paper.
    """

    def __init__(self, diagram: Diagram, parts: Parts, turn: Turn) -> None:
        self.diagram, self.turn = diagram, turn
        self._parts = parts
        self._loops = {source for source, target in diagram.links if source == target}
        pad, title = MEASURES["pad"], MEASURES["title"]
        # From a frame's sides to its inside: across before and after, along before and after.
        self._pads = (pad + title, pad, pad, pad) if turn.sideways else (pad, pad, pad + title, pad)
        if turn.reverse and not turn.sideways:
            self._pads = (pad, pad, pad, pad + title)
        self._spots: dict[int | None, Spot] = {}
        self._fasten: dict[int | None, dict[tuple[int, int], float]] = {}
        for owner in sorted(parts.scopes, key=lambda owner: -1 if owner is None else owner, reverse=True):
            self._spots[owner] = self._spot(parts.scopes[owner])
        self.corners: dict[int | None, Point] = {None: (0.0, 0.0)}
        """Where each node begins, across and along."""
        for owner in sorted(parts.scopes, key=lambda owner: -1 if owner is None else owner):
            self._put_down(parts.scopes[owner])

    @property
    def size(self) -> Point:
        """Of all of it, across and along."""
        return self._spots[None].across, self._spots[None].along

    def size_of(self, node: int) -> Point:
        """The size of a node, across and along.

        Args:
            node: its index.
        """
        if node in self._spots:
            across, along = self._spots[node].across, self._spots[node].along
            return across + self._pads[0] + self._pads[1], along + self._pads[2] + self._pads[3]
        box = self.diagram.nodes[node].box
        return (box.height, box.width) if self.turn.sideways else (box.width, box.height)

    def way(self, legs: list[Leg], link: tuple[int, int]) -> list[Point]:
        """The points of a link from its source to its target; between two that differ both ways it is curved.

        Args:
            legs: its route.
            link: its ends.
        """
        points: list[Point] = []
        for leg in legs:
            found = self._leg(leg, link[0])
            points += found[::-1] if leg.back else found
        return points

    def loop(self, node: int) -> list[Point]:
        """The four points of the curve from a node to itself: out at its side, and in again before that.

        Args:
            node: its index.
        """
        across, along = self.size_of(node)
        begin = self.corners[node]
        edge, out = begin[0] + across, begin[0] + across + MEASURES["loop"]
        low, high = begin[1] + 0.3 * along, begin[1] + 0.7 * along
        return [(edge, high), (out, high + 4), (out, low - 4), (edge, low)]

    def _spot(self, scope: Scope) -> Spot:
        """Put the vertices of a scope in their places, those of all scopes inside being known."""
        spot = Spot()
        sizes = [self._vertex_size(vertex.kind, vertex.of) for vertex in scope.vertices]
        spot.halves = {at: along / 2 for at, (_, along) in enumerate(sizes)}
        strong = scope.strong()
        begin = 0.0
        for component in scope.components:
            bends = [bend for chain in component.bends.values() for bend in chain]
            widths = dict.fromkeys(bends, 0.0)
            for layer in component.layers:
                widths.update({vertex: sizes[vertex][0] for vertex in layer if vertex < len(sizes)})
            ties = [
                (*pair, strong[index], *(self._port(scope, index, vertex) for vertex in pair))
                for index in component.bends
                for pair in self._pairs(scope, component.bends, index)
            ]
            frames = {
                at for at, vertex in enumerate(scope.vertices) if vertex[0] == "node" and vertex.of in self._spots
            }
            ports = {at for at, vertex in enumerate(scope.vertices) if vertex.kind != "node"}
            middles = columns(Plan(component.layers, widths, ports.union(bends), ties, MEASURES["gaps"], frames))
            low = min(middle - widths[vertex] / 2 for vertex, middle in middles.items())
            high = max(middle + widths[vertex] / 2 for vertex, middle in middles.items())
            spot.middles.update({vertex: middle - low + begin for vertex, middle in middles.items()})
            begin += high - low + MEASURES["components"]
            spot.along = max(spot.along, self._stack(component.layers, ties, ports, spot))
        spot.across = max(begin - MEASURES["components"], 0.0)
        self._widen(scope, spot)
        self._fasten[scope.owner] = self._fastenings(scope, spot)
        return spot

    @staticmethod
    def _pairs(scope: Scope, bends: dict[int, list[int]], strand: int) -> list[tuple[int, int]]:
        """The neighbouring vertices along a strand."""
        upper, lower = scope.strands[strand]
        way = [upper, *bends[strand], lower]
        return list(zip(way, way[1:], strict=False))

    @staticmethod
    def _stack(layers: list[list[int]], ties: list[Any], ports: set[int], spot: Spot) -> float:
        """Put the layers of a component below each other; returns where the last one ends."""
        layer_of = {vertex: at for at, layer in enumerate(layers) for vertex in layer}
        aside = [0.0] * len(layers)
        for upper, lower, _, upper_at, lower_at in ties:
            moved = abs(spot.middles[upper] + upper_at - spot.middles[lower] - lower_at)
            aside[layer_of[upper]] = max(aside[layer_of[upper]], moved)
        least, more, most = MEASURES["between"]
        begin = end = 0.0
        for at, (layer, moved) in enumerate(zip(layers, aside, strict=True)):
            at_rim = any(ports.issuperset(near) for near in layers[at : at + 2])
            end = begin + 2 * max(spot.halves.get(vertex, 0.0) for vertex in layer)
            spot.bands.update(dict.fromkeys(layer, (begin, end)))
            begin = end + min(least + more * moved, most) * (MEASURES["port"] if at_rim else 1)
        return end

    def _widen(self, scope: Scope, spot: Spot) -> None:
        """Make room for the title of a frame."""
        title = None if scope.owner is None else self.diagram.nodes[scope.owner].title
        if title is None:
            return
        width = title.width + MEASURES["toggle"]
        if self.turn.sideways:
            spot.along = max(spot.along, width)
        elif spot.across < width:
            more = (width - spot.across) / 2
            spot.middles = {vertex: middle + more for vertex, middle in spot.middles.items()}
            spot.across = width

    def _vertex_size(self, kind: str, of: int) -> Point:
        if kind != "node":
            return 0.0, 0.0
        across, along = self.size_of(of)
        return across + 2 * MEASURES["loop"] * (of in self._loops), along

    def _inner_port(self, scope: Scope, vertex: int, side: str, key: int) -> float | None:
        """Where the tensors of node `key` enter or leave an open node: across from its middle."""
        node = scope.vertices[vertex]
        inside = self._spots.get(node.of) if node.kind == "node" else None
        if inside is None:
            return None
        ports = self._parts.scopes[node.of].vertices
        at = next((at for at, port in enumerate(ports) if port == (side, key)), None)
        return None if at is None else inside.middles[at] + self._pads[0] - self.size_of(node.of)[0] / 2

    def _port(self, scope: Scope, strand: int, vertex: int) -> float:
        """Where a strand is fastened at a vertex as far as an open node decides it: across from its middle."""
        if vertex not in scope.strands[strand]:
            return 0.0
        side = "bottom" if scope.strands[strand][0] == vertex else "top"
        found = [self._inner_port(scope, vertex, side, key) for key in scope.carried[strand]]
        known = [at for at in found if at is not None]
        return sum(known) / len(known) if known else 0.0

    def _fastenings(self, scope: Scope, spot: Spot) -> dict[tuple[int, int], float]:
        """Where each strand is fastened at the nodes at its ends: across from their middles.

        Several strands at one side of a box are spread over it, towards where they come from.
        """
        sides: dict[tuple[int, bool], list[tuple[int, float]]] = {}
        for component in scope.components:
            for index in component.bends:
                pairs = self._pairs(scope, component.bends, index)
                for (vertex, other), upper in ((pairs[0], True), (pairs[-1][::-1], False)):
                    there = spot.middles[other] + self._port(scope, index, other)
                    sides.setdefault((vertex, upper), []).append((index, there - spot.middles[vertex]))
        found = {}
        for (vertex, _), pulls in sides.items():
            farthest = max(abs(pull) for _, pull in pulls) or 1.0
            width = self._vertex_size(*scope.vertices[vertex])[0]
            if scope.vertices[vertex].of in self._loops:
                width -= 2 * MEASURES["loop"]
            reach = min(max(width / 2 - MEASURES["corner"], 0.0), MEASURES["reach"] * farthest) * (len(pulls) > 1)
            found.update({(index, vertex): pull / farthest * reach for index, pull in pulls})
        return found

    def _put_down(self, scope: Scope) -> None:
        """Say where the nodes of a scope are on the paper, whose own place is known."""
        spot, begin = self._spots[scope.owner], self._inside(scope.owner)
        for at, vertex in enumerate(scope.vertices):
            if vertex.kind == "node":
                across, along = self.size_of(vertex.of)
                middle = sum(spot.bands[at]) / 2
                self.corners[vertex.of] = (begin[0] + spot.middles[at] - across / 2, begin[1] + middle - along / 2)

    def _inside(self, owner: int | None) -> Point:
        """Where the inside of an open node begins."""
        corner = self.corners[owner]
        return corner if owner is None else (corner[0] + self._pads[0], corner[1] + self._pads[2])

    def _leg(self, leg: Leg, key: int) -> list[Point]:
        """The points of a strand from its upper end to its lower one, for the tensors of node `key`."""
        scope, spot = self._parts.scopes[leg.scope], self._spots[leg.scope]
        upper, lower = scope.strands[leg.strand]
        bends = next(part.bends[leg.strand] for part in scope.components if leg.strand in part.bends)
        (x, y), lane = self._inside(leg.scope), self._lane(leg)
        first, last = self._end(scope, leg, upper, key), self._end(scope, leg, lower, key)
        points = [first, (first[0], y + spot.bands[upper][1])]
        for bend in bends:
            points += [(x + spot.middles[bend] + lane, y + edge) for edge in spot.bands[bend]]
        return [*points, (last[0], y + spot.bands[lower][0]), last]

    def _lane(self, leg: Leg) -> float:
        """How far beside the middle a link runs."""
        carries_both = (leg.scope, leg.strand) in self._both_ways
        return MEASURES["lane"] * (1 if leg.back else -1) if carries_both else 0.0

    @property
    def _both_ways(self) -> set[tuple[int | None, int]]:
        """The strands on which tensors go up and down."""
        if not hasattr(self, "_two_way"):
            ways: dict[tuple[int | None, int], set[bool]] = {}
            for route in self._parts.routes:
                for leg in route:
                    ways.setdefault((leg.scope, leg.strand), set()).add(leg.back)
            self._two_way = {strand for strand, backs in ways.items() if len(backs) > 1}
        return self._two_way

    def _end(self, scope: Scope, leg: Leg, vertex: int, key: int) -> Point:
        """Where a strand meets a vertex."""
        is_upper = scope.strands[leg.strand][0] == vertex
        spot, x = self._spots[scope.owner], self._inside(scope.owner)[0]
        kind, of = scope.vertices[vertex]
        if kind != "node":  # in the frame around the scope
            corner, size = self.corners[scope.owner], self.size_of(scope.owner)  # type: ignore[arg-type]
            return x + spot.middles[vertex], corner[1] + (size[1] if kind == "bottom" else 0.0)
        at = self._inner_port(scope, vertex, "bottom" if is_upper else "top", key)
        if at is None:
            at = self._fasten[scope.owner][leg.strand, vertex] + self._lane(leg)
        corner, size = self.corners[of], self.size_of(of)
        return corner[0] + size[0] / 2 + at, corner[1] + (size[1] if is_upper else 0.0)
