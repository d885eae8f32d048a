"""Constraints against Keras: names, arguments, configs and projected weights."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import config, constraints

CLASSES = ["MaxNorm", "NonNeg", "UnitNorm", "MinMaxNorm"]
CASES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in CLASSES]
CASES += [
    ("MaxNorm", {"max_value": 0.5}),
    ("MaxNorm", {"max_value": 1.5, "axis": 1}),
    ("MaxNorm", {"max_value": 3, "axis": [0, 1]}),
    ("UnitNorm", {"axis": 1}),
    ("UnitNorm", {"axis": [0, 1, 2]}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.5}),
    ("MinMaxNorm", {"min_value": 2.5, "max_value": 3.5, "rate": 0.3, "axis": -1}),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 0.5, "axis": [0, 1]}),
]


def weights(scale: float) -> np.ndarray:
    w = scale * np.random.default_rng(0).normal(size=(4, 3, 2, 5)).astype("float32")
    w[:, :, :, 0] = 0.0  # a unit whose weights all are 0
    return w


@pytest.mark.parametrize(("name", "kwargs"), CASES)
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 1.0, 1e3])
def test_a_constraint_makes_of_a_weight_what_keras_makes_of_it(name: str, kwargs: dict[str, Any], scale: float):
    w = torch.tensor(weights(scale), device=keras.src.backend.torch.core.get_device())
    ours = getattr(constraints, name)(**kwargs)(w).cpu().numpy()
    theirs = getattr(keras.constraints, name)(**kwargs)(w).cpu().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * min(scale, 1.0))


def test_epsilon_is_that_of_the_configuration():
    w = np.array([[0.3], [0.4]], dtype="float32")
    default = keras.config.epsilon()
    config.set_epsilon(0.5)
    keras.config.set_epsilon(0.5)
    try:
        theirs = keras.constraints.UnitNorm()(w)
    finally:
        keras.config.set_epsilon(default)
    ours = constraints.UnitNorm()(torch.tensor(w))
    np.testing.assert_allclose(ours.numpy(), keras.ops.convert_to_numpy(theirs), rtol=1e-6)
    np.testing.assert_allclose(ours.numpy(), [[0.3], [0.4]], rtol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_a_constraint_has_the_arguments_and_defaults_of_keras(name: str):
    theirs = inspect.signature(getattr(keras.constraints, name)).parameters.values()
    ours = inspect.signature(getattr(constraints, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_the_config_is_that_of_keras_and_is_read_from_what_keras_wrote(name: str, kwargs: dict[str, Any]):
    theirs = getattr(keras.constraints, name)(**kwargs)
    assert getattr(constraints, name)(**kwargs).get_config() == theirs.get_config()
    read = constraints.deserialize(keras.constraints.serialize(theirs))
    assert type(read).__name__ == name
    assert read.get_config() == theirs.get_config()


def test_every_name_that_keras_knows_stands_for_the_same_class():
    for name, kind in keras.src.constraints.ALL_OBJECTS_DICT.items():
        if kind is not keras.constraints.Constraint:
            assert type(constraints.get(name)).__name__ == kind.__name__
    for name in dir(keras.constraints):
        assert hasattr(constraints, name) or name.startswith("_")
