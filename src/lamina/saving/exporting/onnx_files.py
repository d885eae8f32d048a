"""ONNX files, by torch's exporters."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch

from lamina.atomic import atomic_path
from lamina.engine.abstract import Spec
from lamina.errors import ArgumentError, ExportError
from lamina.saving.exporting.programs import Exportable, quietly

_OPSET = 17  # of 2022, the first with LayerNormalization
_LIMIT = 2**31 - 2**26  # bytes of weights; protobuf writes no message of 2 GiB
_PACKAGES = ("onnx", "onnxscript")  # the second is what the newer exporter is written with


def write_onnx(
    exportable: Exportable,
    filepath: str | os.PathLike[str],
    opset_version: int | None = None,
    dynamo: bool | None = None,
    external_data: bool | None = None,
) -> None:
    """Write an ONNX file, whole or not at all.

    Args:
        exportable: what to write.
        filepath: where to.
        opset_version: the version of ONNX's operators.
        dynamo: which of torch's exporters to use.
        external_data: whether the weights go to a file beside it.

    Raises:
        ArgumentError: the packages are missing.
        ExportError: torch has no ONNX form for something in the model.
    """
    check_packages()
    import onnx

    model = _exported(exportable, opset_version, dynamo)
    path = Path(filepath)
    if external_data or (external_data is None and _bytes_of(model) > _LIMIT):
        _write_in_two(model, path)
        return
    onnx.checker.check_model(model)
    with atomic_path(path) as part:
        part.write_bytes(model.SerializeToString())


def _bytes_of(model: Any) -> int:
    """The size of the weights; protobuf cannot tell that of a model beyond its limit."""
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def check_packages() -> None:
    """Raise the error for packages that are missing.

    Raises:
        ArgumentError: one is.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ArgumentError(
            "ONNX files need packages that are not installed.",
            expected=" and ".join(_PACKAGES),
            received=f"no {' and no '.join(missing)}",
            fix="pip install 'lamina[onnx]'",
        )


def _exported(exportable: Exportable, opset_version: int | None, dynamo: bool | None) -> Any:
    """The ONNX model, by the older exporter where that is possible.

    It is the faster one, and keeps recurrent layers whole, for any number of steps. The newer one follows programs
    that the older cannot, and knows operators that it does not.
    """
    failure: Exception | None = None
    if dynamo is not True and exportable.plain:
        try:
            return _by_tracing(exportable, opset_version or _OPSET)
        except Exception as error:  # torch has many kinds for what it cannot write
            failure = error
            if dynamo is False:
                raise exportable.failure("Torch cannot write this model as ONNX", error) from error
    try:
        return _by_program(exportable, opset_version)
    except ExportError:
        raise
    except Exception as error:
        raise exportable.failure("Torch cannot write this model as ONNX", failure or error) from error


def _by_tracing(exportable: Exportable, opset_version: int) -> Any:
    """What the older exporter makes of one run."""
    import onnx

    free = {
        name: {axis: f"{name}_{axis}" if axis else "batch" for axis, size in enumerate(spec.shape) if size is None}
        for name, spec in zip(exportable.input_names, exportable.specs, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder, quietly(), _without_graphs():
        path = str(Path(folder) / "model.onnx")
        torch.onnx.export(
            exportable.module,
            tuple(exportable.examples),
            path,
            input_names=exportable.input_names,
            output_names=exportable.output_names,
            dynamic_axes={name: axes for name, axes in free.items() if axes},
            opset_version=opset_version,
            dynamo=False,
        )
        model = onnx.load(path)
    for output, spec in zip(model.graph.output, exportable.module.meta["output_specs"], strict=True):
        _state_shape(output, spec)
    return model


@contextlib.contextmanager
def _without_graphs() -> Generator[None, None, None]:
    """Keep the older exporter from printing the graph in which it met something unknown."""
    library: Any = torch._C  # its own switch is turned on again by the exporter (torch 2.6 to 2.13)
    show = getattr(library, "_jit_onnx_log", None)
    if show is not None:
        library._jit_onnx_log = lambda *_: None
    try:
        yield
    finally:
        if show is not None:
            library._jit_onnx_log = show


def _state_shape(output: Any, spec: Any) -> None:
    """Name the sizes of an output that may vary; some of them stand there as they were in the run."""
    dims = output.type.tensor_type.shape.dim
    if isinstance(spec, Spec) and len(spec.shape) == len(dims):
        for axis, (dim, size) in enumerate(zip(dims, spec.shape, strict=True)):
            if size is None:
                dim.dim_param = f"{output.name}_{axis}" if axis else "batch"


def _by_program(exportable: Exportable, opset_version: int | None) -> Any:
    """What the newer exporter makes of a program of `torch.export`."""
    import onnx

    program = exportable.program()
    options: dict[str, Any] = {} if opset_version is None else {"opset_version": opset_version}
    with tempfile.TemporaryDirectory() as folder, quietly():
        path = str(Path(folder) / "model.onnx")
        made: Any = torch.onnx.export(
            program,
            input_names=exportable.input_names,
            output_names=exportable.output_names,
            dynamo=True,
            verbose=False,
            **options,
        )
        made.save(path)
        return onnx.load(path)


def _write_in_two(model: Any, path: Path) -> None:
    """The weights beside the file that names them; each is whole, and the weights are there first."""
    import onnx

    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        data = f"{path.name}.data"
        onnx.save_model(
            model,
            str(Path(folder) / path.name),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=data,
            size_threshold=1024,
        )
        for name in (data, path.name):
            if (Path(folder) / name).exists():  # there is no data file if all weights are small
                with atomic_path(path.with_name(name)) as part:
                    os.replace(Path(folder) / name, part)
