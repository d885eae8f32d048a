"""`plot_model`: from a model to a file."""

from __future__ import annotations

import html
import math
import os
from pathlib import Path
from typing import Any

import torch

from lamina.errors import ArgumentError, NotBuiltError
from lamina.inspection.drawing.arranging import TURNS
from lamina.inspection.drawing.boxes import Shown
from lamina.inspection.drawing.diagram import Diagram, draw_up
from lamina.inspection.drawing.page import to_page
from lamina.inspection.drawing.picture import Picture
from lamina.inspection.drawing.raster import to_pdf, to_png
from lamina.inspection.drawing.scene import lay_out
from lamina.inspection.drawing.svg import to_svg
from lamina.inspection.drawing.writing import check_place, write_whole
from lamina.inspection.folding import fold as folded
from lamina.inspection.measuring import measure
from lamina.inspection.report import ReportData

ENDINGS = (".png", ".svg", ".pdf", ".html")
FOLDS_FROM = 60
"""More boxes than this are folded unless the user says otherwise."""

_MOST_BOXES = 5_000


def plot_model(
    model: Any,
    to_file: str | os.PathLike[str] = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    *,
    fold: bool | None = None,
    input_size: Any = None,
    input_data: Any = None,
    dtypes: Any = None,
) -> Picture:
    """Draw a model as a graph: a box for each layer, an arrow for each tensor that goes from one to another.

    The ending of the file says what is written: `.png`, `.svg` and `.pdf` are pictures, `.html` is one page without
    outside parts, in which the graph can be moved, enlarged, searched, folded and unfolded. Nothing needs to be
    installed on the system. The same model gives the same file.

    Args:
        model: any torch module.
        to_file: the file to write; one of that name is replaced when the new one is whole.
        show_shapes: whether boxes show the shapes that enter and leave a layer.
        show_dtype: whether they show the dtype of what leaves it.
        show_layer_names: whether they show its name.
        show_layer_activations: whether they show its activation.
        show_trainable: whether they show if it is trained, where it has weights.
        rankdir: the way that tensors go: `"TB"` from top to bottom, `"BT"`, `"LR"` from left to right, or `"RL"`.
        expand_nested: whether models inside are opened. In a page they open on a click; this says how it begins.
        dpi: pixels an inch of a PNG. A box with its text is about half an inch high. Where the picture would have more
            than 30,000 pixels a side, or 120 million in all, as many an inch as fit are taken.
        fold: whether equal parts are drawn as one box, such as `32 × (Lambda → Conv2D)`; by default where there are
            more than 60 boxes. In a page they open on a click.
        input_size: the shape of one sample, or a list or dict of shapes; not needed for a built model of lamina.
        input_data: a batch in place of `input_size`.
        dtypes: of inputs that only have a size: a dtype, or a list of one for each.

    Returns:
        The picture. As the last value of a notebook's cell it shows itself; its `path` is the file.

    Raises:
        ArgumentError: the ending, `rankdir` or `dpi` is not one of those above, the file's folder does not exist, there
            are more than 5,000 boxes to draw, or the model is a torch module without an input size.
        NotBuiltError: the model does not know the shape of its input yet.

    Example:
        >>> import tempfile
        >>> from lamina.layers import Dense, Input
        >>> from lamina.models import Sequential
        >>> model = Sequential([Input((4,)), Dense(3), Dense(2)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     picture = plot_model(model, folder + "/model.svg", show_shapes=True)
        ...     picture.path.read_text().count('class="edge"')
        1

    Reference:
        Sugiyama, Tagawa and Toda (1981), Methods for visual understanding of hierarchical system structures.
    """
    path = _path(to_file)
    _check(model, path, rankdir, dpi)
    check_place(path)
    shown = Shown(show_shapes, show_dtype, show_layer_names, show_layer_activations, show_trainable)
    ending = path.suffix.lower()
    is_page = ending == ".html"
    inside = expand_nested or is_page
    report = measure(model, input_size, input_data, expand_nested=inside, style="keras", dtypes=dtypes)
    diagram = _diagram(report, shown, fold)
    seen = _checked(diagram.closed(groups=True, models=not expand_nested))
    if is_page:
        write_whole(path, to_page(report, diagram, rankdir, open_models=expand_nested).encode())
        return Picture(path)
    scene = lay_out(seen, rankdir)
    if ending == ".svg":
        data = to_svg(scene, report.name).encode()
    else:
        data = to_pdf(scene) if ending == ".pdf" else to_png(scene, dpi)
    write_whole(path, data)
    return Picture(path, (scene.width, scene.height))


