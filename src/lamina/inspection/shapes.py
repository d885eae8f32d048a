"""Output shapes in words: of one tensor, of several, of a layer that is called more than once."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from lamina.engine import nest


def shape_lines(call_shapes: list[Any]) -> list[str]:
    """The shapes that the calls of a layer gave, each in a line.

    Args:
        call_shapes: a shape for each call, or a nest of shapes.

    Returns:
        The lines; calls of one shape are taken together, and results that follow each other and are alike too.

    Example:
        >>> shape_lines([(None, 3)]), shape_lines([(None, 3), (None, 3), (None, 4)])
        (['(None, 3)'], ['calls 0-1: (None, 3)', 'call 2: (None, 4)'])
        >>> shape_lines([{"y": (None, 1), "states": [(None, 8), (None, 8), None]}])
        ['y: (None, 1)', 'states 0-1: (None, 8)', 'states 2: no tensor']
    """
    if all(shape == call_shapes[0] for shape in call_shapes):
        found = _lines(call_shapes[0])
    else:
        found = _runs(call_shapes, "call")
    return [f"{label}: {text}" if label else text for label, text in found]


def _lines(shape: Any) -> list[tuple[str, str]]:
    """For each tensor in a nest, or for several that are alike, where it is and its shape."""
    if shape is None:
        return [("", "no tensor")]
    if nest.is_shape(shape):
        return [("", str(tuple(shape)))]
    if isinstance(shape, dict):
        return [(f"{key} {label}".strip(), text) for key, member in shape.items() for label, text in _lines(member)]
    return _lines(shape[0]) if len(shape) == 1 else _runs(shape)


def _runs(shapes: list[Any], word: str = "") -> list[tuple[str, str]]:
    """The members of a list, those that follow each other and are alike taken together."""
    found: list[tuple[str, str]] = []
    for _, run in groupby(enumerate(shapes), key=lambda pair: repr(pair[1])):
        (first, shape), *others = run
        several = len(others) > 0
        where = f"{first}-{others[-1][0]}" if several else str(first)
        name = f"{word}{'s' if several else ''} {where}" if word else where
        found += [(f"{name} {label}".strip(), text) for label, text in _lines(shape)]
    return found
