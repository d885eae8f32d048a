"""The table in lamina's own style, for a terminal, a file or a pipe."""

from __future__ import annotations

from typing import Any

from lamina.inspection.columns import EXTRA, Column, Shown, columns_of, extra_columns, title_of
from lamina.inspection.listing import FAILED, Line, Listing
from lamina.inspection.positions import LEAST, ends_of

_INDENT = 2
_GAP = 2


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


def _fitting(listing: Listing, columns: list[Column], room: int) -> list[int] | None:
    """Widths in which numbers and words stay whole and, if there is room, shapes too; `None` if all of it fits."""
    from rich.cells import cell_len

    indents = [0, *(_INDENT * line.depth for line in listing.lines)]
    full, words = [0] * len(columns), [0] * len(columns)
    for place, column in enumerate(columns):
        for text, indent in zip([column.title, *map(column.cell, listing.lines)], indents, strict=True):
            first = 0 if place else indent
            full[place] = max(full[place], *(first + cell_len(part) for part in text.split("\n")))
            words[place] = max(words[place], *(first + cell_len(part) for part in text.split() or [""]))
    room -= _GAP * (len(columns) - 1)
    if sum(full) <= room:
        return None
    least = [full[place] if column.right else min(words[place], room // 3) for place, column in enumerate(columns)]
    if sum(least) + full[1] - least[1] <= room:
        least[1] = full[1]
    left = room - sum(least)
    texts = sorted((place for place, column in enumerate(columns) if not column.right), key=lambda place: full[place])
    for wanted in (words, full):
        for place in texts:  # the narrow ones first, which need the least to have their rows on one line
            more = max(0, min(left, wanted[place] - least[place]))
            least[place], left = least[place] + more, left - more
    while left < 0:
        widest = max(texts, key=lambda place: least[place])
        if least[widest] <= LEAST:
            return None  # rich makes what it can of so little room
        least[widest], left = least[widest] - 1, left + 1
    return least


def _widths(positions: list[float], line_length: int, count: int, extra: int) -> list[int]:
    """The widths of `count` columns that end at `positions` with a gap after each, and of `extra` ones after them."""
    ends = ends_of(positions, line_length, count)
    widths = [end - start - _GAP for start, end in zip([0, *ends], ends, strict=False)]
    if not extra:
        widths[-1] += _GAP
    return [*widths, *[EXTRA - _GAP] * extra]
