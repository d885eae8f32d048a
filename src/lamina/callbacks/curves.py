"""Training curves: a panel for each quantity, training and validation in it, over the epochs."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lamina.atomic import atomic_path
from lamina.errors import ArgumentError, LoadError, unknown_name

ENDINGS = (".png", ".svg", ".pdf")
_FILES = ("history.csv", "history.json")  # of a run's folder, the first choice first
_RATES = ("learning_rate", "lr")
_WIDE = 10.0  # times the smallest learning rate
_MOST_MARKERS = 50
_COLUMNS = 3  # of panels
_SIZE = (4.5, 3.5)  # of a panel, in inches
_DPI = 120
# Told apart by shape and dashes too, for prints in black and white and for eyes that do not tell the colours.
_TRAINING = {"label": "training", "color": "#1b4f8a", "linestyle": "-", "marker": "o"}
_VALIDATION = {"label": "validation", "color": "#d9720d", "linestyle": "--", "marker": "s", "markerfacecolor": "white"}


class Series(NamedTuple):
    """The values of one name."""

    x: list[float]
    y: list[float]  # NaN where there is none


def plot_history(source: Any, to_file: Any = None, metrics: Any = None) -> Any:
    """Draw losses and metrics over the epochs: a panel for each, with training and validation in it.

    Epochs count from 1. What is missing or not finite leaves a gap. Metrics of several numbers an epoch are left out.

    Args:
        source: what `fit` returned; a dict of lists by name, with `"epoch"` among them or not; a CSV file that
            `CSVLogger` or `lamina train` wrote; or a folder that `lamina train` wrote.
        to_file: a file to write, whole or not at all, as PNG, SVG or PDF by its ending.
        metrics: names of the quantities to draw, in order; by default all. `"val_loss"` stands for `"loss"`.

    Returns:
        A figure of matplotlib's, which a notebook shows.

    Raises:
        LoadError: there is no such file or folder, or it holds no history.
        UnknownNameError: there is no such metric.
        ArgumentError: there is nothing to draw, or the ending says no format.

    Example:
        >>> figure = plot_history({"loss": [0.9, 0.5], "val_loss": [1.0, 0.7], "accuracy": [0.4, 0.8]})
        >>> [axes.get_title() for axes in figure.axes]
        ['loss', 'accuracy']
    """
    if to_file is not None and Path(to_file).suffix.lower() not in ENDINGS:
        raise ArgumentError(
            "The ending of the file says no format.",
            expected="a name that ends in .png, .svg or .pdf",
            received=f"to_file={os.fspath(to_file)!r}",
            fix="to_file='curves.png'",
        )
    series = _series_of(source)
    figure = _drawn(series, _chosen(series, metrics))
    if to_file is not None:
        _write(figure, to_file)
    return figure


# ---------------------------------------------------------------------- where the numbers come from
def _series_of(source: Any) -> dict[str, Series]:
    """The values by name, whatever holds them."""
    if isinstance(source, (str, os.PathLike)):
        return _read(Path(source))
    if isinstance(source, Mapping):
        columns = dict(source)
        return _placed(columns.pop("epoch", None), columns, {})
    if hasattr(source, "history") and hasattr(source, "epoch"):
        epochs = getattr(source, "_rows", None) or source.epoch
        return _placed(epochs, source.history, getattr(source, "_places", {}))
    raise ArgumentError(
        "This holds no history.",
        expected="what fit() returned, a dict of lists, a CSV file or the folder of a run",
        received=f"{source!r} of type {type(source).__name__}",
        fix="pass model.history, or the path of a file",
    )


def _read(path: Path) -> dict[str, Series]:
    """The history in a file, or in the folder of a run."""
    if path.is_dir():
        found = next((path / name for name in _FILES if (path / name).is_file()), None)
        if found is None:
            raise LoadError(
                f"There is no history in '{path}'.",
                expected=" or ".join(_FILES) + " in the folder",
                received=", ".join(sorted(os.listdir(path))[:5]) or "an empty folder",
                fix="pass the folder that lamina train wrote, or a CSV file",
            )
        path = found
    if not path.exists():
        raise LoadError(
            f"There is no file or folder '{path}'.",
            expected="a CSV file with a column 'epoch', or a folder with history.csv or history.json",
            received="nothing at that place",
            fix="check the path",
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        return _from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, RecursionError) as error:
        raise _not_a_history(path, str(error)) from error


def _from_json(path: Path, text: str) -> dict[str, Series]:
    columns = json.loads(text)
    if not isinstance(columns, dict) or not all(isinstance(values, list) for values in columns.values()):
        raise _not_a_history(path, "no lists by name")
    return _placed(columns.pop("epoch", None), columns, {})


def _from_csv(path: Path, text: str) -> dict[str, Series]:
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=_separator(text)) if row]
    header = rows.pop(0) if rows else []
    if "epoch" not in header:
        found = "columns " + ", ".join(header[:6]) if header else "an empty file"
        raise _not_a_history(path, found, "a column 'epoch'")
    columns = {name: [row[at] if at < len(row) else "" for row in rows] for at, name in enumerate(header)}
    epochs = [_number(cell) for cell in columns.pop("epoch")]
    series = _placed(epochs, columns, {})
    if rows and not series:
        raise _not_a_history(path, "columns " + (", ".join(columns) or "epoch alone"), "numbers beside the epochs")
    return series


def _separator(text: str) -> str:
    """What stands between two values: what is behind the word `epoch`, with which most such files begin."""
    line = text.partition("\n")[0].rstrip("\r").replace('"', "")
    behind = line.removeprefix("epoch")[:1] if line.startswith("epoch") else ""
    return behind if behind and not behind.isalnum() and behind != "_" else ","


def _not_a_history(path: Path, received: str, expected: str = "a history, as CSVLogger writes it") -> LoadError:
    return LoadError(
        f"'{path}' holds no history.",
        expected=expected,
        received=received,
        fix="pass a file that CSVLogger or lamina train wrote",
    )


def _placed(
    epochs: Sequence[Any] | None, columns: Mapping[str, Any], places: Mapping[str, list[int]]
) -> dict[str, Series]:
    """The values by name, each at its epoch; names without any number are left out.

    Args:
        epochs: the numbers of the epochs, from 0; `None` if nobody knows them.
        columns: the values by name.
        places: by name for each value the place of its epoch.
    """
    found: dict[str, dict[int, float]] = {}
    count = max([len(epochs or ()), *(len(_listed(name, values)) for name, values in columns.items())], default=0)
    for name, values in columns.items():
        rows = places.get(name, [])
        rows = rows if len(rows) == len(values) else _likely_rows(name, len(values), count)
        numbers = {row: _number(value) for row, value in zip(rows, values, strict=True)}
        found[name] = {row: number for row, number in numbers.items() if number is not None}
    known = [_number(epoch) for epoch in epochs or ()]
    rising = len(known) == count and all(n is not None and math.isfinite(n) for n in known)
    rising = rising and all(a < b for a, b in zip(known, known[1:], strict=False))  # type: ignore[operator]
    x = [float(n) + 1 for n in known if n is not None] if rising else [float(row + 1) for row in range(count)]
    return {name: _spread(name, numbers, x) for name, numbers in found.items() if numbers}


def _likely_rows(name: str, length: int, count: int) -> Iterable[int]:
    """Where values belong that are fewer than the epochs: in a validation every so often, else at the beginning."""
    step = count // max(length, 1)
    if name.startswith("val_") and length > 1 and count // step == length:
        return range(step - 1, step * length, step)
    return range(length)


def _spread(name: str, numbers: dict[int, float], x: list[float]) -> Series:
    """One value for each epoch, NaN where there is none; a validation every so often has no gaps in between."""
    rows = list(numbers)
    steps = {b - a for a, b in zip(rows, rows[1:], strict=False)}
    wanted = rows if name.startswith("val_") and len(steps) <= 1 else range(len(x))
    values = [numbers.get(row, math.nan) for row in wanted]
    return Series([x[row] for row in wanted], [y if math.isfinite(y) else math.nan for y in values])


def _listed(name: str, values: Any) -> Sequence[Any]:
    if isinstance(values, (list, tuple)) or (hasattr(values, "__len__") and getattr(values, "ndim", 0) == 1):
        return values
    raise ArgumentError(
        f"The history of {name!r} is no list.",
        expected="a number for each epoch",
        received=f"{values!r} of type {type(values).__name__}",
        fix=f"pass {{{name!r}: [...]}}",
    )


def _number(value: Any) -> float | None:
    """A value as a number; `None` for what is missing or is none."""
    if isinstance(value, (list, tuple, dict)) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # a word, an array or a tensor of several numbers
        return None


# ---------------------------------------------------------------------- what is drawn
def _chosen(series: Mapping[str, Series], metrics: Any) -> list[str]:
    """The quantities to draw: the loss first and the learning rate last, unless they were named."""
    known = list(dict.fromkeys(name.removeprefix("val_") for name in series))
    if not known:
        raise ArgumentError(
            "There is nothing to draw.",
            expected="a number for at least one epoch",
            received="an empty history",
            fix="train for at least one epoch first",
        )
    if metrics is None:
        return sorted(known, key=lambda name: (name in _RATES, name != "loss"))
    wanted = [metrics] if isinstance(metrics, str) else list(metrics)
    for name in wanted:
        if not isinstance(name, str) or name.removeprefix("val_") not in known:
            raise unknown_name("metric", name, known)
    if not wanted:
        raise ArgumentError("No metric is named.", received=f"metrics={metrics!r}", fix="leave metrics out for all")
    return list(dict.fromkeys(name.removeprefix("val_") for name in wanted))


def _drawn(series: Mapping[str, Series], names: list[str]) -> Any:
    """A figure with a panel for each name."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    columns = min(len(names), _COLUMNS)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(_SIZE[0] * columns, _SIZE[1] * rows), dpi=_DPI, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.remove()
    for axes, name in zip(panels, names, strict=False):
        for key, style in ((name, _TRAINING), (f"val_{name}", _VALIDATION)):
            if key in series:
                _draw(axes, series[key], style)
        axes.set_title(name, parse_math=False)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        drawn = [series[key] for key in (name, f"val_{name}") if key in series]
        first, last = min(s.x[0] for s in drawn), max(s.x[-1] for s in drawn)
        room = (last - first) * 0.03 or 0.5
        axes.set_xlim(first - min(room, 0.9), last + room)  # no tick at an epoch that there is not
        if not any(math.isfinite(y) for s in drawn for y in s.y):
            axes.text(0.5, 0.5, "nothing finite", transform=axes.transAxes, ha="center", va="center")
        if name in _RATES:
            _widen(axes, series[name].y if name in series else [])
        else:
            axes.legend()
    figure._repr_png_ = functools.partial(_picture, figure, "png")  # what a notebook asks for
    return figure


