"""Weights to a file and from it, in whichever format the name says."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lamina.atomic import atomic_path
from lamina.errors import ArgumentError, LoadError
from lamina.saving import tensors
from lamina.saving.archive import read_archive
from lamina.saving.hdf5 import Hdf5File, open_hdf5
from lamina.saving.legacy import load_h5_weights, save_h5_weights
from lamina.saving.objects import complete_registries
from lamina.saving.report import Plan, WeightsReport, carry_out
from lamina.saving.tensors import not_built
from lamina.saving.weights_h5 import plan_from_h5, weights_bytes

KERAS = ".weights.h5"
SUFFIXES = (KERAS, ".h5", *tensors.SUFFIXES)


def save_weights(module: torch.nn.Module, filepath: str | os.PathLike[str], overwrite: bool = True) -> None:
    """Write the weights of a model to a file, whole or not at all.

    Args:
        module: a built model, or any torch module.
        filepath: ends in `.weights.h5` for Keras 3's layout, to which the state of the optimizer belongs, though
            `load_weights` leaves it alone here; in `.h5` for Keras 2's; in `.safetensors`, `.npz`, `.pt` or `.pth` for
            tensors under the names of `state_dict`.
        overwrite: whether a file that is there may be replaced.

    Raises:
        ArgumentError: the name ends otherwise, a file is there and must not be replaced, or the module's state holds
            more than tensors.
        NotBuiltError: the model has no weights yet.
        OSError: the file cannot be written; the one that was there is untouched.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "linear.safetensors"
        >>> save_weights(torch.nn.Linear(3, 2), path)
        >>> load_weights(torch.nn.Linear(3, 2), path)
        restored 2 of 2
    """
    path = Path(filepath)
    if format_of(path) not in (*SUFFIXES, ".hdf5"):
        raise _no_format(path, SUFFIXES)
    if not getattr(module, "built", True):
        raise not_built("save")
    if path.exists() and not overwrite:
        raise ArgumentError(f"{path} is there already.", received="overwrite=False", fix="pass overwrite=True")
    if format_of(path) in (".h5", ".hdf5"):
        save_h5_weights(module, path)
    elif format_of(path) == KERAS:
        complete_registries()
        data = weights_bytes(module, with_optimizer=True)
        with atomic_path(path) as part:
            part.write_bytes(data)
    else:
        tensors.write_tensors(module, path)


def load_weights(
    module: torch.nn.Module,
    filepath: str | os.PathLike[str],
    skip_mismatch: bool = False,
    by_name: bool = False,
) -> WeightsReport:
    """Give a model the weights in a file; nothing in the file is run, and nothing changes unless all of it fits.

    A model that is not built yet keeps the weights, and takes them as soon as it is.

    Args:
        module: a model of the same architecture, or any torch module.
        filepath: what `save_weights` or any Keras's `model.save_weights` wrote, or a `.keras` or `.h5` file of a model.
        skip_mismatch: whether weights that do not fit, or are not there, are left as they are.
        by_name: whether layers take the weights of the layers of their names, whatever else the file and the model
            have.

    Returns:
        What was restored, skipped and missing.

    Raises:
        LoadError: there is no such file, or it is not what its name says.
        WeightsError: a weight is missing, is one too many, or has another shape or a dtype that cannot be converted.
        ArgumentError: the module's state holds more than tensors.
        NotBuiltError: a lazy module of torch has no weights yet.
    """
    path = Path(filepath)
    if format_of(path) in (KERAS, ".h5", ".hdf5") and _is_of_keras_2(path):
        return _now_or_later(module, lambda built: load_h5_weights(built, path, by_name, skip_mismatch))
    planned = _planner(path, by_name)

    def load(built: torch.nn.Module) -> WeightsReport:
        return planned(built, lambda plan: carry_out(plan, str(path), by_name, skip_mismatch))

    return _now_or_later(module, load)


def _now_or_later(module: torch.nn.Module, load: Callable[[torch.nn.Module], Any]) -> Any:
    """What `load` says of a built module; one that is not built takes the weights as soon as it is."""
    if not getattr(module, "built", True) and hasattr(module, "weights_wait"):
        module.weights_wait(load)  # type: ignore[operator]
        return WeightsReport(waiting=True)
    return load(module)


def _is_of_keras_2(path: Path) -> bool:
    """Whether an HDF5 file is laid out as Keras 1 and 2 do it; its name does not say."""
    if not path.is_file():
        raise LoadError("There is no such file.", received=str(path), fix="check the path")
    with open_hdf5(path) as file:
        return "layer_names" in file.attributes or "model_weights" in file


def format_of(path: Path) -> str | None:
    """The suffix that says the format of a file of weights, or `None`.

    Args:
        path: its name.
    """
    if path.suffix == ".h5":
        return KERAS if path.name.endswith(KERAS) and path.name != KERAS else ".h5"
    return path.suffix if path.suffix in (*tensors.SUFFIXES, ".hdf5", ".keras") else None


def _no_format(path: Path, suffixes: Sequence[str]) -> ArgumentError:
    return ArgumentError(
        "The name of a file of weights says its format.",
        expected="a name that ends in " + ", ".join(suffixes),
        received=str(path),
        fix=f"use {path.stem}.safetensors",
    )


Planner = Callable[[torch.nn.Module, Callable[[Plan], WeightsReport]], WeightsReport]


def _planner(path: Path, by_name: bool) -> Planner:
    """Read a file so that its weights can be matched with a model, now or later."""
    kind = format_of(path)
    if kind is None:
        raise _no_format(path, (*SUFFIXES, ".keras"))
    if not path.is_file():
        raise LoadError("There is no such file.", received=str(path), fix="check the path")
    if kind in tensors.SUFFIXES:
        found = tensors.read_tensors(path)
        return lambda module, then: then(tensors.plan_from_tensors(module, found))
    if kind == ".keras":
        return h5_planner(read_archive(path).weights, str(path), by_name)
    # A file of Keras 2, in which `layer_names` lists the layers, is told by its content, whatever its suffix.
    return h5_planner(path.read_bytes(), str(path), by_name)


def h5_planner(data: bytes, name: str, by_name: bool = False) -> Planner:
    """The same for the bytes of a file in Keras 3's layout.

    Args:
        data: the file.
        name: what messages call it.
        by_name: whether layers are matched by their names.
    """
    with open_hdf5(data, name) as file:
        _check_layout(file, name)

    def planned(module: torch.nn.Module, then: Callable[[Plan], WeightsReport]) -> WeightsReport:
        complete_registries()
        with open_hdf5(data, name) as file:
            return then(plan_from_h5(module, file, weight_names(module), by_name))

    return planned


def _check_layout(file: Hdf5File, name: str) -> None:
    """Refuse an HDF5 file that is laid out otherwise than Keras 3's."""
    if "layer_names" in file.attributes or "model_weights" in file:
        raise LoadError(
            f"{name} is a file of weights of Keras 2.",
            expected="the layout of Keras 3: layers/dense/vars/0",
            received="an attribute 'layer_names'" if "layer_names" in file.attributes else "a group 'model_weights'",
            fix="load it in Keras 3 and save it as .weights.h5",
        )


def weight_names(module: torch.nn.Module) -> dict[int, str]:
    """The name of each weight by its id.

    Args:
        module: any module.
    """
    named: list[tuple[str, Any]] = [*module.named_parameters(remove_duplicate=False), *module.named_buffers()]
    return {id(tensor): name for name, tensor in reversed(named)}
