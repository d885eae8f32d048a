"""Which lines a table has: rows in a range, up to a failure, repeated ones folded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lamina.errors import ArgumentError, unknown_name
from lamina.inspection.folding import Group, fold
from lamina.inspection.report import OWN_WEIGHTS, Link, ReportData, Row
from lamina.inspection.shapes import shape_lines

FOLD_ABOVE = 60
"""With more rows than this, repeated ones are folded unless the caller says otherwise."""

FAILED = "FAILED"
"""The word in the place of the shape where the run ended."""


@dataclass(frozen=True)
class Line:
    """One line of a table: a row, or a group of rows with their sums.

    Attributes:
        places: where in the report its rows are.
        label: the row's name, or the group's title.
        class_name: the row's class, or `None` for a group.
        depth: how many rows it is nested in.
        call_shapes: those of the row, or of the group's last one.
        shapes: the shapes in words.
        num_params: the numbers in the weights of all its rows.
        trained: `"yes"`, `"no"`, `"partly"`, or nothing where there are no weights.
        links: the tensors that it takes from other lines.
        flops: of all its rows.
        activation_bytes: of all its rows.
        failed: whether the run ended here.
    """

    places: list[int]
    label: str
    class_name: str | None
    depth: int
    call_shapes: list[Any]
    shapes: list[str]
    num_params: int
    trained: str
    links: list[Link]
    flops: int
    activation_bytes: int
    failed: bool

    @property
    def layer(self) -> str:
        """The name and, in parentheses, the class."""
        return self.label if self.class_name is None else f"{self.label} ({self.class_name})"

    @property
    def sources(self) -> list[str]:
        """What it is connected to; a result other than a layer's first and only one by `[call][tensor]`."""
        return [f"{link.name}[{link.call}][{link.tensor}]" if link.call or link.tensor else link.name
                for link in self.links]  # fmt: skip


@dataclass(frozen=True)
class Listing:
    """What a table shows of a report.

    Attributes:
        report: the report.
        lines: the lines in order.
        chain: whether each row takes what the one before it gives, so that connections need no column.
        unreached: how many rows after the failure are left out.
    """

    report: ReportData
    lines: list[Line]
    chain: bool
    unreached: int = 0

    @property
    def folded(self) -> int:
        """How many rows are not shown because they are in a group."""
        return sum(len(line.places) - 1 for line in self.lines)


def list_lines(
    report: ReportData, layer_range: tuple[str, str] | None = None, fold_rows: bool | None = None
) -> Listing:
    """The lines that stand for a report.

    Args:
        report: the report.
        layer_range: the names of the first and last layer to show, or regular expressions for them.
        fold_rows: whether repeated rows share a line; `None` folds when there are more than `FOLD_ABOVE` rows.

    Raises:
        ArgumentError: `layer_range` is no pair of names.
        UnknownNameError: no layer has a name of `layer_range`.
    """
    rows = report.rows
    shown = _in_range(rows, layer_range)
    unreached = 0
    failed = [place for place in shown if rows[place].failed] if report.failure is not None else []
    if failed:
        reached = [place for place in shown if place <= failed[-1]]
        shown, unreached = reached, len(shown) - len(reached)
    folds = len(shown) > FOLD_ABOVE if fold_rows is None else fold_rows
    items = _within(fold(rows), set(shown)) if folds else shown
    lines = [_line(report, item) for item in items]
    return Listing(report, lines, report.class_name == "Sequential" or _is_chain(rows), unreached)


def _within(items: list[Any], shown: set[int]) -> Iterator[Any]:
    """The items of which all rows are shown; of other groups those members that are."""
    for item in items:
        if not isinstance(item, Group):
            if item in shown:
                yield item
        elif shown.issuperset(_places(item)):
            yield item
        else:
            yield from _within([member for copy in item.copies for member in copy], shown)


def _places(item: Any) -> list[int]:
    """The places of all rows in an item, in order."""
    if not isinstance(item, Group):
        return [item]
    return sorted(place for copy in item.copies for member in copy for place in _places(member))


