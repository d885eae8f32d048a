"""What stands where on the paper, in points of 1/96 inch; all that a writer needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lamina.inspection.drawing.arranging import MEASURES, TURNS, Arrangement, Point
from lamina.inspection.drawing.boxes import Box, Text
from lamina.inspection.drawing.diagram import Diagram
from lamina.inspection.drawing.scopes import take_apart


class Placed(NamedTuple):
    """A box, or a frame around others.

    Attributes:
        node: its place in the diagram's nodes.
        x, y: its upper left corner.
        width, height: its size.
        box: what is in it; of a frame, what it looks like when closed.
        title: what stands over a frame, `None` for a box.
    """

    node: int
    x: float
    y: float
    width: float
    height: float
    box: Box
    title: Text | None


@dataclass
class Curve:
    """An edge.

    Attributes:
        source, target: the nodes at its ends.
        steps: letters with points as in SVG: M to begin, L for a line, C for a cubic curve with two control points.
        head: the three corners of the arrowhead, the tip first.
    """

    source: int
    target: int
    steps: list[tuple[str, list[Point]]]
    head: list[Point]


@dataclass
class Scene:
    """A picture.

    Attributes:
        width, height: its size.
        frames: from the outside in.
        boxes: in the order of the rows.
        curves: in the order of the links.
    """

    width: float
    height: float
    frames: list[Placed]
    boxes: list[Placed]
    curves: list[Curve]


def lay_out(diagram: Diagram, rankdir: str = "TB") -> Scene:
    """Give every node a place and every link a way.

    Args:
        diagram: what to draw.
        rankdir: `"TB"` from top to bottom, `"BT"`, `"LR"` from left to right, or `"RL"`.

    Returns:
        The picture.

    Raises:
        ArgumentError: there is too much to draw.
    """
    parts = take_apart(diagram)
    made = Arrangement(diagram, parts, TURNS[rankdir])
    across, along = made.size
    margin = MEASURES["margin"]

    def on_paper(point: Point) -> Point:
        u, v = point
        v = along - v if made.turn.reverse else v
        x, y = (v, u) if made.turn.sideways else (u, v)
        return round(x + margin, 2), round(y + margin, 2)

    frames, boxes, curves = [], [], []
    for node in diagram.nodes:
        corner, size = made.corners[node.index], made.size_of(node.index)
        one, other = on_paper(corner), on_paper((corner[0] + size[0], corner[1] + size[1]))
        x, y = min(one[0], other[0]), min(one[1], other[1])
        width, height = round(abs(one[0] - other[0]), 2), round(abs(one[1] - other[1]), 2)
        opened = bool(node.members)
        placed = Placed(node.index, x, y, width, height, node.box, node.title if opened else None)
        (frames if opened else boxes).append(placed)
    for link, route in zip(diagram.links, parts.routes, strict=True):
        if link[0] == link[1]:
            steps, head = _loop(made.loop(link[0]))
        else:
            steps, head = _curve(made.way(route, link))
        steps = [(letter, [on_paper(point) for point in points]) for letter, points in steps]
        curves.append(Curve(*link, steps, [on_paper(point) for point in head]))
    width, height = (along, across) if made.turn.sideways else (across, along)
    return Scene(round(width + 2 * margin, 2), round(height + 2 * margin, 2), frames, boxes, curves)


def _curve(points: list[Point]) -> tuple[list[tuple[str, list[Point]]], list[Point]]:
    """Straight where it runs along, an S where it moves aside, with an arrowhead at its end."""
    length, half = MEASURES["arrow"]
    tip = points[-1]
    ahead = 1.0 if tip[1] > points[0][1] else -1.0
    base = (tip[0], tip[1] - ahead * length)
    points = points[:-1]
    while len(points) > 1 and (points[-1][1] - base[1]) * ahead > 0 and points[-1][0] == tip[0]:
        points = points[:-1]  # a bend that the arrowhead covers
    points.append(base)
    steps: list[tuple[str, list[Point]]] = [("M", [points[0]])]
    at = points[0]
    for point in points[1:]:
        if max(abs(point[0] - at[0]), abs(point[1] - at[1])) < 0.01:
            continue
        if abs(point[0] - at[0]) < 0.01:
            if steps[-1][0] == "L":
                steps.pop()
            steps.append(("L", [point]))
        else:
            middle = (at[1] + point[1]) / 2
            steps.append(("C", [(at[0], middle), (point[0], middle), point]))
        at = point
    return steps, [tip, (tip[0] - half, base[1]), (tip[0] + half, base[1])]


def _loop(points: list[Point]) -> tuple[list[tuple[str, list[Point]]], list[Point]]:
    """The curve from a box to itself."""
    length, half = MEASURES["arrow"]
    begin, out, back, tip = points
    base = (tip[0] + length, tip[1])
    return [("M", [begin]), ("C", [out, back, base])], [tip, (base[0], tip[1] - half), (base[0], tip[1] + half)]