def _draw(axes: Any, series: Series, style: Mapping[str, Any]) -> None:
    """One line; of many values only some have a marker, and those with no neighbour, which no line would show."""
    x, y = series
    marked = range(len(y))
    if len(y) > _MOST_MARKERS:
        seen = [False, *map(math.isfinite, y), False]
        alone = {i for i in range(len(y)) if not seen[i] and not seen[i + 2]}
        marked = sorted(alone | set(range(0, len(y), math.ceil(len(y) / 20))))
    axes.plot(x, y, markersize=4, linewidth=1.5, markevery=list(marked), **style)


def _widen(axes: Any, rates: list[float]) -> None:
    """A logarithmic axis for learning rates that differ by more than one power of ten."""
    finite = [rate for rate in rates if math.isfinite(rate)]
    if finite and min(finite) > 0 and max(finite) / min(finite) >= _WIDE:
        axes.set_yscale("log")


def _picture(figure: Any, kind: str) -> bytes:
    """The figure as the content of a file; the same figure always gives the same."""
    import matplotlib

    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "lamina"}):
        figure.savefig(content, format=kind, metadata=dates.get(kind))
    return content.getvalue()


def _write(figure: Any, to_file: Any) -> None:
    content = _picture(figure, Path(to_file).suffix.lower().removeprefix("."))
    with atomic_path(to_file) as part:
        part.write_bytes(content)
