"""The table of torchsummary: three columns set to the right, modules numbered, the memory of a run at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lamina.engine import nest
from lamina.inspection.columns import EXTRA, Shown, extra_columns
from lamina.inspection.listing import FAILED, Line, Listing

_WIDTHS = (20, 25, 15)
_LENGTH = 64


def torch_lines(listing: Listing, shown: Shown) -> Iterator[tuple[str, bool]]:
    """The lines of the table, and for each whether it is that of the module that failed.

    Args:
        listing: what is shown. Columns grow when something in them is longer than torchsummary's columns are wide.
        shown: the columns on request.
    """
    from rich.cells import cell_len

    extra = extra_columns(shown)
    rows = [["Layer (type)", "Output Shape", "Param #", *(column.title for column in extra)]]
    for line in listing.lines:
        cells = [column.cell(line) for column in extra]
        rows.append([_name(line), _shape(line), f"{line.num_params:,}", *cells])
    least = [*_WIDTHS, *[EXTRA] * len(extra)]
    widths = [max(least[place], *(cell_len(row[place]) for row in rows)) for place in range(len(least))]
    length = _LENGTH + sum(widths) - sum(_WIDTHS) + len(extra)
    yield "-" * length, False
    for place, row in enumerate(rows):
        cells = [" " * (width - cell_len(cell)) + cell for cell, width in zip(row, widths, strict=True)]
        yield f"{cells[0]}  {' '.join(cells[1:])}", place > 0 and listing.lines[place - 1].failed
        if place == 0:
            yield "=" * length, False
    yield from ((text, False) for text in _totals(listing, length))


def _totals(listing: Listing, length: int) -> Iterator[str]:
    """What stands under the rows."""
    report = listing.report
    yield "=" * length
    yield f"Total params: {report.total_params:,}"
    yield f"Trainable params: {report.trainable_params:,}"
    yield f"Non-trainable params: {report.non_trainable_params:,}"
    yield "-" * length
    yield f"Input size (MB): {report.input_mb:.2f}"
    yield f"Forward/backward pass size (MB): {report.forward_backward_mb:.2f}"
    yield f"Params size (MB): {report.params_mb:.2f}"
    if report.optimizer_bytes:
        yield f"Optimizer size (MB): {report.optimizer_mb:.2f}"
    yield f"Estimated Total Size (MB): {report.total_mb:.2f}"
    yield "-" * length


def _name(line: Line) -> str:
    """The class and the row's number, from 1; a group keeps its title."""
    return line.label if line.class_name is None else f"{line.class_name}-{line.places[0] + 1}"


def _shape(line: Line) -> str:
    """The output shape with -1 for a size that is not known."""
    if line.failed:
        return FAILED
    if not line.call_shapes:
        return line.shapes[0]
    if any(shape != line.call_shapes[0] for shape in line.call_shapes):
        return str([_sizes(shape) for shape in line.call_shapes])
    return str(_sizes(line.call_shapes[0]))


def _sizes(shape: Any) -> Any:
    """A nest of shapes with lists in place of tuples."""
    if shape is None:
        return None
    if nest.is_shape(shape):
        return [-1 if size is None else size for size in shape]
    if isinstance(shape, dict):
        return {key: _sizes(member) for key, member in shape.items()}
    return [_sizes(member) for member in shape]
