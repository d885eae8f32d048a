"""In which layer each vertex of a graph stands, and in which order: Sugiyama's method, with grandalf's ordering."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from lamina.errors import ArgumentError

_MOST_BENDS = 20_000
_ROUNDS = 6


@dataclass
class Component:
    """A connected part of a graph, in layers.

    Attributes:
        layers: the vertices of each, in order; numbers from `first_bend` on are places where a long edge may bend.
        bends: for each edge, as an index, its bends from the upper end to the lower one.
    """

    layers: list[list[int]]
    bends: dict[int, list[int]]


def back_edges(count: int, edges: list[tuple[int, int]]) -> set[int]:
    """Edges that close a circle: turned around, they leave none.

    Args:
        count: the number of vertices.
        edges: from which vertex to which.

    Returns:
        The indices of those edges.

    Example:
        >>> back_edges(3, [(0, 1), (1, 2), (2, 0)])
        {2}
    """
    out: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    for index, (source, target) in enumerate(edges):
        out[source].append((index, target))
    state, found = [0] * count, set()  # 0 is unseen, 1 on the way that is being searched, 2 done
    for start in range(count):
        way = [] if state[start] else [(start, iter(out[start]))]
        state[start] = state[start] or 1
        while way:
            vertex, left = way[-1]
            index, target = next(left, (-1, -1))
            if index < 0:
                state[vertex] = 2
                way.pop()
            elif state[target] == 1:
                found.add(index)
            elif state[target] == 0:
                state[target] = 1
                way.append((target, iter(out[target])))
    return found


def components(count: int, edges: list[tuple[int, int]], top: set[int], bottom: set[int]) -> list[Component]:
    """Put the vertices of a graph without circles into layers, each connected part for itself.

    Vertices without edges come last, row by row.

    Args:
        count: the number of vertices.
        edges: from which vertex down to which, no pair twice.
        top: vertices that have the first layer to themselves.
        bottom: vertices that have the last one.

    Returns:
        The parts, in the order of their first vertices.

    Raises:
        ArgumentError: the edges are too many and too long.

    Reference:
        Sugiyama, Tagawa and Toda (1981), Methods for visual understanding of hierarchical system structures.
    """
    parts = _connected(count, edges)
    ranks = _ranks(count, edges, top, bottom, parts)
    bends = sum(max(ranks[lower] - ranks[upper] - 1, 0) for upper, lower in edges)
    if bends > _MOST_BENDS:
        raise ArgumentError(
            "This model has too many long links to be drawn.",
            expected=f"links that cross {_MOST_BENDS:,} layers together",
            received=f"{len(edges):,} links that cross {bends:,}",
            fix="pass fold=True, or draw a part of the model",
        )
    found, alone, free = [], [], count
    members: list[list[int]] = [[] for _ in parts]
    part_of = {vertex: place for place, part in enumerate(parts) for vertex in part}
    for index, (upper, _) in enumerate(edges):
        members[part_of[upper]].append(index)
    for part, inside in zip(parts, members, strict=True):
        if len(part) == 1:
            alone += part
            continue
        component, free = _ordered(part, [(index, *edges[index]) for index in inside], ranks, free)
        found.append(component)
    if alone:
        columns = next(n for n in range(1, len(alone) + 1) if n * n >= len(alone))
        found.append(Component([alone[at : at + columns] for at in range(0, len(alone), columns)], {}))
    return found


def _connected(count: int, edges: list[tuple[int, int]]) -> list[list[int]]:
    """The connected parts, each and all in the order of the vertices."""
    near: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in edges:
        near[upper].append(lower)
        near[lower].append(upper)
    part_of = [-1] * count
    parts: list[list[int]] = []
    for start in range(count):
        if part_of[start] >= 0:
            continue
        part_of[start], waiting = len(parts), [start]
        while waiting:
            for other in near[waiting.pop()]:
                if part_of[other] < 0:
                    part_of[other] = len(parts)
                    waiting.append(other)
        parts.append([])
    for vertex, part in enumerate(part_of):
        parts[part].append(vertex)
    return parts


def _ranks(
    count: int, edges: list[tuple[int, int]], top: set[int], bottom: set[int], parts: list[list[int]]
) -> list[int]:
    """The layer of each vertex: right below the lowest that it reads; a vertex that reads none, right above its first
    reader."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for upper, lower in edges:
        below[upper].append(lower)
        above[lower].append(upper)
    ranks = [0] * count
    for part in parts:
        start = 1 if top.intersection(part) else 0
        missing = {vertex: len(above[vertex]) for vertex in part}
        ready = [vertex for vertex in part if not above[vertex]]
        for vertex in ready:  # it grows
            ranks[vertex] = 0 if vertex in top else max([start, *(ranks[other] + 1 for other in above[vertex])])
            for other in below[vertex]:
                missing[other] -= 1
                if not missing[other]:
                    ready.append(other)
        last = max(ranks[vertex] for vertex in part if vertex not in bottom or len(part) == 1)
        for vertex in part:
            if vertex in bottom:
                ranks[vertex] = last + 1
        for vertex in part:
            if not above[vertex] and below[vertex] and vertex not in top:
                ranks[vertex] = min(ranks[other] for other in below[vertex]) - 1
    return ranks


