"""A diagram as a page in which it can be moved, enlarged, searched, folded and unfolded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lamina.inspection.drawing.arranging import MEASURES, TURNS
from lamina.inspection.drawing.boxes import RADIUS, Text, shape_text
from lamina.inspection.drawing.columns import runs_of
from lamina.inspection.drawing.diagram import Diagram, Node
from lamina.inspection.drawing.kinds import COLOURS, DARK_COLOURS, DARK_PAPER, PAPER
from lamina.inspection.drawing.layers import Component
from lamina.inspection.drawing.scopes import Scope, take_apart
from lamina.inspection.drawing.svg import FONTS
from lamina.inspection.drawing.typeface import clean
from lamina.inspection.report import ReportData, Row

_FILES = Path(__file__).parent / "page_files"


def to_page(report: ReportData, diagram: Diagram, rankdir: str, open_models: bool) -> str:
    """The text of an HTML file that needs no other.

    Args:
        report: the model's rows.
        diagram: all that can be seen, nothing closed.
        rankdir: the way that tensors go.
        open_models: whether nested models are open at the beginning; groups are closed.

    Returns:
        The text. The data are JSON in it, scripts and styles are the files in `page_files`.
    """
    data = json.dumps(page_data(report, diagram, rankdir, open_models), ensure_ascii=False, separators=(",", ":"))
    # Within a script element, "</script" ends it and "<!--" opens a comment, whatever the JSON around it means.
    data = data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    parts = {
        "TITLE": _escaped(clean(report.name)),
        "STYLE": _colour_variables() + _file("viewer.css"),
        "LAYOUT": _file("layout.js"),
        "VIEWER": _file("viewer.js"),
        "DATA": data,
    }
    pieces = _file("page.html").split("%%")
    return "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def page_data(report: ReportData, diagram: Diagram, rankdir: str, open_models: bool) -> dict[str, Any]:
    """What the page's script knows.

    Args:
        report, diagram, rankdir, open_models: as in `to_page`.
    """
    parts = take_apart(diagram)
    places = {owner: at for at, owner in enumerate(parts.scopes)}
    turn = TURNS[rankdir]
    return {
        "model": {
            "name": clean(report.name),
            "class": clean(report.class_name),
            "params": report.total_params,
            "trainable": report.trainable_params,
            "bytes": report.params_bytes,
            "flops": report.flops,
        },
        "sideways": turn.sideways,
        "reverse": turn.reverse,
        "measures": MEASURES,
        "radius": RADIUS,
        "nodes": [_node(node, open_models) for node in diagram.nodes],
        "facts": {str(node.index): _facts(report.rows[node.row]) for node in diagram.nodes if node.row is not None},
        "links": diagram.links,
        "routes": [[[places[leg.scope], leg.strand, leg.back] for leg in route] for route in parts.routes],
        "scopes": [_scope(scope) for scope in parts.scopes.values()],
    }


def _node(node: Node, open_models: bool) -> dict[str, Any]:
    box = node.box
    return {
        "parent": node.parent,
        "open": bool(node.members) and not node.count and open_models,
        "members": len(node.members),
        "count": node.count,
        "kind": box.kind,
        "size": [box.width, box.height],
        "rule": box.rule,
        "texts": [_text(text) for text in box.texts],
        "title": None if node.title is None else _text(node.title),
        "tooltip": box.tooltip,
        "stacked": box.stacked,
    }


def _text(text: Text) -> list[Any]:
    return [round(text.x, 2), round(text.y, 2), text.text, text.size, text.bold, text.tone, round(text.width, 2)]


def _facts(row: Row) -> dict[str, Any]:
    """What the side panel says of a row."""
    return {
        "name": clean(row.name),
        "class": clean(row.class_name),
        "path": clean(row.path or row.name),
        "input": clean(shape_text(row.input_shape)) if row.input_shape is not None else None,
        "output": clean(shape_text(row.output_shape)) if row.call_shapes else None,
        "calls": len(row.call_shapes),
        "dtype": row.dtype,
        "params": row.num_params,
        "trainable": row.trainable if row.num_params else None,
        "flops": row.flops,
        "bytes": row.activation_bytes,
        "activation": row.activation and clean(row.activation),
        "config": {clean(str(key)): clean(_plain(value)) for key, value in row.config.items() if value is not None},
    }


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _scope(scope: Scope) -> dict[str, Any]:
    strong = scope.strong()
    return {
        "owner": scope.owner,
        "vertices": [list(vertex) for vertex in scope.vertices],
        "strands": scope.strands,
        "carried": scope.carried,
        "strong": [int(flag) for flag in strong],
        "components": [_component(scope, component, strong) for component in scope.components],
    }


def _component(scope: Scope, component: Component, strong: list[bool]) -> dict[str, Any]:
    ties = []
    for strand, bends in component.bends.items():
        upper, lower = scope.strands[strand]
        way = [upper, *bends, lower]
        ties += [(one, other, strong[strand]) for one, other in zip(way, way[1:], strict=False)]
    return {
        "layers": component.layers,
        "bends": [[strand, bends] for strand, bends in component.bends.items()],
        "runs": [[int(is_strong), run] for is_strong, run in runs_of(component.layers, ties)],
    }


def _colour_variables() -> str:
    """The colours as CSS variables: light, dark where the system is or the user says so."""
    lines = {}
    for theme, paper, colours in (("light", PAPER, COLOURS), ("dark", DARK_PAPER, DARK_COLOURS)):
        pairs = {**paper._asdict(), "fonts": FONTS}
        pairs |= {f"{kind}-{part}": value for kind, pair in colours.items() for part, value in pair._asdict().items()}
        lines[theme] = " ".join(f"--{key}: {value};" for key, value in pairs.items())
    kinds = "".join(f".{kind} {{ --fill: var(--{kind}-fill); --line: var(--{kind}-line); }}\n" for kind in COLOURS)
    return (
        f":root {{ color-scheme: light; {lines['light']} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not(.light) {{ color-scheme: dark; {lines['dark']} }} }}\n"
        f":root.dark {{ color-scheme: dark; {lines['dark']} }}\n{kinds}"
    )


def _file(name: str) -> str:
    return (_FILES / name).read_text(encoding="utf-8")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
