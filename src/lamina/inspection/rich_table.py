"""The table in lamina's own style, for a terminal, a file or a pipe."""

from __future__ import annotations

from typing import Any

from lamina.errors import ArgumentError
from lamina.inspection.columns import EXTRA, Column, Shown, columns_of, extra_columns, title_of
from lamina.inspection.listing import FAILED, Line, Listing

_INDENT = 2
_GAP = 2
_LEAST = 4


def rich_table(
    listing: Listing, line_length: int | None = None, positions: list[float] | None = None, shown: Shown | None = None
) -> Any:
    """A table of rich's, which folds what is too long for its column.

    Args:
        listing: what is shown.
        line_length: what `positions` are parts of.
        positions: where the columns end; by default each takes the width that it needs.
        shown: the columns on request.

    Raises:
        ArgumentError: `positions` do not part a line into columns.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = shown or Shown()
    columns = columns_of(listing, shown)
    widths = None if positions is None else _widths(positions, line_length or 100, len(columns), shown)
    table = Table(
        title=Text(title_of(listing.report), style="bold"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # and a blank in place of a rule between columns: a gap of two
    )
    for place, column in enumerate(columns):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            overflow="fold",
            width=widths[place] if widths else None,
        )
    for line in listing.lines:
        cells = [_layer_cell(line), *(_cell(column, line) for column in columns[1:])]
        table.add_row(*cells, style="bold red" if line.failed else None)
    return table


def _layer_cell(line: Line) -> Any:
    """The name and the class, indented by depth also where they go over several lines."""
    from rich.padding import Padding
    from rich.text import Text

    if line.class_name is None:
        text = Text(line.label, style="italic cyan")
    else:
        text = Text.assemble(line.label, (f" ({line.class_name})", "" if line.failed else "cyan"))
    return Padding(text, (0, 0, 0, _INDENT * line.depth)) if line.depth else text


def _cell(column: Column, line: Line) -> Any:
    """What a column says of a line."""
    from rich.text import Text

    text = column.cell(line)
    faint = text in ("0", "-", "?", "not called") and FAILED not in line.shapes
    return Text(text, style="dim" if faint else "")


def _widths(positions: list[float], line_length: int, count: int, shown: Shown) -> list[int]:
    """The widths of columns that end at `positions`, a gap after each but the last."""
    extra = len(extra_columns(shown))
    places = list(positions)[: count - extra]
    whole = bool(places) and places[-1] > 1
    ends = [int(place) if whole else int(place * line_length) for place in places]
    widths = [end - start - _GAP for start, end in zip([0, *ends], ends, strict=False)]
    if widths and not extra:
        widths[-1] += _GAP
    if len(places) < count - extra or min(widths, default=0) < _LEAST:
        raise ArgumentError(
            "These positions leave no room for the columns.",
            expected=f"{count - extra} rising numbers, each at least {_LEAST + _GAP} characters after the one before",
            received=f"positions={list(positions)} of a line of {line_length}",
            fix="give a larger line_length, or leave positions out",
        )
    return [*widths, *[EXTRA - _GAP] * extra]