def notebook_html(model: Any) -> str:
    """A model as a notebook shows it: a picture, equal parts folded, and its totals in a line.

    Args:
        model: the model; one that is not built yet gives a sentence.

    Returns:
        The text of an HTML element.

    Example:
        >>> from lamina.layers import Dense
        >>> from lamina.models import Sequential
        >>> notebook_html(Sequential([Dense(2)], name="m"))
        '<p>Sequential <b>m</b>, not built yet: its layers have no weights and no shapes.</p>'
    """
    name = f"{html.escape(type(model).__name__)} <b>{html.escape(model.name)}</b>"
    try:
        report = measure(model)
        diagram = _diagram(report, Shown(shapes=True, names=True), None)
        picture = to_svg(lay_out(_checked(diagram.closed(groups=True, models=True))), report.name)
    except NotBuiltError:
        return f"<p>{name}, not built yet: its layers have no weights and no shapes.</p>"
    except ArgumentError as error:  # too large to be drawn
        picture = f"<p>{html.escape(error.what)}</p>"
        report = measure(model)
    totals = f"{report.total_params:,} parameters, {report.trainable_params:,} of them trained"
    style = "max-height: 600px; overflow: auto; display: inline-block; max-width: 100%"
    return f'<div><p>{name}: {totals}, {report.params_bytes:,} bytes.</p><div style="{style}">{picture}</div></div>'


def _diagram(report: ReportData, shown: Shown, fold: bool | None) -> Diagram:
    """What is drawn of a report."""
    if fold is None:
        fold = len(report.rows) > FOLDS_FROM
    return draw_up(report, folded(report.rows) if fold else list(range(len(report.rows))), shown)


def _checked(diagram: Diagram) -> Diagram:
    """The diagram, unless it has too many boxes."""
    if len(diagram.nodes) > _MOST_BOXES:
        raise ArgumentError(
            "This model has too many layers to be drawn in one picture.",
            expected=f"{_MOST_BOXES:,} boxes or fewer",
            received=f"{len(diagram.nodes):,}",
            fix="pass fold=True, or draw a part of the model",
        )
    return diagram


def _path(to_file: Any) -> Path:
    """The file to write."""
    if isinstance(to_file, (str, os.PathLike)):
        return Path(to_file).expanduser()
    raise ArgumentError(
        "to_file is the name of the file to write.",
        expected="a text or a path",
        received=f"to_file={to_file!r}",
        fix='pass to_file="model.png"',
    )


def _check(model: Any, path: Path, rankdir: str, dpi: float) -> None:
    """Refuse what cannot be drawn."""
    if not isinstance(model, torch.nn.Module):
        raise ArgumentError("plot_model draws models.", expected="a model", received=f"a {type(model).__name__}")
    if path.suffix.lower() not in ENDINGS:
        raise ArgumentError(
            "plot_model does not write this kind of file.",
            expected="a name that ends with one of " + ", ".join(ENDINGS),
            received=f"to_file='{path}'",
            fix=f"pass to_file='{path.with_suffix('.png') if path.name else 'model.png'}'",
        )
    if rankdir not in TURNS:
        raise ArgumentError(
            "There is no such direction.",
            expected="rankdir of " + ", ".join(TURNS),
            received=f"rankdir={rankdir!r}",
            fix='pass rankdir="TB" for from top to bottom',
        )
    if isinstance(dpi, bool) or not isinstance(dpi, (int, float)) or not 0 < dpi < math.inf:
        raise ArgumentError(
            "dpi is the number of pixels an inch.",
            expected="a number above 0",
            received=f"dpi={dpi!r}",
            fix="pass dpi=200",
        )
