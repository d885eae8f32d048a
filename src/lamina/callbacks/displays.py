"""Where progress is shown: plain lines in a file, one live bar in a terminal, one display in a notebook."""

from __future__ import annotations

import dataclasses
import html
import math
import os
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np

_BAR_WIDTH = 20
_NOTEBOOK_LINES = 100


@dataclasses.dataclass
class Progress:
    """How far an epoch, an evaluation or a prediction has come.

    Args:
        title: such as `"Epoch 3/10"`; empty outside `fit`.
        seen: the batches that are done.
        total: all batches, or `None` if nobody knows.
        seconds: the time since it began.
        step_seconds: the time of one batch, or `None` before the second one.
        values: losses and metrics.
        note: what is going on beside the batches, such as validation.
    """

    title: str = ""
    seen: int = 0
    total: int | None = None
    seconds: float = 0.0
    step_seconds: float | None = None
    values: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""

    @property
    def count(self) -> str:
        """The batches done out of all, in a width that does not change."""
        if self.total is None:
            return str(self.seen)
        return f"{self.seen:{len(str(self.total))}}/{self.total}"

    @property
    def left(self) -> str:
        """The time left, as far as that is known."""
        if self.note or self.total is None or self.step_seconds is None:
            return self.note
        return "about " + duration(self.step_seconds * max(self.total - self.seen, 0)) + " left"

    @property
    def speed(self) -> str:
        """The time of one batch; empty before the second one."""
        return "" if self.step_seconds is None else step_time(self.step_seconds)

    @property
    def results(self) -> str:
        """Losses and metrics."""
        return " - ".join(f"{name}: {number(value)}" for name, value in self.values.items())

    def line(self) -> str:
        """The finished line: all of it in ASCII, nothing but text."""
        parts = (self.title, self.count.strip(), duration(self.seconds), self.speed, self.results)
        return " - ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """A time as people write it.

    Args:
        seconds: the time.

    Example:
        >>> duration(0.4), duration(75), duration(3725)
        ('0s', '1:15', '1:02:05')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def step_time(seconds: float) -> str:
    """The time of one batch, in the unit that suits it.

    Args:
        seconds: the time.

    Example:
        >>> step_time(2.2), step_time(0.0123), step_time(4.5e-5)
        ('2s/step', '12ms/step', '45us/step')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.0f}{unit}/step"
    return f"{seconds * 1e6:.0f}us/step"


def number(value: Any) -> str:
    """A loss or metric with four digits after the point, or as a power of ten if that would hide it.

    Args:
        value: a number, an array, or anything else.

    Example:
        >>> number(0.51234), number(2e-5), number(0), number(float("nan"))
        ('0.5123', '2.0000e-05', '0.0000', 'nan')
    """
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    if not hasattr(value, "__float__"):
        return str(value)
    value = float(value)
    return f"{value:.4e}" if 0 < abs(value) <= 1e-3 else f"{value:.4f}"


class Lines:
    """One plain line when something is finished.

    Args:
        file: where to.
    """

    interval = math.inf
    """Seconds between two drawings."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def draw(self, progress: Progress) -> None:
        """Nothing before the end."""

    def finish(self, progress: Progress) -> None:
        """Write the line."""
        self.file.write(progress.line() + "\n")
        self.file.flush()

    def close(self) -> None:
        """There is nothing to put right."""


class Bar:
    """A bar in a terminal, drawn over itself, with whatever is printed meanwhile above it.

    Args:
        file: the terminal.
    """

    interval = 0.25
    """Seconds between two drawings."""

    def __init__(self, file: TextIO) -> None:
        from rich.console import Console

        self._is_output = file is sys.stdout
        self._console = Console(file=file, force_terminal=True, highlight=False)
        self._live: Any = None

    def draw(self, progress: Progress) -> None:
        """Draw the bar, the first time below what stands there."""
        self._update(progress, progress.left)

    def finish(self, progress: Progress) -> None:
        """Draw it full, and leave it there."""
        self._update(progress, duration(progress.seconds))
        self.close()

    def close(self) -> None:
        """Show the cursor again and leave the last state as it is."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _update(self, progress: Progress, time: str) -> None:
        from rich.live import Live

        if self._live is None:
            # No thread: it would read nothing new, and a worker process forked beside it could find its lock held.
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                redirect_stdout=self._is_output,
                redirect_stderr=self._is_output,
                vertical_overflow="visible",
            )
            self._live.start()
        self._live.update(self._row(progress, time), refresh=True)

    @staticmethod
    def _row(progress: Progress, time: str) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        row = Table.grid(padding=(0, 1))
        for _ in range(4):
            row.add_column(no_wrap=True)
        row.add_column(overflow="fold")
        bar = ProgressBar(
            total=progress.total,
            completed=progress.seen,
            width=_BAR_WIDTH,
            pulse=progress.total is None,
        )
        row.add_row(progress.title, progress.count, bar, f"{time} {progress.speed}".strip(), progress.results)
        return row


class Notebook:
    """One display below a notebook's cell, which holds the finished lines and the one that is growing."""

    interval = 0.25
    """Seconds between two drawings."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._finished: deque[str] = deque(maxlen=_NOTEBOOK_LINES)

    def draw(self, progress: Progress) -> None:
        """Replace the display."""
        self._show(
            f"{progress.title} {progress.count} {_text_bar(progress)} {progress.left} {progress.speed} "
            f"{progress.results}".strip()
        )

    def finish(self, progress: Progress) -> None:
        """Replace the line that was growing by the finished one."""
        self._finished.append(progress.line())
        self._show("")

    def close(self) -> None:
        """What is shown stays."""

    def _show(self, growing: str) -> None:
        from IPython.display import display  # type: ignore[import-not-found]

        shown = _Shown("\n".join([*self._finished, *([growing] if growing else [])]))
        if self._handle is None:
            self._handle = display(shown, display_id=True)
        else:
            self._handle.update(shown)


class _Shown:
    """A text that a notebook shows as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre style='line-height:1.3; white-space:pre-wrap'>{html.escape(self.text)}</pre>"


def _text_bar(progress: Progress) -> str:
    if progress.total is None:
        return ""
    full = min(_BAR_WIDTH * progress.seen // max(progress.total, 1), _BAR_WIDTH)
    return "█" * full + "░" * (_BAR_WIDTH - full)


def choose(file: TextIO | None, verbose: int) -> Lines | Bar | Notebook:
    """The display that suits a file, by default standard output.

    Args:
        file: a terminal, a pipe, a file; `None` for standard output.
        verbose: 1 for a live display where that can be, 2 for lines anyway.

    Returns:
        A `Notebook` or `Bar` if it can be drawn over, else `Lines`.
    """
    target = sys.stdout if file is None else file
    if verbose == 1:
        if target is sys.stdout and in_notebook():
            return Notebook()
        if _is_terminal(target):
            return Bar(target)
    return Lines(target)


def _is_terminal(file: Any) -> bool:
    """Whether `file` is a terminal that can move its cursor."""
    isatty = getattr(file, "isatty", None)
    return isatty is not None and isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None
