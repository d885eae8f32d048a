"""Descriptions of layers and files as Keras 1.2 wrote them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

FOLDER = Path(__file__).resolve().parents[1] / "saving" / "legacy_samples"
Layers = Sequence[tuple[str, Sequence[np.ndarray]]]


def put(group: Any, layers: Layers) -> None:
    """Layers and their arrays, as `save_weights` of Keras 1 and 2.0 wrote them."""
    group.attrs["layer_names"] = np.array([name.encode() for name, _ in layers])
    for name, arrays in layers:
        inner = group.create_group(name)
        names = [f"{name}_{i}:0" for i in range(len(arrays))]
        inner.attrs["weight_names"] = np.array([n.encode() for n in names]) if names else np.zeros(0)
        for array_name, array in zip(names, arrays, strict=True):
            inner.create_dataset(array_name, data=np.asarray(array, "float32"))


def write(
    name: str, config: Any, layers: Layers, xs: Any, ys: Any, version: str = "1.2.2", backend: str = "", **more: Any
) -> None:
    """One sample; `more` holds `training` and `optimizer`, a list of names and arrays."""
    with h5py.File(FOLDER / f"{name}.h5", "w") as file:
        attributes = {"keras_version": version, "model_config": json.dumps(config)}
        if backend:
            attributes["backend"] = backend
        if "training" in more:
            attributes["training_config"] = json.dumps(more["training"])
        for key, value in attributes.items():
            file.attrs[key] = value.encode()
        put(file.create_group("model_weights"), layers)
        if backend:
            file["model_weights"].attrs.update(backend=backend.encode(), keras_version=version.encode())
        if "optimizer" in more:
            group = file.create_group("optimizer_weights")
            group.attrs["weight_names"] = np.array([n.encode() for n, _ in more["optimizer"]])
            for n, array in more["optimizer"]:
                group.create_dataset(n, data=array)
    xs, ys = (list(v) if isinstance(v, (list, tuple)) else [v] for v in (xs, ys))
    arrays = {f"x{i}": x for i, x in enumerate(xs)} | {f"y{i}": np.asarray(y) for i, y in enumerate(ys)}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays, **more.get("arrays", {}))


def weights(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        (rng.normal(size=s) * (0.5 if len(s) < 2 else 1.2 / np.sqrt(np.prod(s[:-1])))).astype("float32") for s in shapes
    ]


def layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, **config}}


def dense(name: str, units: int, activation: str = "linear", **more: Any) -> dict[str, Any]:
    common = {"W_constraint": None, "b_constraint": None, "activity_regularizer": None, "bias": True}
    own = {"output_dim": units, "init": "glorot_uniform", "activation": activation, "input_dim": None}
    penalties = {"W_regularizer": {"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.001}, "b_regularizer": None}
    return layer("Dense", name, **own, **common, **penalties, **more)


def conv(name: str, filters: int, rows: int, cols: int, kind: str = "Convolution2D", **more: Any) -> dict[str, Any]:
    own = {
        "nb_filter": filters,
        "nb_row": rows,
        "nb_col": cols,
        "init": "he_normal",
        "activation": "relu",
        "bias": True,
    }
    rest = {"border_mode": "valid", "subsample": [1, 1], "dim_ordering": "tf", "W_regularizer": None}
    none = {"b_regularizer": None, "activity_regularizer": None, "W_constraint": None, "b_constraint": None}
    return layer(kind, name, **{**own, **rest, **none, **more})


def recurrent(kind: str, name: str, units: int, **more: Any) -> dict[str, Any]:
    own = {"output_dim": units, "init": "glorot_uniform", "inner_init": "orthogonal", "activation": "tanh"}
    flags = {"return_sequences": True, "go_backwards": False, "stateful": False, "unroll": False, "consume_less": "cpu"}
    none = {"W_regularizer": None, "U_regularizer": None, "b_regularizer": None, "dropout_W": 0.0, "dropout_U": 0.0}
    if kind != "SimpleRNN":
        own["inner_activation"] = "hard_sigmoid"
    if kind == "LSTM":
        own["forget_bias_init"] = "one"
    return layer(kind, name, **{**own, **flags, **none, "input_dim": 4, "input_length": None, **more})


def gates(arrays: Sequence[np.ndarray], count: int, order: Sequence[int]) -> list[np.ndarray]:
    """Three arrays of Keras 2 as Keras 1 had them: kernel, recurrent kernel and bias of one gate after the other."""
    parts = [np.split(array, count, axis=-1) for array in arrays]
    return [parts[kind][gate] for gate in order for kind in range(3)]


def merge(name: str, mode: str, inputs: Sequence[list[Any]], **more: Any) -> dict[str, Any]:
    config = {"name": name, "mode": mode, "mode_type": "raw", "concat_axis": -1, "dot_axes": -1, "output_shape": None}
    rest = {"output_shape_type": "raw", "output_mask": None, "output_mask_type": "raw", "arguments": {}}
    return {"class_name": "Merge", "config": {**config, **rest, **more}, "name": name, "inbound_nodes": [list(inputs)]}
