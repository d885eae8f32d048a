"""Activations against Keras: names, arguments, values and gradients."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import activations
from lamina.registry import ACTIVATIONS

FUNCTIONS = sorted(
    name
    for name, found in inspect.getmembers(keras.activations, callable)
    if name not in ("get", "serialize", "deserialize")
)

# threshold has arguments without defaults; sparsemax has a test of its own.
CASES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in FUNCTIONS if name not in ("threshold", "sparsemax")]
CASES += [
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"max_value": 2.0}),
    ("relu", {"threshold": 1.0}),
    ("relu", {"threshold": -1.0}),
    ("relu", {"threshold": -1.0, "max_value": 3.0}),
    ("relu", {"negative_slope": 0.1, "max_value": 3.0}),
    ("relu", {"negative_slope": 0.1, "max_value": 6.0}),
    ("relu", {"negative_slope": 0.1, "threshold": 1.0}),
    ("relu", {"negative_slope": 0.1, "max_value": 3.0, "threshold": 1.0}),
    ("leaky_relu", {"negative_slope": 0.01}),
    ("elu", {"alpha": 0.5}),
    ("celu", {"alpha": 2.0}),
    ("squareplus", {"b": 0.5}),
    ("gelu", {"approximate": True}),
    ("soft_shrink", {"threshold": 1.0}),
    ("hard_shrink", {"threshold": 1.0}),
    ("threshold", {"threshold": 0.5, "default_value": -2.0}),
    ("glu", {"axis": 0}),
    ("softmax", {"axis": 0}),
    ("softmax", {"axis": None}),
    ("softmax", {"axis": (0, 1)}),
    ("log_softmax", {"axis": 0}),
    ("log_softmax", {"axis": None}),
    ("log_softmax", {"axis": (0, 1)}),
]


def grid(name: str) -> np.ndarray:
    """Inputs of shape (rows, 8): fine steps around 0, every corner of the functions, and extreme values."""
    fine = np.linspace(-8, 8, 321)
    corners = [-6.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0]
    extreme = [-1e4, -200.0, -88.0, -30.0, 30.0, 88.0, 1e4]
    if name == "exponential":
        extreme = [-1e4, -200.0, -30.0]
    values = np.concatenate([fine, corners, extreme])
    values = np.append(values, np.zeros(-len(values) % 16))
    return np.random.default_rng(0).permutation(values).reshape(-1, 8).astype("float32")


def value_and_gradient(function: Any, x: np.ndarray, kwargs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    tensor = torch.tensor(x, device=keras.src.backend.torch.core.get_device(), requires_grad=True)
    y = function(tensor, **kwargs)
    weights = torch.linspace(-1.0, 2.0, y.numel(), device=y.device).view(y.shape)
    (y * weights).sum().backward()
    return y.detach().cpu().numpy(), tensor.grad.cpu().numpy()


@pytest.mark.parametrize(("name", "kwargs"), CASES, ids=[f"{n}-{k}" for n, k in CASES])
def test_an_activation_has_the_values_and_gradients_of_keras(name: str, kwargs: dict[str, Any]):
    x = grid(name)
    ours = value_and_gradient(getattr(activations, name), x, kwargs)
    theirs = value_and_gradient(getattr(keras.activations, name), x, kwargs)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_sparsemax_has_the_values_and_gradients_of_keras_where_one_score_wins(axis: int):
    # Where several survive, Keras 3.15 subtracts the wrong threshold and its result does not sum to 1.
    x = np.random.default_rng(0).normal(size=(6, 6)).astype("float32")
    x[np.arange(6), np.random.default_rng(1).permutation(6)] += 10
    ours = value_and_gradient(activations.sparsemax, x, {"axis": axis})
    theirs = value_and_gradient(keras.activations.sparsemax, x, {"axis": axis})
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-5)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-5)


def test_the_grid_reaches_every_corner_and_extreme():
    values = set(grid("relu").flatten().tolist())
    assert {-3.0, -1.0, 0.0, 0.5, 1.0, 3.0, 6.0} <= values
    assert min(values) < -100 and max(values) > 80


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_activation_has_the_arguments_and_defaults_of_keras(name: str):
    theirs = inspect.signature(getattr(keras.activations, name)).parameters.values()
    ours = inspect.signature(getattr(activations, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_name_that_keras_knows_stands_for_the_same_function(name: str):
    assert name in ACTIVATIONS.names
    assert activations.get(name) is getattr(activations, name)
    assert activations.serialize(activations.get(name)) == keras.activations.serialize(keras.activations.get(name))


def test_what_keras_wrote_down_is_read():
    config = keras.saving.serialize_keras_object(keras.activations.gelu)
    assert activations.get(config) is activations.gelu
