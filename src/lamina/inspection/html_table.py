"""The table for a notebook or a page: HTML without scripts, in the colours around it."""

from __future__ import annotations

import html

from lamina.inspection.columns import Column, Shown, columns_of, failure_lines, notes_of, title_of, totals_of
from lamina.inspection.listing import Line, Listing

_CLASS = "lamina-summary"

# Lines and shades are grey that can be seen through, and text takes the page's colour, so that both light and dark
# pages do; only the red of a failure has to know which it is on.
_STYLE = f"""
.{_CLASS} {{ --lamina-red: #b3261e; font-size: 0.9em; line-height: 1.4; }}
@media (prefers-color-scheme: dark) {{ .{_CLASS} {{ --lamina-red: #ff8a80; }} }}
[data-jp-theme-light="true"] .{_CLASS} {{ --lamina-red: #b3261e; }}
[data-jp-theme-light="false"] .{_CLASS} {{ --lamina-red: #ff8a80; }}
.{_CLASS} table {{ border-collapse: collapse; color: inherit; background: transparent; margin: 0; }}
.{_CLASS} caption {{ caption-side: top; text-align: left; font-weight: bold; color: inherit; padding: 0.3em 0; }}
.{_CLASS} th, .{_CLASS} td {{
  text-align: left; vertical-align: top; padding: 0.15em 1em 0.15em 0.3em; background: transparent; color: inherit;
  border: 0 solid rgba(128, 128, 128, 0.4); border-bottom-width: 1px; white-space: pre-line; overflow-wrap: anywhere;
}}
.{_CLASS} thead th {{ border-bottom-width: 2px; }}
.{_CLASS} .right {{ text-align: right; font-variant-numeric: tabular-nums; }}
.{_CLASS} .type {{ opacity: 0.65; }}
.{_CLASS} .group td:first-child {{ font-style: italic; }}
.{_CLASS} .failed td, .{_CLASS} .failure {{ color: var(--lamina-red); font-weight: bold; }}
.{_CLASS} p {{ margin: 0.4em 0.3em; }}
.{_CLASS} pre {{ margin: 0.4em 0.3em; white-space: pre-wrap; background: transparent; }}
""".strip()


def html_table(listing: Listing, shown: Shown) -> str:
    """The table with its totals, as HTML whose style touches nothing else on the page.

    Args:
        listing: what is shown.
        shown: the columns on request.
    """
    columns = columns_of(listing, shown)
    heads = "".join(f'<th scope="col"{_align(column)}>{html.escape(column.title)}</th>' for column in columns)
    parts = [
        f'<div class="{_CLASS}">',
        f"<style>{_STYLE}</style>",
        f"<table><caption>{html.escape(title_of(listing.report))}</caption>",
        f"<thead><tr>{heads}</tr></thead>",
        "<tbody>",
        *(_row(columns, line) for line in listing.lines),
        "</tbody></table>",
    ]
    parts += [f"<p><em>{html.escape(note)}</em></p>" for note in notes_of(listing)]
    totals = "<br>".join(
        f"<strong>{html.escape(name)}:</strong> {html.escape(text)}" for name, text in totals_of(listing.report)
    )
    parts.append(f"<p>{totals}</p>")
    if listing.report.failure is not None:
        parts.append(f'<pre class="failure">{html.escape(chr(10).join(failure_lines(listing.report.failure)))}</pre>')
    return "\n".join([*parts, "</div>"]) + "\n"


def _row(columns: list[Column], line: Line) -> str:
    """A line of the table."""
    kind = "failed" if line.failed else "group" if line.class_name is None else ""
    name = html.escape(line.label)
    if line.class_name is not None:
        name += f' <span class="type">({html.escape(line.class_name)})</span>'
    indent = f' style="padding-left: {0.3 + 1.5 * line.depth:.1f}em"' if line.depth else ""
    cells = "".join(f"<td{_align(column)}>{html.escape(column.cell(line))}</td>" for column in columns[1:])
    return f"<tr{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}><td{indent}>{name}</td>{cells}</tr>"


def _align(column: Column) -> str:
    """The attribute of a column that is set to the right."""
    return ' class="right"' if column.right else ""
