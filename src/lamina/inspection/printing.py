"""A report as text, in the style that is asked for, to where it can be read."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

from lamina.callbacks.displays import in_notebook
from lamina.errors import ArgumentError, unknown_name
from lamina.inspection.columns import EXTRA, Shown, extra_columns, failure_lines, notes_of, totals_of
from lamina.inspection.html_table import html_table
from lamina.inspection.keras2_table import keras2_lines
from lamina.inspection.listing import Listing, list_lines
from lamina.inspection.markdown_table import markdown
from lamina.inspection.report import ReportData
from lamina.inspection.rich_table import rich_table
from lamina.inspection.torch_table import torch_lines

STYLES = ("keras", "keras2", "torch")
_WIDTH = 100
_LEAST_WIDTH = 40  # seven columns of four letters


def print_report(
    report: ReportData,
    *,
    line_length: int | None = None,
    positions: list[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
    style: str | None = None,
    fold: bool | None = None,
    show_flops: bool = False,
    show_memory: bool = False,
) -> None:
    """Print a report: in colour in a terminal, as plain text in a file or pipe, as HTML in a notebook.

    Args:
        report: what `measure` found.
        line_length: the width of the table in characters; by default what the terminal has, or 100, in a style with
            rules the width of that style. torchsummary's table has one width.
        positions: where the columns end, as parts of the line or in characters; by default each column takes the
            width that it needs, or its place in Keras 2. Columns on request come after them.
        print_fn: takes the whole text once, in place of standard output.
        show_trainable: whether a column says which layers are trained.
        layer_range: the names of the first and last layer to show, or regular expressions for them.
        style: `"keras"`, `"keras2"` for the table of Keras 2, or `"torch"` for that of torchsummary; by default the
            report's own.
        fold: whether repeated rows share a line; by default from 61 rows on, and never in the styles of others.
        show_flops: whether a column gives the operations of each layer.
        show_memory: whether a column gives the memory of each layer's outputs.

    Raises:
        ArgumentError: `line_length`, `positions` or `layer_range` make no table.
        UnknownNameError: there is no such style, or no layer of a name in `layer_range`.

    Example:
        >>> from lamina.inspection import measure
        >>> from lamina.layers import Dense, Input
        >>> from lamina.models import Sequential
        >>> report = measure(Sequential([Input((3,)), Dense(2, name="dense")], name="small"))
        >>> print_report(report, style="keras2")
        _________________________________________________________________
        Layer (type)                 Output Shape              Param #
        =================================================================
        dense (Dense)                (None, 2)                 8
        =================================================================
        Total params: 8
        Trainable params: 8
        Non-trainable params: 0
        _________________________________________________________________
    """
    shown = Shown(show_trainable, show_flops, show_memory)
    text = _Text(report, line_length, positions, shown, layer_range, style, fold)
    if print_fn is not None:
        print_fn(text.plain())
    elif text.style == "keras" and in_notebook():
        from IPython.display import display  # type: ignore[import-not-found]

        display(_Shown(text))
    else:
        _print(text)


def report_text(report: ReportData, **options: Any) -> str:
    """A report as plain text.

    Args:
        report: what `measure` found.
        **options: those of `print_report`.

    Returns:
        What `print_report` would hand to `print_fn`.

    Example:
        >>> from lamina.inspection import measure
        >>> from lamina.layers import Dense, Input
        >>> from lamina.models import Sequential
        >>> text = report_text(measure(Sequential([Input((3,)), Dense(2, name="dense")])))
        >>> text.splitlines()[3].split()
        ['dense', '(Dense)', '(None,', '2)', '8']
    """
    texts: list[str] = []
    print_report(report, **{**options, "print_fn": texts.append})
    return texts[0]


def to_markdown(
    report: ReportData,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
    fold: bool | None = None,
    show_flops: bool = False,
    show_memory: bool = False,
) -> str:
    """A report as a table of GitHub's Markdown.

    Args:
        report: what `measure` found.
        show_trainable, layer_range, fold, show_flops, show_memory: as in `print_report`.
    """
    return markdown(list_lines(report, layer_range, fold), Shown(show_trainable, show_flops, show_memory))


def to_html(
    report: ReportData,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
    fold: bool | None = None,
    show_flops: bool = False,
    show_memory: bool = False,
) -> str:
    """A report as a table of HTML, for light and dark pages.

    Args:
        report: what `measure` found.
        show_trainable, layer_range, fold, show_flops, show_memory: as in `print_report`.
    """
    return html_table(list_lines(report, layer_range, fold), Shown(show_trainable, show_flops, show_memory))


class _Text:
    """A report with all that says how it is to be shown, checked."""

    def __init__(
        self,
        report: ReportData,
        line_length: int | None,
        positions: list[float] | None,
        shown: Shown,
        layer_range: tuple[str, str] | None,
        style: str | None,
        fold: bool | None,
    ) -> None:
        self.style = report.style if style is None else style
        if self.style not in STYLES:
            raise unknown_name("style of a summary", style, STYLES)
        if line_length is not None and not (isinstance(line_length, int) and line_length >= _LEAST_WIDTH):
            raise ArgumentError(
                "A table needs some room.",
                expected=f"line_length, a whole number of {_LEAST_WIDTH} characters or more",
                received=f"line_length={line_length!r}",
                fix="leave line_length out, and the table takes the width of the terminal",
            )
        self.report, self.line_length, self.positions, self.shown = report, line_length, positions, shown
        self.listing: Listing = list_lines(report, layer_range, fold if self.style == "keras" else bool(fold))

    def plain(self, room: int = _WIDTH) -> str:
        """Text without colours, where there is room for lines of so many characters."""
        from rich.console import Console

        if self.style != "keras":
            return "\n".join(text for text, _ in self._ruled())
        file = io.StringIO()
        console = Console(
            file=file, width=self._width(room), color_system=None, force_terminal=False, force_jupyter=False
        )
        self._write(console, room)
        return "\n".join(line.rstrip() for line in file.getvalue().rstrip("\n").split("\n"))

    def coloured(self) -> None:
        """Print it to the terminal."""
        from rich.console import Console
        from rich.text import Text

        room = max(Console().width, _LEAST_WIDTH)
        console = Console(width=self._width(room), highlight=False)
        if self.style == "keras":
            self._write(console, room)
            return
        for line, red in self._ruled():
            console.print(Text(line, style="bold red" if red else ""), soft_wrap=True)

    def _width(self, room: int) -> int:
        """The longest line of a table without rules. Columns on request come after those with a place."""
        length = self.line_length or room
        return length if self.positions is None else length + EXTRA * len(extra_columns(self.shown))

    def _write(self, console: Any, room: int) -> None:
        """Print the table without rules, and what is under it, to a console of rich's."""
        from rich.text import Text

        console.print(rich_table(self.listing, self.line_length or room, self.positions, self.shown))
        for note in notes_of(self.listing):
            console.print(Text(note, style="italic"))
        console.print()
        for name, text in totals_of(self.report):
            console.print(Text.assemble((f"{name}: ", "bold"), text))
        if self.report.failure is not None:
            console.print()
            for line in failure_lines(self.report.failure):
                console.print(Text(line, style="red"))

    def _ruled(self) -> Iterator[tuple[str, bool]]:
        """The lines of a table with rules, and for each whether it is to be red."""
        if self.style == "keras2":
            yield from keras2_lines(self.listing, self.line_length, self.positions, self.shown)
        else:
            yield from torch_lines(self.listing, self.shown)
        yield from ((note, False) for note in notes_of(self.listing))
        if self.report.failure is not None:
            yield from ((line, True) for line in failure_lines(self.report.failure))


class _Shown:
    """A report that a notebook shows as a table, and everything else as text."""

    def __init__(self, text: _Text) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text.plain()

    def _repr_html_(self) -> str:
        return html_table(self._text.listing, self._text.shown)


def _print(text: _Text) -> None:
    """Write to standard output, in colour if it is a terminal."""
    from rich.console import Console

    notebook = in_notebook()
    if not notebook and Console().is_terminal:
        text.coloured()
        return
    written = text.plain(shutil.get_terminal_size((_WIDTH, 0)).columns) + "\n"
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        written.encode(encoding)
    except UnicodeEncodeError:  # a rule or a name in letters that the file cannot hold
        written = written.replace("\u2500", "-").encode(encoding, "backslashreplace").decode(encoding)
    sys.stdout.write(written)
