"""Where in its layer each vertex stands, so that edges are as straight as the boxes allow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_WEAK = 1e-9
"""The weight of what must not push anything that counts."""


@dataclass
class Plan:
    """One component, ready to be put into columns. The page's script does the same; a test compares them.

    Attributes:
        layers: the vertices of each layer, in order.
        widths: of the vertices.
        thin: bends and ports, which need less room around them.
        ties: edges between neighbouring layers: upper and lower vertex, whether it is strong, and where it is fastened
            at both, from their middles.
        gaps: between two boxes, a box and a thin one, two thin ones.
        own_width: vertices that are as wide as they are; any other gets the width of the widest in its run.
        runs: vertices below each other that should stand in a line, found by `runs_of`.
    """

    layers: list[list[int]]
    widths: dict[int, float]
    thin: set[int]
    ties: list[tuple[int, int, bool, float, float]]
    gaps: tuple[float, float, float]
    own_width: set[int] = field(default_factory=set)
    runs: list[tuple[bool, list[int]]] = field(default_factory=list)
    up: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict)
    down: dict[int, list[tuple[int, float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for upper, lower, strong, upper_at, lower_at in self.ties:
            weight = 1.0 if strong else _WEAK
            self.up.setdefault(lower, []).append((upper, weight, upper_at - lower_at))
            self.down.setdefault(upper, []).append((lower, weight, lower_at - upper_at))
        self.runs = self.runs or runs_of(self.layers, [tie[:3] for tie in self.ties])
        for strong, run in self.runs:
            members = [vertex for vertex in run if strong and vertex not in self.own_width]
            widest = max((self.widths[vertex] for vertex in members), default=0.0)
            self.widths.update(dict.fromkeys(members, widest))

    def apart(self, left: int, right: int) -> float:
        """The least distance between the middles of two neighbours in a layer.

        Args:
            left, right: the vertices.
        """
        gap = self.gaps[(left in self.thin) + (right in self.thin)]
        return (self.widths[left] + self.widths[right]) / 2 + gap


def columns(plan: Plan) -> dict[int, float]:
    """The middle of each vertex.

    Layer by layer, down and up in turn, each vertex is put as near as it can be to the mean of its neighbours in the
    layer before: a least-squares problem with an order to keep, which pooling adjacent violators solves exactly. So a
    chain is straight and a fan is symmetric. Bends of edges that skip layers weigh next to nothing: they give way.

    Args:
        plan: the component.

    Example:
        >>> ties = [(0, 1, True, 0, 0), (0, 2, True, 0, 0)]
        >>> fan = Plan([[0], [1, 2]], {0: 10, 1: 10, 2: 10}, set(), ties, (6, 4, 2))
        >>> columns(fan)
        {0: 0.0, 1: -8.0, 2: 8.0}

    Reference:
        Barlow, Bartholomew, Bremner and Brunk (1972), Statistical inference under order restrictions.
    """
    middles: dict[int, float] = {}
    for layer in plan.layers:
        _settle(plan, layer, [(0.0, 1.0)] * len(layer), middles)
    for _ in range(6):
        for layer in plan.layers[1:]:
            _settle(plan, layer, [_wish(plan.up.get(vertex, []), middles, vertex) for vertex in layer], middles)
        for layer in plan.layers[-2::-1]:
            _settle(plan, layer, [_wish(plan.down.get(vertex, []), middles, vertex) for vertex in layer], middles)
    for layer in plan.layers * 6:
        near = [plan.up.get(vertex, []) + plan.down.get(vertex, []) for vertex in layer]
        _settle(plan, layer, [_wish(ties, middles, vertex) for ties, vertex in zip(near, layer, strict=True)], middles)
    _straighten(plan, middles)
    return middles


def _wish(ties: list[tuple[int, float, float]], middles: dict[int, float], vertex: int) -> tuple[float, float]:
    """Where the neighbours pull a vertex, and how strongly."""
    if not ties:
        return middles[vertex], 1e-3
    total = sum(weight for _, weight, _ in ties)
    wish = sum(weight * (middles[other] + offset) for other, weight, offset in ties) / total
    return wish, max(weight for _, weight, _ in ties)


def _settle(plan: Plan, layer: list[int], wishes: list[tuple[float, float]], middles: dict[int, float]) -> None:
    """Put the vertices of a layer as near to their wishes as their order and sizes allow."""
    shifts, shift = [], 0.0
    for at, vertex in enumerate(layer):
        shift += plan.apart(layer[at - 1], vertex) if at else 0.0
        shifts.append(shift)
    pools: list[list[float]] = []  # sum of weighted wishes, sum of weights, number of vertices
    for (wish, weight), shift in zip(wishes, shifts, strict=True):
        pools.append([(wish - shift) * weight, weight, 1])
        while len(pools) > 1 and pools[-2][0] * pools[-1][1] > pools[-1][0] * pools[-2][1]:
            last = pools.pop()
            pools[-1] = [mine + other for mine, other in zip(pools[-1], last, strict=True)]
    at = 0
    for pulled, weight, count in pools:
        for _ in range(int(count)):
            middles[layer[at]] = pulled / weight + shifts[at]
            at += 1


def runs_of(layers: list[list[int]], ties: list[tuple[int, int, bool]]) -> list[tuple[bool, list[int]]]:
    """Vertices that should stand in a line: each is the only one that the next is tied to, and the other way round.

    Args:
        layers: the vertices in layers.
        ties: upper and lower vertex, and whether the edge is strong; a weak one counts only between bends.

    Returns:
        Whether a run is strong, and its vertices downwards: the strong ones first, the longest of them at the front,
        then the weak ones from the shortest on.

    Example:
        >>> runs_of([[0], [1], [2, 3]], [(0, 1, True), (1, 2, True), (1, 3, True)])
        [(True, [0, 1])]
    """
    below: dict[int, list[int]] = {}
    above: dict[int, list[int]] = {}
    weak_ends = {upper for upper, _, strong in ties if not strong} & {lower for _, lower, strong in ties if not strong}
    strong_ends = {vertex for upper, lower, strong in ties if strong for vertex in (upper, lower)}
    weak_bends = weak_ends - strong_ends
    for upper, lower, strong in ties:
        if strong or (upper in weak_bends and lower in weak_bends):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    found, seen = [], set()
    for vertex in (vertex for layer in layers for vertex in layer):
        run = [vertex]
        while run[-1] not in seen:
            seen.add(run[-1])
            near = below.get(run[-1], [])
            if len(near) != 1 or len(above[near[0]]) != 1:
                break
            run.append(near[0])
        if len(run) > 1 and run[-1] in seen:
            found.append((vertex not in weak_bends, run))
    return sorted(found, key=lambda run: (not run[0], -len(run[1]) if run[0] else len(run[1])))


def _straighten(plan: Plan, middles: dict[int, float]) -> None:
    """Draw each run into one line as far as there is room; what has not had its turn yet gives way."""
    layer_of = {vertex: (layer, at) for layer in plan.layers for at, vertex in enumerate(layer)}
    fixed: set[int] = set()
    for strong in (True, False):
        runs = [run for is_strong, run in plan.runs if is_strong == strong]
        for run in runs:
            places = [middles[vertex] for vertex in run]
            if max(places) - min(places) > 1e-6:
                _align(plan, run, middles, layer_of, fixed)
            fixed.update(run)
        if strong:
            for layer in plan.layers:  # forks and joins, to the middle of what is around them now
                pulls = [_pull(plan, middles, vertex, fixed) for vertex in layer]
                _settle(plan, layer, pulls, middles)
            fixed.update(layer_of)
            fixed.difference_update(vertex for is_strong, run in plan.runs if not is_strong for vertex in run)


def _pull(plan: Plan, middles: dict[int, float], vertex: int, fixed: set[int]) -> tuple[float, float]:
    """Where a vertex should go, or stay, when some are fixed."""
    if vertex in fixed:
        return middles[vertex], 1e6
    return _wish(plan.up.get(vertex, []) + plan.down.get(vertex, []), middles, vertex)


def _align(
    plan: Plan, run: list[int], middles: dict[int, float], layer_of: dict[int, tuple[list[int], int]], fixed: set[int]
) -> None:
    """Put the vertices of a run below each other, or parts of it where something that is fixed stands in the way."""
    begin = 0
    while begin < len(run):
        low, high, end = -math.inf, math.inf, begin
        while end < len(run):
            layer, at = layer_of[run[end]]
            least = -_room(plan, [layer[i] for i in range(at, -1, -1)], middles, fixed, -1)
            most = _room(plan, layer[at:], middles, fixed, 1)
            if max(low, least) > min(high, most) + 1e-6 and end > begin:
                break
            low, high, end = max(low, least), min(high, most), end + 1
        mean = sum(middles[vertex] for vertex in run[begin:end]) / (end - begin)
        for vertex in run[begin:end]:
            middles[vertex] = max(low, min(mean, high))
            layer, at = layer_of[vertex]
            _push(plan, [layer[i] for i in range(at, -1, -1)], middles, -1)
            _push(plan, layer[at:], middles, 1)
        begin = end


def _room(plan: Plan, row: list[int], middles: dict[int, float], fixed: set[int], side: int) -> float:
    """How far to a side the first of a row may go before one that is fixed stands in the way."""
    taken = 0.0
    for near, vertex in zip(row, row[1:], strict=False):
        taken += plan.apart(near, vertex)
        if vertex in fixed:
            return side * middles[vertex] - taken
    return math.inf


def _push(plan: Plan, row: list[int], middles: dict[int, float], side: int) -> None:
    """Move those that the first of a row has come too near."""
    for near, vertex in zip(row, row[1:], strict=False):
        least = side * middles[near] + plan.apart(near, vertex)
        if side * middles[vertex] >= least - 1e-9:
            break
        middles[vertex] = side * least
