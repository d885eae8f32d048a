"""A scene as SVG: real text, tooltips, colours for light and dark."""

from __future__ import annotations

from xml.etree import ElementTree

from lamina.inspection.drawing.arranging import MEASURES, Point
from lamina.inspection.drawing.boxes import RADIUS, Text
from lamina.inspection.drawing.kinds import COLOURS, DARK_COLOURS, DARK_PAPER, PAPER, Colours, Paper
from lamina.inspection.drawing.scene import Curve, Placed, Scene
from lamina.inspection.drawing.typeface import clean

FONTS = '"DejaVu Sans", Verdana, "Noto Sans CJK SC", "Noto Sans", "PingFang SC", "Microsoft YaHei", sans-serif'


def to_svg(scene: Scene, name: str) -> str:
    """The text of an SVG file.

    Args:
        scene: what to draw.
        name: of the model, for the tooltip of the picture.

    Returns:
        The text. Boxes have the attribute `data-node`, edges `data-from` and `data-to`.
    """
    width, height = _number(scene.width), _number(scene.height)
    root = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "class": "lamina-graph",
            "width": width,
            "height": height,
            "viewBox": f"0 0 {width} {height}",
            "role": "img",
        },
    )
    ElementTree.SubElement(root, "title").text = clean(name)
    ElementTree.SubElement(root, "style").text = _style()
    ElementTree.SubElement(root, "rect", {"class": "paper", "width": width, "height": height})
    for placed in scene.frames:
        _frame(root, placed)
    edges = ElementTree.SubElement(root, "g", {"class": "edges"})
    for placed in scene.boxes:
        if placed.box.stacked:
            _behind(edges, placed)
    for at, curve in enumerate(scene.curves):
        _edge(edges, curve, at)
    for placed in scene.frames:
        _heading(root, placed)
    for placed in scene.boxes:
        _box(root, placed)
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _frame(root: ElementTree.Element, placed: Placed) -> None:
    group = ElementTree.SubElement(root, "g", {"class": "frame", "data-node": str(placed.node)})
    ElementTree.SubElement(group, "title").text = placed.box.tooltip
    ElementTree.SubElement(group, "rect", _rectangle(placed, RADIUS + 2))


def _heading(root: ElementTree.Element, placed: Placed) -> None:
    """The title of a frame, over the edges that may pass behind it."""
    if placed.title is not None:
        group = ElementTree.SubElement(root, "g", {"class": "heading", "data-node": str(placed.node)})
        _text(group, placed.title, *title_corner(placed))


def title_corner(placed: Placed) -> tuple[float, float]:
    """Where the title of a frame begins, on its baseline.

    Args:
        placed: the frame.
    """
    return placed.x + MEASURES["pad"], placed.y + MEASURES["title"]


def _behind(root: ElementTree.Element, placed: Placed) -> None:
    """The second outline of a box that stands for several."""
    moved = placed._replace(x=placed.x + 4, y=placed.y + 4)
    ElementTree.SubElement(root, "rect", {"class": f"behind {placed.box.kind}", **_rectangle(moved, RADIUS)})


def _box(root: ElementTree.Element, placed: Placed) -> None:
    box = placed.box
    group = ElementTree.SubElement(
        root, "g", {"id": f"node-{placed.node}", "class": f"node {box.kind}", "data-node": str(placed.node)}
    )
    ElementTree.SubElement(group, "title").text = box.tooltip
    ElementTree.SubElement(group, "rect", _rectangle(placed, RADIUS))
    if box.rule is not None:
        y = placed.y + box.rule
        ends = {"x1": placed.x, "x2": placed.x + placed.width, "y1": y, "y2": y}
        ElementTree.SubElement(group, "line", {key: _number(value) for key, value in ends.items()})
    for text in box.texts:
        _text(group, text, placed.x + text.x, placed.y + text.y)


def _text(parent: ElementTree.Element, text: Text, x: float, y: float) -> None:
    element = ElementTree.SubElement(
        parent,
        "text",
        {
            "class": f"{text.tone} bold" if text.bold else text.tone,
            "x": _number(x),
            "y": _number(y),
            "font-size": _number(text.size),
            # Another font than the measured one must not leave the box either.
            "textLength": _number(text.width),
            "lengthAdjust": "spacingAndGlyphs",
        },
    )
    element.text = text.text


def _edge(parent: ElementTree.Element, curve: Curve, at: int) -> None:
    ends = {"id": f"edge-{at}", "class": "edge", "data-from": str(curve.source), "data-to": str(curve.target)}
    group = ElementTree.SubElement(parent, "g", ends)
    path = " ".join(letter + _points(points) for letter, points in curve.steps)
    ElementTree.SubElement(group, "path", {"d": path})
    head = _points(curve.head)
    ElementTree.SubElement(group, "polygon", {"points": head})


def _points(points: list[Point]) -> str:
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in points)


def _rectangle(placed: Placed, radius: float) -> dict[str, str]:
    sides = {"x": placed.x, "y": placed.y, "width": placed.width, "height": placed.height, "rx": radius}
    return {key: _number(value) for key, value in sides.items()}


def _number(value: float) -> str:
    """At most two digits after the point, and none that say nothing."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")


def _style() -> str:
    """Rules for light paper, then what differs on dark."""
    shared = (
        f".lamina-graph text {{ font-family: {FONTS}; white-space: pre; }}\n"
        ".lamina-graph .heading text { stroke-width: 5; stroke-linejoin: round; paint-order: stroke; }\n"
        ".lamina-graph .bold { font-weight: bold; }\n"
        ".lamina-graph path { fill: none; stroke-width: 1.4; }\n"
        ".lamina-graph .node rect, .lamina-graph .behind { stroke-width: 1.3; }\n"
        ".lamina-graph .frame rect { stroke-width: 1.2; stroke-dasharray: 5 3; }\n"
    )
    dark = _colour_rules(DARK_PAPER, DARK_COLOURS)
    return f"\n{shared}{_colour_rules(PAPER, COLOURS)}@media (prefers-color-scheme: dark) {{\n{dark}}}\n"


def _colour_rules(paper: Paper, colours: dict[str, Colours]) -> str:
    lines = [
        f".paper {{ fill: {paper.back}; }}",
        f".frame rect {{ fill: {paper.frame}; stroke: {paper.rim}; }}",
        f".heading text {{ stroke: {paper.frame}; }}",
        f"path {{ stroke: {paper.edge}; }}",
        f"polygon {{ fill: {paper.edge}; }}",
        *(f".{tone} {{ fill: {getattr(paper, tone)}; }}" for tone in ("strong", "plain", "muted")),
    ]
    for kind, (fill, line) in colours.items():
        lines.append(f".{kind} rect, .lamina-graph rect.{kind} {{ fill: {fill}; stroke: {line}; }}")
        lines.append(f".{kind} line {{ stroke: {line}; stroke-opacity: 0.45; }}")
    return "".join(f".lamina-graph {line}\n" for line in lines)
