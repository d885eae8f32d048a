"""The table in lamina's own style, for a terminal, a file or a pipe."""

from __future__ import annotations

from typing import Any

from lamina.inspection.columns import EXTRA, Column, Shown, columns_of, extra_columns, title_of
from lamina.inspection.listing import FAILED, Line, Listing
from lamina.inspection.positions import LEAST, ends_of

_INDENT = 2
_GAP = 2
_SHAPE = 1  # the column of shapes
# What is left of shapes and names when a table is too wide, before numbers go over several lines too.
_SHAPE_PART = 10
_NAME_PART = 18


def rich_table(
    listing: Listing, line_length: int, positions: list[float] | None = None, shown: Shown | None = None
) -> Any:
    """A table of rich's, which folds what is too long for its column.

    Args:
        listing: what is shown.
        line_length: how long a line may be, and what `positions` are parts of.
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
    if positions is None:
        widths = _fitting(listing, columns, line_length)
    else:
        extra = len(extra_columns(shown))
        widths = _widths(positions, line_length, len(columns) - extra, extra)
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
        cells = [
            _layer_cell(line, widths[0] // 2 if widths else None),
            *(_cell(column, line) for column in columns[1:]),
        ]
        table.add_row(*cells, style="bold red" if line.failed else None)
    return table


def _layer_cell(line: Line, most: int | None) -> Any:
    """The name and the class, indented by depth, at most so far, also where they go over several lines."""
    from rich.padding import Padding
    from rich.text import Text

    if line.class_name is None:
        text = Text(line.label, style="italic cyan")
    else:
        text = Text.assemble(line.label, (f" ({line.class_name})", "" if line.failed else "cyan"))
    indent = _INDENT * line.depth if most is None else min(_INDENT * line.depth, most)
    return Padding(text, (0, 0, 0, indent)) if indent else text


def _cell(column: Column, line: Line) -> Any:
    """What a column says of a line."""
    from rich.text import Text

    text = column.cell(line)
    faint = text in ("0", "-", "?", "not called") and FAILED not in line.shapes
    return Text(text, style="dim" if faint else "")


def _fitting(listing: Listing, columns: list[Column], room: int) -> list[int] | None:
    """Widths in which numbers, names and shapes stay whole as far as there is room; `None` if all of it fits."""
    room -= _GAP * (len(columns) - 1)
    full, words = _needs(listing, columns)
    if sum(full) <= room:
        return None
    names = [place for place, column in enumerate(columns) if column.title in ("Layer (type)", "Connected to")]
    widths = list(full)
    widths[_SHAPE] = min(full[_SHAPE], _SHAPE_PART)
    for place in names:
        widths[place] = min(words[place], _NAME_PART)
    flexible = [*names, _SHAPE]
    left = room - sum(widths)
    while left < 0:
        if all(widths[place] <= LEAST for place in flexible):
            flexible = list(range(len(widths)))
        widest = max(flexible, key=lambda place: widths[place])
        widths[widest], left = widths[widest] - 1, left + 1
    narrow_first = sorted(names, key=lambda place: full[place])
    for place, wanted in [(_SHAPE, full), *((name, words) for name in names), *((name, full) for name in narrow_first)]:
        more = min(left, max(0, wanted[place] - widths[place]))
        widths[place], left = widths[place] + more, left - more
    return widths


def _needs(listing: Listing, columns: list[Column]) -> tuple[list[int], list[int]]:
    """For each column the width in which nothing is folded, and that in which no word is."""
    from rich.cells import cell_len

    indents = [0, *(_INDENT * line.depth for line in listing.lines)]
    full, words = [0] * len(columns), [0] * len(columns)
    for place, column in enumerate(columns):
        for text, indent in zip([column.title, *map(column.cell, listing.lines)], indents, strict=True):
            first = 0 if place else indent
            full[place] = max(full[place], *(first + cell_len(part) for part in text.split("\n")))
            words[place] = max(words[place], *(first + cell_len(part) for part in text.split() or [""]))
    return full, words


def _widths(positions: list[float], line_length: int, count: int, extra: int) -> list[int]:
    """The widths of `count` columns that end at `positions` with a gap after each, and of `extra` ones after them."""
    ends = ends_of(positions, line_length, count)
    widths = [end - start - _GAP for start, end in zip([0, *ends], ends, strict=False)]
    if not extra:
        widths[-1] += _GAP
    return [*widths, *[EXTRA - _GAP] * extra]
