"""The columns of a table, and the lines under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lamina.inspection.amounts import byte_text, short_count
from lamina.inspection.listing import Line, Listing
from lamina.inspection.report import Failure, ReportData

EXTRA = 12
"""The width of a column on request where columns have fixed places."""


class Shown(NamedTuple):
    """Which columns a table has beside name, shape and number of weights."""

    trainable: bool = False
    flops: bool = False
    memory: bool = False


class Column(NamedTuple):
    """A column: its title, what it says of a line, and whether it is set to the right."""

    title: str
    cell: Callable[[Line], str]
    right: bool = False


def columns_of(listing: Listing, shown: Shown) -> list[Column]:
    """The columns of a table.

    Args:
        listing: its lines.
        shown: which columns there are on request.
    """
    columns = [
        Column("Layer (type)", lambda line: line.layer),
        Column("Output shape", lambda line: "\n".join(line.shapes)),
        Column("Params", lambda line: f"{line.num_params:,}", right=True),
    ]
    if not listing.chain:
        columns.append(Column("Connected to", lambda line: ", ".join(line.sources)))
    return columns + extra_columns(shown)


def extra_columns(shown: Shown) -> list[Column]:
    """The columns that are there on request.

    Args:
        shown: which they are.
    """
    trained = Column("Trained", lambda line: line.trained)
    flops = Column("FLOPs", lambda line: short_count(line.flops) if line.flops else "-", right=True)
    memory = Column(
        "Memory", lambda line: byte_text(line.activation_bytes) if line.activation_bytes else "-", right=True
    )
    return [column for column, wanted in zip((trained, flops, memory), shown, strict=True) if wanted]


def title_of(report: ReportData) -> str:
    """What stands above a table.

    Args:
        report: the report.
    """
    return f"{report.class_name}: {report.name}"


def notes_of(listing: Listing) -> list[str]:
    """Sentences on the rows that a table leaves out.

    Args:
        listing: its lines.
    """
    notes = []
    if listing.unreached:
        notes.append(f"The run did not reach {listing.unreached} more row{'s' if listing.unreached > 1 else ''}.")
    if listing.folded:
        notes.append(f"{len(listing.lines) + listing.folded} rows, repeated ones folded; fold=False shows each.")
    return notes


def totals_of(report: ReportData) -> list[tuple[str, str]]:
    """The sums under a table, each with its name.

    Args:
        report: the report.
    """
    fixed = None if report.trainable_bytes is None else report.params_bytes - report.trainable_bytes
    found = [
        ("Total params", _params(report.total_params, report.params_bytes)),
        ("Trainable params", _params(report.trainable_params, report.trainable_bytes)),
        ("Non-trainable params", _params(report.non_trainable_params, fixed)),
    ]
    if report.input_bytes or report.forward_backward_bytes or report.optimizer_bytes:
        parts = (
            ("input", report.input_bytes),
            ("forward/backward", report.forward_backward_bytes),
            ("optimizer", report.optimizer_bytes),
            ("total", report.total_bytes),
        )
        named = ", ".join(f"{name} {byte_text(count)}" for name, count in parts if count)
        found.append(("Memory for one sample", named))
    if report.flops:
        short = f" ({short_count(report.flops)})" if report.flops >= 1e6 else ""
        found.append(("FLOPs for one sample", f"{report.flops:,}{short}"))
    return found


def failure_lines(failure: Failure) -> list[str]:
    """Why the run ended early, a fact in each line.

    Args:
        failure: what is known.
    """
    what = " ".join(failure.what.split("\n"))
    lines = [f"FAILED in {failure.where!r}: {what}" if failure.where else f"FAILED: {what}"]
    for label, text in (("expected", failure.expected), ("received", failure.received), ("fix", failure.fix)):
        if text:
            lines.append(f"  {label + ':':<9} {text}")
    return lines


def _params(count: int, size: int | None) -> str:
    """A number of weights with their memory, where that is known."""
    return f"{count:,}" + ("" if size is None else f" ({byte_text(size)})")
