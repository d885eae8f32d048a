"""Regularizers against Keras: names, arguments, configs, penalties and gradients."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import regularizers

CLASSES = ["L1", "L2", "L1L2", "OrthogonalRegularizer"]
CASES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in CLASSES]
CASES += [
    ("L1", {"l1": 0.3}),
    ("L1", {"l1": None}),
    ("L2", {"l2": 0.3}),
    ("L2", {"l2": None}),
    ("L1L2", {"l1": 0.3, "l2": 0.2}),
    ("L1L2", {"l1": 0.3}),
    ("L1L2", {"l2": 0.2}),
    ("L1L2", {"l1": None, "l2": 2}),
    ("OrthogonalRegularizer", {"factor": 0.5}),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}),
]


def value_and_gradient(regularizer: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    tensor = torch.tensor(x, device=keras.src.backend.torch.core.get_device(), requires_grad=True)
    penalty = regularizer(tensor)
    if penalty.requires_grad:  # both leave the input out when every factor is 0
        penalty.backward()
    gradient = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
    return penalty.detach().cpu().numpy(), gradient.cpu().numpy()


@pytest.mark.parametrize(("name", "kwargs"), CASES)
@pytest.mark.parametrize("shape", [(5, 4), (3, 7)])
def test_a_penalty_and_its_gradient_are_those_of_keras(name: str, kwargs: dict[str, Any], shape: tuple[int, int]):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    x[0, 0] = 0.0
    ours = value_and_gradient(getattr(regularizers, name)(**kwargs), x)
    theirs = value_and_gradient(getattr(keras.regularizers, name)(**kwargs), x)
    assert ours[0].shape == theirs[0].shape == ()
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["L1", "L2"])
def test_penalties_of_weights_of_any_rank_are_those_of_keras(name: str):
    for shape in ((), (6,), (3, 3, 2, 4)):
        x = np.random.default_rng(0).normal(size=shape).astype("float32")
        ours = value_and_gradient(getattr(regularizers, name)(0.1), x)
        theirs = value_and_gradient(getattr(keras.regularizers, name)(0.1), x)
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)


@pytest.mark.parametrize("name", CLASSES)
def test_a_regularizer_has_the_arguments_and_defaults_of_keras(name: str):
    theirs = inspect.signature(getattr(keras.regularizers, name)).parameters.values()
    ours = inspect.signature(getattr(regularizers, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_the_config_is_that_of_keras_and_is_read_from_what_keras_wrote(name: str, kwargs: dict[str, Any]):
    theirs = getattr(keras.regularizers, name)(**kwargs)
    ours = getattr(regularizers, name)(**kwargs).get_config()
    # Keras passes some factors through float32 on their way to the config: 0.01 becomes 0.009999999776482582.
    rounded = {key: pytest.approx(v, rel=1e-6) if isinstance(v, float) else v for key, v in theirs.get_config().items()}
    assert ours == rounded
    read = regularizers.deserialize(keras.regularizers.serialize(theirs))
    assert type(read).__name__ == name
    assert read.get_config() == theirs.get_config()


def test_every_name_that_keras_knows_stands_for_the_same_class():
    for name, kind in keras.src.regularizers.ALL_OBJECTS_DICT.items():
        if kind is not keras.regularizers.Regularizer:
            assert type(regularizers.get(name)).__name__ == kind.__name__
    for name in dir(keras.regularizers):
        assert hasattr(regularizers, name) or name.startswith("_")
