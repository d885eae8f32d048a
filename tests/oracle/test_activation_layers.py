"""Activation layers against Keras: outputs, gradients, masks, configs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina.layers import activation

CASES: list[tuple[str, dict[str, Any]]] = [
    ("ReLU", {}),
    ("ReLU", {"max_value": 1.5}),
    ("ReLU", {"max_value": 6.0}),
    ("ReLU", {"negative_slope": 0.2}),
    ("ReLU", {"threshold": 0.5}),
    ("ReLU", {"max_value": 1.5, "negative_slope": 0.2, "threshold": 0.5}),
    ("LeakyReLU", {}),
    ("LeakyReLU", {"negative_slope": 0.05}),
    ("PReLU", {}),
    ("PReLU", {"shared_axes": [1, 2]}),
    ("PReLU", {"shared_axes": 1}),
    ("ELU", {}),
    ("ELU", {"alpha": 0.4}),
    ("Softmax", {}),
    ("Softmax", {"axis": 1}),
    ("Softmax", {"axis": [1, 2]}),
    ("Softmax", {"axis": [2]}),
]
SHAPE = (3, 4, 2, 5)


def pair(name: str, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """The layer of ours and that of Keras, with the same random weights."""
    ours, theirs = getattr(activation, name)(**kwargs), getattr(keras.layers, name)(**kwargs)
    ours.build(SHAPE), theirs.build(SHAPE)
    weights = [np.random.default_rng(1).normal(size=w.shape).astype("float32") for w in theirs.get_weights()]
    ours.set_weights(weights), theirs.set_weights(weights)
    return ours, theirs


def gradients(layer: Any, x: np.ndarray, **kwargs: Any) -> list[np.ndarray]:
    """The output, then the gradients of the input and of each weight."""
    tensor = torch.tensor(x, requires_grad=True)
    y = layer(tensor, **kwargs)
    weights = [getattr(w, "value", w) for w in layer.trainable_weights]
    along = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    found = torch.autograd.grad((y * along).sum(), [tensor, *weights])
    return [t.detach().numpy() for t in (y, *found)]


def data() -> np.ndarray:
    x = (np.random.default_rng(0).normal(size=SHAPE) * 2).astype("float32")
    x.ravel()[:7] = [0.0, 0.5, 1.5, 6.0, -0.5, 9.0, -9.0]
    return x


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_an_activation_and_its_gradients_are_those_of_keras(name: str, kwargs: dict[str, Any]):
    ours, theirs = pair(name, kwargs)
    for mine, its in zip(gradients(ours, data()), gradients(theirs, data()), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1, [1, 2]])
@pytest.mark.parametrize("shape", [SHAPE, SHAPE[1:], (5,), (3, 4, 1, 1), (1, 1, 2, 5)])
@pytest.mark.parametrize("numbers", [False, True])
def test_a_masked_softmax_is_that_of_keras(axis: Any, shape: tuple[int, ...], numbers: bool):
    ours, theirs = pair("Softmax", {"axis": axis})
    mask = torch.from_numpy(np.random.default_rng(2).random(shape).astype("float32"))
    mask = mask if numbers else mask > 0.5
    for mine, its in zip(gradients(ours, data(), mask=mask), gradients(theirs, data(), mask=mask), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "kwargs"), CASES)
def test_the_config_has_the_keys_and_values_of_keras(name: str, kwargs: dict[str, Any]):
    ours, theirs = (layer.get_config() for layer in pair(name, kwargs))
    assert set(ours) == set(theirs)
    assert {**ours, "dtype": None, "name": None, "alpha_initializer": None} == {
        **theirs,
        "dtype": None,
        "name": None,
        "alpha_initializer": None,
    }
    again = getattr(activation, name).from_config(ours)
    assert again.get_config() == ours
