"""Writes `tests/saving/legacy_samples`: models saved by tf_keras, with inputs and what it computes from them.

Run it in an environment of tf_keras 2.21 with TensorFlow 2.21: `python tests/support/make_legacy_samples.py [names]`.
Each sample is a pair `name.h5` and `name.npz`; the arrays of the latter are `x0, x1, ...`, `y0, ...`, and for those
that are trained further `train_x`, `train_y`, `losses` and `after`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from legacy_models import MODELS, k, noise, tf

FOLDER = Path(__file__).resolve().parents[1] / "saving" / "legacy_samples"


def scramble(net: Any) -> None:
    """Other weights than those that a fresh layer has, so that one left unloaded shows."""
    rng = np.random.default_rng(7)
    for weight in net.weights:
        shape = tuple(weight.shape)
        if not weight.dtype.is_floating:
            continue
        scale = 0.5 if len(shape) < 2 else 1.5 / np.sqrt(np.prod(shape[:-1]))
        value = rng.normal(size=shape) * scale
        weight.assign((np.abs(value) + 0.5 if "variance" in weight.name else value).astype("float32"))


def inputs_of(net: Any) -> list[np.ndarray]:
    """Random inputs, three samples or as many as the model insists on."""
    return [noise(i + (x.shape[0] or 3), *x.shape[1:])[i:] for i, x in enumerate(net.inputs)]


def listed(value: Any) -> list[Any]:
    return [np.asarray(v) for v in tf.nest.flatten(value)]


def write(name: str, net: Any, inputs: list[Any] | None = None, **more: Any) -> None:
    """One sample."""
    inputs = inputs or inputs_of(net)
    net.save(FOLDER / f"{name}.h5", include_optimizer=net.optimizer is not None)
    with tf.device("cpu"):
        if name == "channels_first":
            x = inputs[0]
            outputs = [x.reshape(3, 3, 4, 2, 3, 2).max((3, 5)).transpose(0, 2, 3, 1).reshape(3, -1)]
        else:
            outputs = listed(net(tf.nest.pack_sequence_as(net.input, inputs), training=False))
            if net.stateful:
                outputs += listed(net(inputs[0] * 0.5, training=False))
    arrays = {f"x{i}": x for i, x in enumerate(inputs)} | {f"y{i}": y for i, y in enumerate(outputs)}
    np.savez_compressed(FOLDER / f"{name}.npz", **arrays, **more)


def ordinary() -> None:
    for name, build in MODELS.items():
        if not wanted(name):
            continue
        k.backend.clear_session()
        k.utils.set_random_seed(11)
        made = build()
        net, inputs = made if isinstance(made, tuple) else (made, None)
        scramble(net)
        write(name, net, inputs)


def optimizers() -> dict[str, Any]:
    """Each optimizer in the form of today and in that of before 2.11."""
    new, old, schedules = k.optimizers, k.optimizers.legacy, k.optimizers.schedules
    return {
        "sgd": new.SGD(0.05),
        "sgd_momentum": new.SGD(0.05, momentum=0.9, nesterov=True),
        "adam": new.Adam(0.01),
        "adam_amsgrad": new.Adam(schedules.ExponentialDecay(0.01, 2, 0.9), amsgrad=True, clipnorm=1.0),
        "adamw": new.AdamW(0.01, weight_decay=0.1),
        "rmsprop": new.RMSprop(0.01),
        "rmsprop_centered": new.RMSprop(0.01, momentum=0.9, centered=True),
        "adagrad": new.Adagrad(0.05),
        "adadelta": new.Adadelta(0.5),
        "adamax": new.Adamax(0.01),
        "nadam": new.Nadam(0.01),
        "ftrl": new.Ftrl(0.05, l1_regularization_strength=0.01, l2_regularization_strength=0.02),
        "adam_ema": new.Adam(0.01, use_ema=True),
        "old_sgd": old.SGD(0.05, decay=0.1),
        "old_sgd_momentum": old.SGD(0.05, momentum=0.9, nesterov=True, decay=0.01),
        "old_adam": old.Adam(0.01, decay=0.05),
        "old_adam_amsgrad": old.Adam(0.01, amsgrad=True, clipvalue=0.5),
        "old_rmsprop": old.RMSprop(0.01),
        "old_rmsprop_centered": old.RMSprop(0.01, momentum=0.9, centered=True),
        "old_adagrad": old.Adagrad(0.05),
        "old_adadelta": old.Adadelta(0.5),
        "old_adamax": old.Adamax(0.01),
        "old_nadam": old.Nadam(0.01),
        "old_ftrl": old.Ftrl(0.05, l1_regularization_strength=0.01, l2_regularization_strength=0.02),
    }


def trained() -> None:
    """A small model after three steps, and its losses in two more."""
    for name, optimizer in optimizers().items():
        if not wanted(f"train_{name}"):
            continue
        k.backend.clear_session()
        k.utils.set_random_seed(11)
        L = k.layers
        net = k.Sequential([L.Dense(6, activation="tanh", input_shape=(4,)), L.BatchNormalization(), L.Dense(2)])
        net.compile(optimizer, "mse", metrics=["mae"])
        x, y = noise(16, 4), noise(16, 4)[:, :2] * 0.5
        for _ in range(3):
            net.train_on_batch(x, y)
        net.save(FOLDER / f"train_{name}.h5")
        before = net(x[:3]).numpy()
        losses = [net.train_on_batch(x, y) for _ in range(2)]
        after = net(x[:3]).numpy()
        arrays = {"x0": x[:3], "y0": before, "train_x": x, "train_y": y, "losses": losses, "after": after}
        np.savez_compressed(FOLDER / f"train_{name}.npz", **arrays)


def wanted(name: str) -> bool:
    return not sys.argv[1:] or name in sys.argv[1:]


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    ordinary()
    trained()
