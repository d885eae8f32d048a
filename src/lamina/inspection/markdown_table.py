"""The table in GitHub's Markdown."""

from __future__ import annotations

import re

from lamina.inspection.columns import Shown, columns_of, failure_lines, notes_of, title_of, totals_of
from lamina.inspection.listing import Line, Listing


def markdown(listing: Listing, shown: Shown) -> str:
    """The table with its totals, as Markdown.

    Args:
        listing: what is shown.
        shown: the columns on request.
    """
    columns = columns_of(listing, shown)
    lines = [
        f"**{_escaped(title_of(listing.report))}**",
        "",
        _row([column.title for column in columns]),
        _row(["---:" if column.right else ":---" for column in columns]),
    ]
    for line in listing.lines:
        first, *others = [_escaped(column.cell(line)) for column in columns]
        lines.append(_row([_layer(line, first), *others]))
    notes = notes_of(listing)
    if notes:
        lines += ["", *(f"*{_escaped(note)}*  " for note in notes)]
    lines += ["", *(f"- {name}: {_escaped(text)}" for name, text in totals_of(listing.report))]
    if listing.report.failure is not None:
        text = "\n".join(failure_lines(listing.report.failure))
        fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
        lines += ["", fence + "text", text, fence]
    return "\n".join(lines) + "\n"


def _layer(line: Line, text: str) -> str:
    """The first cell: indented by depth, bold where the run ended."""
    return "&nbsp;" * 4 * line.depth + (f"**{text}**" if line.failed else text)


def _row(cells: list[str]) -> str:
    """A row of the table."""
    return "| " + " | ".join(cells) + " |"


def _escaped(text: str) -> str:
    """Text that Markdown leaves as it is; an underline within a word means nothing to it."""
    text = re.sub(r"([\\`*|<>&~\[\]#$])|(?<![^\W_])(_)|(_)(?![^\W_])", lambda found: "\\" + found.group(), text)
    return re.sub(r"\s*[\n\r]\s*", "<br>", text)
