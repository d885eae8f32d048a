"""A profile as a table, for a terminal or a file."""

from __future__ import annotations

import io
from typing import Any, TextIO

_MOST_NAMES = 4  # of layers that run as one; a grouped convolution may stand for a hundred
_WIDTH = 160


def show(profile: Any, file: TextIO | None = None) -> None:
    """Write a profile's table: in colour to a terminal, as plain text to a file.

    Args:
        profile: the profile.
        file: where to; by default standard output.
    """
    from rich.console import Console

    console = Console(file=file)
    if not console.is_terminal:
        console = Console(file=file, width=_WIDTH, color_system=None)
    _write(console, profile)


def text(profile: Any) -> str:
    """A profile's table as plain text.

    Args:
        profile: the profile.
    """
    from rich.console import Console

    found = io.StringIO()
    _write(Console(file=found, width=_WIDTH, color_system=None, force_terminal=False), profile)
    return "\n".join(line.rstrip() for line in found.getvalue().splitlines())


def _write(console: Any, profile: Any) -> None:
    console.print(_table(profile))
    console.print("\n".join(_below(profile)), highlight=False, markup=False, soft_wrap=True)


def _table(profile: Any) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    way = "a step of training" if profile.train else "inference"
    title = f"{profile.class_name}: {profile.name}, {way}, batch of {profile.batch_size}"
    table = Table(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", expand=False)
    table.add_column("Layer (type)", overflow="fold")
    names = ["Forward ms", *(["Backward ms", "Both ms"] if profile.train else []), "Share"]
    for name in [*names, "FLOP", "GFLOP/s", "Of peak", "Outputs", "Params"]:
        table.add_column(name, justify="right", no_wrap=True)
    for row in profile.rows:
        times = [row.forward_ms, *([row.backward_ms, row.ms] if profile.train else [])]
        table.add_row(
            Text(_label(row)),
            *(f"{ms:.3f}" for ms in times),
            f"{row.ms / profile.total_ms:.1%}" if profile.total_ms else "",
            _count(row.flops) if row.flops else "-",
            f"{row.gflops:.1f}" if row.flops else "-",
            f"{row.of_peak:.0%}" if row.flops and row.peak else "-",
            _size(row.output_bytes) if row.output_bytes else "-",
            f"{row.num_params:,}" if row.num_params else "-",
        )
    return table


def _label(row: Any) -> str:
    """A row's name and class; of many layers the first ones."""
    names, kinds = row.name, row.class_name
    if len(row.layers) > _MOST_NAMES:
        names = " + ".join(row.layers[:_MOST_NAMES]) + f" + {len(row.layers) - _MOST_NAMES} more"
        kinds = " + ".join(dict.fromkeys(row.class_name.split(" + ")))
    called = f", called {row.calls} times" if row.calls > 1 else ""
    return f"{names} ({kinds}{called})" if kinds else names


def _below(profile: Any) -> list[str]:
    """What stands below the table: the sums, and how far they are from a step that nobody watches."""
    parts = f" (forward {profile.forward_ms:.3f}, backward {profile.backward_ms:.3f})" if profile.train else ""
    peak = f"{profile.peak:,.0f} GFLOP/s in a large product" if profile.peak else "unknown"
    unwatched = f"The step unwatched: {profile.step_ms:.3f} ms ({profile.difference:+.1%})"
    return [
        f"All rows: {profile.total_ms:.3f} ms{parts}. {unwatched}. {profile.steps} steps of each.",
        f"{profile.device}, {profile.dtype}. Peak: {peak}.",
    ]


def _count(operations: float) -> str:
    """A number of operations with a letter for its thousands."""
    for letter in ("", "k", "M", "G"):
        if operations < 1000:
            return f"{operations:.3g} {letter}".rstrip()
        operations /= 1000
    return f"{operations:.3g} T"


def _size(count: float) -> str:
    """A number of bytes in a readable unit."""
    for unit in ("B", "KB", "MB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.2f} {unit}"
        count /= 1024
    return f"{count:.2f} GB"
