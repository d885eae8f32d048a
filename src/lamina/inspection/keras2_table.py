"""The table of Keras 2: rules of `_` and `=`, columns at fixed places, one connection a line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamina.engine import nest
from lamina.inspection.columns import EXTRA, Column, Shown, extra_columns
from lamina.inspection.listing import FAILED, Line, Listing
from lamina.inspection.positions import ends_of

# Lengths and places of Keras 2.1.1.
_CHAIN = (65, (0.45, 0.85, 1.0))
_GRAPH = (98, (0.33, 0.55, 0.67, 1.0))
_TRAINABLE = 11


def keras2_lines(
    listing: Listing, line_length: int | None, positions: list[float] | None, shown: Shown
) -> Iterator[tuple[str, bool]]:
    """The lines of the table, and for each whether it is that of the layer that failed.

    Args:
        listing: what is shown.
        line_length: the length of a line, without the columns on request.
        positions: where the columns end, as parts of the length, or in characters.
        shown: the columns on request.
    """
    length, places = _CHAIN if listing.chain else _GRAPH
    length = line_length or length
    ends = ends_of(places if positions is None else positions, length, len(places))
    extra = extra_columns(shown)
    if shown.trainable:
        extra[0] = Column("Trainable", lambda line: "Y" if _trained(listing, line) else "N")
    for column in extra:
        length += _TRAINABLE if column.title == "Trainable" else EXTRA
        ends.append(length)
    titles = ["Layer (type)", "Output Shape", "Param #", *([] if listing.chain else ["Connected to"])]
    yield "_" * length, False
    yield _row([*titles, *(column.title for column in extra)], ends), False
    yield "=" * length, False
    for line, after in zip(lines := listing.lines, [*lines[1:], None], strict=True):
        cells = [[line.layer], [_shape(line)], [str(line.num_params)]]
        if not listing.chain:
            cells.append([f"{link.name}[{link.call}][{link.tensor}]" for link in line.links])
        cells += [[column.cell(line)] for column in extra]
        depth = _depth(listing, line)
        for part in range(max(len(cell) for cell in cells)):
            yield _row([cell[part] if part < len(cell) else "" for cell in cells], ends, depth), line.failed
        following = None if after is None else _depth(listing, after)
        yield from ((rule, False) for rule in _rules(depth, following, length))
    report = listing.report
    yield f"Total params: {report.total_params:,}", False
    yield f"Trainable params: {report.trainable_params:,}", False
    yield f"Non-trainable params: {report.non_trainable_params:,}", False
    yield "_" * length, False


def _depth(listing: Listing, line: Line) -> int:
    """In how many borders a line stands. A torch module's parts come before it, so there is nothing to border."""
    return 0 if listing.report.style == "torch" else line.depth


def _trained(listing: Listing, line: Line) -> bool:
    """Whether training changes a line's layers, or would if they had weights."""
    return any(listing.report.rows[place].trainable for place in line.places)


def _rules(depth: int, following: int | None, length: int) -> Iterator[str]:
    """What stands between a row and the next one, given the depth of each, or under the last."""
    after = following or 0
    if after > depth:
        yield _between("|" * after, "\u00af", length)
        return
    for closed in range(depth - 1, after - 1, -1):
        yield _between("|" * closed, "\u00af", length)
    if following is None:
        yield "=" * length
    elif after == depth:
        yield _between("|" * after, " " if after else "_", length)


def _between(edge: str, fill: str, length: int) -> str:
    """A line of one character with the borders of nested models at both ends."""
    return edge + fill * (length - 2 * len(edge)) + edge


def _row(cells: list[str], ends: list[int], depth: int = 0) -> str:
    """Cells at their places. What is too long is cut, as in Keras 2, and a space always parts two columns."""
    from rich.cells import set_cell_size

    line = "|" * depth + " " if depth else ""
    for place, (cell, end) in enumerate(zip(cells, ends, strict=True)):
        if place:
            line = set_cell_size(line, ends[place - 1] - 1) + " "
        line = set_cell_size(line + cell, end)
    return set_cell_size(line, ends[-1] - depth) + "|" * depth


def _shape(line: Line) -> str:
    """The output shape as Keras 2 writes it: one word for a layer whose calls gave different ones."""
    if line.failed:
        return FAILED
    shapes = line.call_shapes
    if not shapes:
        return line.shapes[0]
    if any(shape != shapes[0] for shape in shapes):
        return "multiple"
    return str(_plain(shapes[0]))


def _plain(shape: Any) -> Any:
    """A nest of shapes in which each shape is a tuple and several results are a list, as Keras holds them."""
    if shape is None or nest.is_shape(shape):
        return shape and tuple(shape)
    if isinstance(shape, dict):
        return {key: _plain(member) for key, member in shape.items()}
    return [_plain(member) for member in shape]
