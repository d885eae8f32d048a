"""`export`: a model as a file for other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lamina.engine.layer import Layer
from lamina.errors import ArgumentError
from lamina.saving.exporting.modules import checked
from lamina.saving.exporting.onnx_files import check_packages, write_onnx
from lamina.saving.exporting.programs import Exportable, write_program
from lamina.saving.exporting.signatures import signature_of

_ENDINGS = {".onnx": "onnx", ".pt2": "torch_export"}
_WRITERS: dict[str, Callable[..., None]] = {"onnx": write_onnx, "torch_export": write_program}
_OPTIONS = {"onnx": ("opset_version", "dynamo", "external_data"), "torch_export": ()}


def export(
    model: Layer,
    filepath: str | os.PathLike[str],
    format: str | None = None,
    verbose: bool | None = None,
    input_signature: Any = None,
    **kwargs: Any,
) -> None:
    """Write what a model computes at inference to a file that other programs can run.

    `"onnx"` is for ONNX runtimes: `onnxruntime.InferenceSession("m.onnx").run(None, {"image": images})`.
    `"torch_export"` is for torch without lamina: `torch.export.load("m.pt2").module()(images)`. Both take and give
    tensors one after another, under the names of the model's inputs and outputs, and leave those sizes free that the
    model leaves free: the batch, and each `None` in `Input`.

    A model is first made a module of torch's classes, as `to_torch` does; where that cannot be, torch follows the
    model itself. Nothing of the model changes, and the file is written whole or not at all. A model of 2 GB or more
    becomes two ONNX files, the second, `m.onnx.data`, with the weights: they belong together, and between the writing
    of the two a reader would see the new weights with the old model. Writing takes up to five times the memory of the
    weights.

    Args:
        model: a built model or layer.
        filepath: where to; `.onnx` and `.pt2` say the format.
        format: `"onnx"` or `"torch_export"`; by default what the name ends in.
        verbose: whether to print a line when it is done.
        input_signature: a shape, an `InputSpec` or an example for each input, in the form in which the model takes
            them, where it is not to be what the model was defined with. A subclassed model that takes whole numbers
            needs it only if it also accepts floats.
        **kwargs: for `"onnx"` `opset_version`, 17 unless torch needs a newer one; `dynamo`, which of torch's two
            exporters to use, by default the older where it can; `external_data`, whether the weights go to
            `m.onnx.data`, by default if they must.

    Raises:
        ExportError: the model cannot be written in that form; the message says what stands in the way.
        ArgumentError: there is no such format or argument, or a package is missing.
        NotBuiltError: the model has no weights yet.
        OSError: the file cannot be written; the one that was there is untouched.

    Example:
        >>> import lamina, tempfile, torch
        >>> model = lamina.Sequential([lamina.layers.Input((4,)), lamina.layers.Dense(2)])
        >>> path = Path(tempfile.mkdtemp()) / "model.pt2"
        >>> export(model, path)
        >>> torch.export.load(path).module()(torch.ones(3, 4))[0].shape
        torch.Size([3, 2])
    """
    path = Path(filepath)
    name = _format(path, format)
    unknown = sorted(kwargs.keys() - set(_OPTIONS[name]))
    if unknown:
        raise ArgumentError(
            f"The format {name!r} has no argument {unknown[0]!r}.",
            expected=", ".join(_OPTIONS[name]) or "none beside filepath, format, verbose and input_signature",
            received=f"{unknown[0]}={kwargs[unknown[0]]!r}",
            fix="leave it out",
        )
    if name == "onnx":
        check_packages()
    _WRITERS[name](Exportable(checked(model), signature_of(model, input_signature)), path, **kwargs)
    if verbose:
        sys.stdout.write(f"Exported to {path}.\n")


def _format(path: Path, given: str | None) -> str:
    """The format asked for."""
    name = _ENDINGS.get(path.suffix.lower()) if given is None else given
    if name in _WRITERS:
        return name
    fix = "name the file model.onnx or model.pt2"
    if given is not None and str(given).startswith("tf_"):
        fix = "lamina writes nothing for TensorFlow: take format='onnx', which has converters for it"
    raise ArgumentError(
        "A model cannot be exported in this format." if given is not None else "This name does not say a format.",
        expected="format='onnx' (.onnx) or 'torch_export' (.pt2)",
        received=f"format={given!r}" if given is not None else path.name,
        fix=fix,
    )
