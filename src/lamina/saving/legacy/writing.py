"""Models and weights as HDF5 files that Keras 2 and tf.keras read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lamina.atomic import atomic_path
from lamina.errors import NotBuiltError
from lamina.saving.legacy.layouts import Origin
from lamina.saving.legacy.old_architecture import old_entry
from lamina.saving.legacy.old_training import optimizer_arrays, training_config
from lamina.saving.legacy.weights import Order, own_weights

VERSION = "2.15.0"
"""The Keras 2 whose format is written; later ones read it."""

_MOST_BYTES = 64512  # of an attribute: HDF5 has 64 KB for all of a header


def save_h5(model: Any, path: str | os.PathLike[str], include_optimizer: bool = True) -> None:
    """Write a model to an HDF5 file that Keras 2 and tf.keras can load whole.

    Args:
        model: a built `Sequential` or functional model.
        path: the file.
        include_optimizer: whether to write how the model was compiled, and the state of its optimizer.

    Raises:
        NotBuiltError: the model has no weights yet.
        ArgumentError: Keras 2 has no counterpart of a layer, a function or an argument.
        OSError: the file cannot be written; the one that was there is untouched.

    Example:
        >>> import lamina, tempfile
        >>> from lamina import layers
        >>> model = lamina.Sequential([layers.Input((4,)), layers.Dense(2, name="scores")])
        >>> path = os.path.join(tempfile.mkdtemp(), "model.h5")
        >>> save_h5(model, path)
        >>> from lamina.saving.legacy.reading import load_h5
        >>> load_h5(path).get_layer("scores").units
        2
    """
    _check_built(model)
    entry = old_entry({"class_name": type(model).__name__, "config": model.get_config()})
    compiled = training_config(model) if include_optimizer else None
    import h5py

    with atomic_path(path) as part, h5py.File(part, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = VERSION, "tensorflow"
        file.attrs["model_config"] = json.dumps(entry)
        _write_weights(file.create_group("model_weights"), model)
        if compiled is not None:
            file.attrs["training_config"] = json.dumps(compiled)
            arrays = optimizer_arrays(model)
            if arrays:
                _write_arrays(file.create_group("optimizer_weights"), arrays)


def save_h5_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Write the weights of a model to an HDF5 file that `load_weights` of Keras 2 and tf.keras can read.

    Args:
        model: a built model.
        path: the file.

    Raises:
        NotBuiltError: the model has no weights yet.
        OSError: the file cannot be written; the one that was there is untouched.
    """
    _check_built(model)
    import h5py

    with atomic_path(path) as part, h5py.File(part, "w") as file:
        _write_weights(file, model)


def _check_built(model: Any) -> None:
    if not model.built:
        raise NotBuiltError(
            "The model is not built, so it has no weights to save.",
            expected="a model that knows the shape of its input",
            received="no input shape yet",
            fix="call model.build((None, ...)) with the shape of a batch, or call it on data first",
        )


def _write_weights(group: Any, model: Any) -> None:
    """The weights, layer by layer."""
    origin = Origin(VERSION, "tensorflow")
    order = Order({}, origin)
    inputs = [op for op in getattr(model, "operations", []) if type(op).__name__ == "InputLayer"]
    layers = [layer for layer in model.layers if layer not in inputs]
    _write_names(group, "layer_names", [layer.name for layer in layers])
    group.attrs["backend"], group.attrs["keras_version"] = "tensorflow", VERSION
    for layer in layers:
        arrays = list(_arrays(layer, order))
        _write_arrays(group.create_group(layer.name), arrays)
    _write_arrays(group.create_group("top_level_model_weights"), [])


def _arrays(layer: Any, order: Order) -> Iterator[tuple[str, np.ndarray]]:
    """The names and values of a layer's weights, in the order of Keras 2."""
    paths = {id(module): path for path, module in layer.named_modules()}
    taken: set[str] = set()
    for owner, place in order.of(layer):
        name, tensor = own_weights(owner)[place]
        inside = paths[id(owner)].replace(".", "/")
        full = "/".join(filter(None, (layer.name, inside, name)))
        while full in taken:
            full += "_"
        taken.add(full)
        value = _numpy(tensor)
        if name == "kernel" and hasattr(owner, "kernel_to_file"):
            value = owner.kernel_to_file(value)
        yield f"{full}:0", value


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu()
    return np.array((tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy())


def _write_arrays(group: Any, arrays: Sequence[tuple[str, np.ndarray]]) -> None:
    _write_names(group, "weight_names", [name for name, _ in arrays])
    for name, value in arrays:
        group.create_dataset(name, data=value)


def _write_names(group: Any, attribute: str, names: Sequence[str]) -> None:
    """A list of names as an attribute, or as several where it is long."""
    data = np.array([name.encode() for name in names]) if names else np.zeros(0)
    chunks = -(-data.nbytes // _MOST_BYTES) if names else 1
    if chunks == 1:
        group.attrs[attribute] = data
        return
    for place, chunk in enumerate(np.array_split(data, chunks)):
        group.attrs[f"{attribute}{place}"] = chunk
