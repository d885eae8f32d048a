"""What a box shows of a layer, line by line, and how large that makes it. Lengths are in points of 1/96 inch."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from lamina.engine import nest
from lamina.inspection.drawing.kinds import kind_of
from lamina.inspection.drawing.typeface import clean, cut, width_of, wrap
from lamina.inspection.report import OWN_WEIGHTS, Row

RADIUS = 6.0
TITLE, NAME, DETAIL = 13.0, 11.5, 11.0
_LINE = {TITLE: 18.0, NAME: 16.0, DETAIL: 16.0}
_PAD_X, _PAD_Y, _RULE = 12.0, 8.0, 9.0
_WIDEST = 280.0
_NARROWEST = 76.0


class Text(NamedTuple):
    """One piece of text.

    Attributes:
        x: where it starts, from the left of its box.
        y: its baseline, from the top of its box.
        text: the characters.
        size: of the font.
        bold: whether it is bold.
        tone: `"strong"`, `"plain"` or `"muted"`.
        width: how wide it is.
    """

    x: float
    y: float
    text: str
    size: float
    bold: bool
    tone: str
    width: float


@dataclass
class Box:
    """A box and its text.

    Attributes:
        kind: which colours it has, see `kinds.COLOURS`.
        width, height: its size.
        texts: what stands in it.
        rule: where a line parts its head from the details, or `None`.
        tooltip: what does not fit.
        stacked: whether it stands for several.
    """

    kind: str
    width: float
    height: float
    texts: list[Text] = field(default_factory=list)
    rule: float | None = None
    tooltip: str = ""
    stacked: bool = False


class Shown(NamedTuple):
    """Which of a layer's facts a box shows beside its class, in Keras's words.

    Attributes:
        shapes: the shapes that enter and leave it.
        dtype: the dtype of what leaves it.
        names: its name.
        activations: its activation.
        trainable: whether it is trained.
    """

    shapes: bool = False
    dtype: bool = False
    names: bool = False
    activations: bool = False
    trainable: bool = False


def row_box(row: Row, shown: Shown) -> Box:
    """The box of a row.

    Args:
        row: the row.
        shown: what it shows.
    """
    details = []
    if shown.activations and row.activation:
        details.append(("activation", row.activation))
    if shown.shapes:
        if row.input_shape is not None and row.class_name != "InputLayer":
            details.append(("input", shape_text(row.input_shape)))
        if row.class_name != OWN_WEIGHTS:  # which no call makes
            details.append(("output", shape_text(row.output_shape) if row.call_shapes else "not called"))
    if shown.dtype and row.dtype:
        details.append(("dtype", row.dtype))
    if shown.trainable and row.num_params:
        details.append(("trainable", "yes" if row.trainable else "no"))
    heads = [(row.class_name, TITLE, True, "strong")]
    if shown.names:
        heads.append((row.name, NAME, False, "plain"))
    return _box(kind_of(row.class_name), heads, details, f"{row.path or row.name} ({row.class_name})")


def group_box(title: str, rows: list[Row], num_params: int) -> Box:
    """The box of a folded group.

    Args:
        title: what stands for its members.
        rows: the rows of one of its copies.
        num_params: the numbers in the weights of all.
    """
    title = pretty(title)
    heads = [(line, TITLE, True, "strong") for line in wrap(title, _WIDEST, TITLE, bold=True)]
    if num_params:
        heads.append((f"{num_params:,} parameters", NAME, False, "plain"))
    weighty = max(rows, key=lambda row: (kind_of(row.class_name) != "other", row.num_params))
    box = _box(kind_of(weighty.class_name), heads, [], f"{title}, {num_params:,} parameters")
    box.stacked = True
    return box


def pretty(title: str) -> str:
    """The title of a group with the signs that a table in a terminal does without.

    Args:
        title: the title.

    Example:
        >>> pretty("32 x (Lambda -> Conv2D) -> ... -> Add")
        '32 × (Lambda → Conv2D) → … → Add'
    """
    return title.replace(" x ", " × ").replace("->", "→").replace("...", "…")


def heading(text: str) -> Text:
    """The title of a frame, to be put at its corner.

    Args:
        text: the title.
    """
    text = cut(clean(pretty(text)), _WIDEST, NAME, True)
    return Text(0, 0, text, NAME, True, "plain", width_of(text, NAME, True))


def shape_text(shape: Any) -> str:
    """A shape or a nest of shapes, as a short text.

    Args:
        shape: the shape.

    Example:
        >>> shape_text((None, 3)), shape_text([(None, 3), (None, 4)])
        ('(None, 3)', '[(None, 3), (None, 4)]')
        >>> shape_text({"y": (None, 1), "x": [(None, 2)] * 32})
        '{y: (None, 1), x: [32 × (None, 2)]}'
    """
    if nest.is_shape(shape) or not nest.is_nest(shape):
        return "?" if shape is None else str(tuple(shape))
    if isinstance(shape, dict):
        return "{" + ", ".join(f"{key}: {shape_text(member)}" for key, member in shape.items()) + "}"
    runs = [(text, len(list(run))) for text, run in groupby(map(shape_text, shape))]
    return (
        "[" + ", ".join(f"{count} × {text}" if count > 2 else ", ".join([text] * count) for text, count in runs) + "]"
    )


def _box(kind: str, heads: list[tuple[str, float, bool, str]], details: list[tuple[str, str]], tooltip: str) -> Box:
    """A box with centred lines above and a table of details below."""
    lines = [(cut(clean(text), _WIDEST, size, bold), size, bold, tone) for text, size, bold, tone in heads]
    label_width = max((width_of(label, DETAIL) for label, _ in details), default=0) + 8
    facts = [(label, cut(clean(value), _WIDEST - label_width, DETAIL)) for label, value in details]
    widths = [width_of(text, size, bold) for text, size, bold, _ in lines]
    table = max((label_width + width_of(value, DETAIL) for _, value in facts), default=0)
    width = max(_NARROWEST, 2 * _PAD_X + max(*widths, table))
    box = Box(kind, width, 0, tooltip=clean(tooltip))
    y = _PAD_Y
    for (text, size, bold, tone), wide in zip(lines, widths, strict=True):
        box.texts.append(Text((width - wide) / 2, y + _baseline(size), text, size, bold, tone, wide))
        y += _LINE[size]
    if facts:
        box.rule = y + _RULE / 2
        y += _RULE
    for label, value in facts:
        at = y + _baseline(DETAIL)
        box.texts.append(Text(_PAD_X, at, label, DETAIL, False, "muted", width_of(label, DETAIL)))
        box.texts.append(Text(_PAD_X + label_width, at, value, DETAIL, False, "plain", width_of(value, DETAIL)))
        y += _LINE[DETAIL]
    box.height = y + _PAD_Y
    return box


def _baseline(size: float) -> float:
    """From the top of a line to its baseline: capitals of DejaVu Sans are 0.73 of the size high."""
    return (_LINE[size] + 0.73 * size) / 2