def _line(report: ReportData, item: Any) -> Line:
    """The line of a row or a group."""
    places = _places(item)
    rows, inside = [report.rows[place] for place in places], set(places)
    # A nested row's numbers are in those of the row around it, except in torch's style.
    outer = [row for row in rows if report.style == "torch" or row.parent not in inside]
    last = report.rows[_last(item)]
    group = isinstance(item, Group)
    links = [link for row in outer for link in row.links if link.row not in inside or not group]
    failed = report.failure is not None and any(row.failed for row in rows)
    return Line(
        places=places,
        label=item.title if group else last.name,
        class_name=None if group else last.class_name,
        depth=rows[0].depth,
        call_shapes=last.call_shapes,
        shapes=_shapes(report, last, failed),
        num_params=sum(row.num_params for row in outer),
        trained=_trained(outer),
        links=list(dict.fromkeys(links)) if group else links,
        flops=sum(row.flops for row in outer),
        activation_bytes=sum(row.activation_bytes for row in outer),
        failed=failed,
    )


def _last(item: Any) -> int:
    """The place of the last row in an item."""
    return _last(item.copies[-1][-1]) if isinstance(item, Group) else item


def _shapes(report: ReportData, row: Row, failed: bool) -> list[str]:
    """A row's output shapes in words, or why it has none."""
    if row.class_name == OWN_WEIGHTS:
        return ["-"]
    if row.call_shapes or failed:
        return [*(shape_lines(row.call_shapes) if row.call_shapes else []), *([FAILED] if failed else [])]
    traced = any(other.call_shapes or other.failed for other in report.rows)
    return ["not called" if traced else "?"]  # without any shape nobody knows what was called


def _trained(rows: list[Row]) -> str:
    """Whether the weights of rows are trained."""
    found = {row.trainable for row in rows if row.num_params}
    if len(found) == 2:
        return "partly"
    return ("yes" if found.pop() else "no") if found else ""


def _in_range(rows: list[Row], layer_range: tuple[str, str] | None) -> list[int]:
    """The places of the rows from one layer to another."""
    if layer_range is None:
        return list(range(len(rows)))
    if not isinstance(layer_range, (tuple, list)) or [type(name) for name in layer_range] != [str, str]:
        raise ArgumentError(
            "layer_range takes two names.",
            expected="the names of the first and the last layer to show",
            received=f"layer_range={layer_range!r}",
            fix="write layer_range=('first', 'last')",
        )
    first, last = (_found(rows, pattern) for pattern in layer_range)
    start, end = min(first[0], last[0]), max(first[-1], last[-1]) + 1
    while end < len(rows) and (parent := rows[end].parent) is not None and start <= parent < end:
        end += 1  # a model is shown with the layers inside it
    return list(range(start, end))


def _found(rows: list[Row], pattern: str) -> list[int]:
    """Where the rows are whose names match, those that are nested least."""
    named = [place for place, row in enumerate(rows) if pattern in (row.name, row.path)]
    with contextlib.suppress(re.error):
        named = named or [place for place, row in enumerate(rows) if re.match(pattern, row.name)]
    if not named:
        raise unknown_name("layer", pattern, [row.name for row in rows])
    least = min(rows[place].depth for place in named)
    return [place for place in named if rows[place].depth == least]


def _is_chain(rows: list[Row]) -> bool:
    """Whether each row that was called takes one tensor, that of the row before it in the same model."""
    linked = {row.parent for row in rows if row.links}  # of other models nobody knows the connections
    before: dict[int | None, int] = {}
    for place, row in enumerate(rows):
        if not (row.call_shapes or row.failed) or row.parent not in linked:
            continue
        sources = [link.row for link in row.links]
        if row.parent in before:
            expected = [before[row.parent]]
        else:  # the first one in a model takes what the model takes
            expected = [link.row for link in rows[row.parent].links] if row.parent is not None else []
        if sources != expected:
            return False
        before[row.parent] = place
    return True