def _ordered(part: list[int], edges: list[tuple[int, int, int]], ranks: list[int], free: int) -> tuple[Component, int]:
    """A connected part with its layers ordered so that few edges cross; bends are numbered from `free`."""
    from grandalf.graphs import Edge, Vertex, graph_core
    from grandalf.layouts import SugiyamaLayout, VertexViewer

    class Ranked(SugiyamaLayout):
        """A layout whose vertices know their layers."""

        def rank_all(self, roots: Any, optimize: bool = False) -> None:
            self.layers = [_layer() for _ in range(1 + max(ranks[vertex] for vertex in part))]
            for vertex in self.g.sV:
                self.grx[vertex].rank = ranks[vertex.data]
                self.layers[ranks[vertex.data]].append(vertex)

    vertices = {number: Vertex(number) for number in part}
    for vertex in vertices.values():
        vertex.view = VertexViewer()
    arrows = {index: Edge(vertices[upper], vertices[lower]) for index, upper, lower in edges}
    layout = Ranked(graph_core(list(vertices.values()), list(arrows.values())))
    layout.init_all(roots=[], inverted_edges=[])
    _begin_in_order(layout, {arrows[index]: index for index, _, _ in edges})
    order = _least_crossings(layout)
    numbers: dict[Any, int] = {vertex: number for number, vertex in vertices.items()}
    bends: dict[int, list[int]] = {}
    for index, upper, lower in edges:
        control = layout.ctrls.get(arrows[index], {})
        bends[index] = list(range(free, free + max(len(control) - 2, 0)))
        free += len(bends[index])
        numbers.update({control[ranks[upper] + 1 + at]: bend for at, bend in enumerate(bends[index])})
        del lower
    return Component([[numbers[vertex] for vertex in layer] for layer in order], bends), free


def _begin_in_order(layout: Any, indices: dict[Any, int]) -> None:
    """Order each layer by what is above it, then by what is below, bends of skipping edges last.

    grandalf keeps the order that it finds where no edges cross, so this is how branches come in their own order.
    """
    edge_of = {bend: edge for edge, control in layout.ctrls.items() for bend in control.values()}
    places: dict[Any, int] = {}

    def wish(vertex: Any, side: int) -> tuple[float, bool, int]:
        rank, dummy = layout.grx[vertex].rank, layout.grx[vertex].dummy
        edges = [edge_of[vertex]] if dummy else vertex.e_dir(side)
        near = [layout.ctrls[edge][rank + side] if edge in layout.ctrls else edge.v[side > 0] for edge in edges]
        mean = sum(places[other] for other in near) / len(near) if near else float(len(places))
        skips = dummy and len(edge_of[vertex].v[0].e_out()) > 1
        return mean, bool(skips), min((indices[edge] for edge in edges), default=-1)

    for side, layers in ((-1, layout.layers), (1, layout.layers[::-1])):
        places = {}
        for layer in layers:
            layer.sort(key=functools.partial(wish, side=side))
            places = {vertex: place for place, vertex in enumerate(layer)}
    for layer in layout.layers:
        layer.setup(layout)


def _layer() -> Any:
    from grandalf.layouts import Layer

    return Layer()


def _least_crossings(layout: Any) -> list[list[Any]]:
    """The best order that a few rounds down and up find."""
    best, fewest = [list(layer) for layer in layout.layers], None
    for _ in range(_ROUNDS):
        crossings = sum(crossed for layer, crossed in layout.ordering_step(oneway=True))
        if fewest is None or crossings < fewest:
            best, fewest = [list(layer) for layer in layout.layers], crossings
        if not crossings:
            break
        for _ in layout.ordering_step():
            pass
    return best
