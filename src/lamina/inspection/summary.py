"""A report as a table."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from typing import Any

from lamina.errors import unknown_name
from lamina.inspection.measuring import measure
from lamina.inspection.report import Report, Row


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: list[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
) -> Report:
    """Print a model's layers, their output shapes and numbers of weights.

    Args:
        model: a built model.
        line_length: the width of the table in characters; by default what the terminal has, or 100.
        positions: accepted for Keras's sake; columns take the width that they need.
        print_fn: takes the text in place of standard output.
        expand_nested: whether the layers of models inside have rows too.
        show_trainable: whether a column says which layers are trained.
        layer_range: the names of the first and last layer to show, or regular expressions for them.

    Returns:
        The report behind the table.

    Raises:
        NotBuiltError: the model does not know the shape of its input yet.
        UnknownNameError: no layer has a name of `layer_range`.
    """
    report = measure(model, expand_nested=expand_nested)
    from rich.console import Console

    rows = _in_range(report.rows, layer_range)
    if print_fn is None:
        console = Console(width=line_length)
        console.print(_table(report, rows, show_trainable))
        console.print(_totals(report), highlight=False)
    else:
        text = io.StringIO()
        console = Console(file=text, width=line_length or 100, color_system=None, force_terminal=False)
        console.print(_table(report, rows, show_trainable))
        console.print(_totals(report), highlight=False)
        print_fn(text.getvalue().rstrip("\n"))
    return report


def _in_range(rows: list[Row], layer_range: tuple[str, str] | None) -> list[Row]:
    """The rows from one layer to another."""
    if layer_range is None:
        return rows
    first, last = (_place(rows, pattern) for pattern in layer_range)
    return rows[min(first[0], last[0]) : max(first[-1], last[-1]) + 1]


def _place(rows: list[Row], pattern: str) -> list[int]:
    """Where the rows are whose names match."""
    names = [row.name for row in rows]
    found = [place for place, name in enumerate(names) if name == pattern]
    with contextlib.suppress(re.error):
        found = found or [place for place, name in enumerate(names) if re.match(pattern, name)]
    if not found:
        raise unknown_name("layer", pattern, names)
    return found


def _table(report: Report, rows: list[Row], show_trainable: bool) -> Any:
    """The rows as a table of rich's; graphs that are not a chain have a column of connections."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{report.class_name}: {report.name}", box=box.SIMPLE_HEAD, title_justify="left", expand=False)
    table.add_column("Layer (type)", overflow="fold")
    table.add_column("Output shape", overflow="fold")
    table.add_column("Params", justify="right")
    chain = all(row.inputs in ([], [before.name]) for before, row in zip(rows, rows[1:], strict=False))
    if not chain:
        table.add_column("Connected to", overflow="fold")
    if show_trainable:
        table.add_column("Trained")
    for row in rows:
        cells = [
            Text("  " * row.depth + f"{row.name} ({row.class_name})"),
            Text("not called" if row.output_shape is None else str(row.output_shape)),
            Text(f"{row.num_params:,}"),
        ]
        if not chain:
            cells.append(Text(", ".join(row.inputs)))
        if show_trainable:
            cells.append(Text("" if not row.num_params else "yes" if row.trainable else "no"))
        table.add_row(*cells)
    return table


def _totals(report: Report) -> str:
    return (
        f"Total params: {report.total_params:,} ({_size(report.params_bytes)})\n"
        f"Trainable params: {report.trainable_params:,}\n"
        f"Non-trainable params: {report.non_trainable_params:,}"
    )


def _size(count: float) -> str:
    """A number of bytes in a readable unit."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} GB"
