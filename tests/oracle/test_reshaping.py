"""Layers that rearrange, and layers of noise at inference, against Keras: outputs, gradients, shapes, configs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina.layers import dropout, noise, regularization, reshaping

CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Flatten", {}, (2, 3, 4, 5)),
    ("Flatten", {}, (2, 3)),
    ("Flatten", {}, (2,)),
    ("Flatten", {"data_format": "channels_first"}, (2, 3, 4, 5)),
    ("Flatten", {"data_format": "channels_first"}, (2, 3, 4)),
    ("Flatten", {"data_format": "channels_first"}, (2, 3)),
    ("Flatten", {"data_format": "channels_first"}, (2,)),
    ("Reshape", {"target_shape": (4, 3)}, (2, 12)),
    ("Reshape", {"target_shape": (-1,)}, (2, 3, 4)),
    ("Reshape", {"target_shape": (2, -1, 2)}, (2, 3, 4)),
    ("Reshape", {"target_shape": (3, 4)}, (2, 2, 6)),
    ("Permute", {"dims": (2, 1)}, (2, 3, 4)),
    ("Permute", {"dims": (3, 1, 2)}, (2, 3, 4, 5)),
    ("RepeatVector", {"n": 3}, (2, 5)),
]
PASSING: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("Dropout", {"rate": 0.5}, (4, 3)),
    ("Dropout", {"rate": 0.5, "noise_shape": (None, 1), "seed": 3}, (4, 3)),
    ("SpatialDropout1D", {"rate": 0.5}, (4, 3, 2)),
    ("SpatialDropout2D", {"rate": 0.5}, (4, 3, 2, 2)),
    ("SpatialDropout2D", {"rate": 0.5, "data_format": "channels_first", "seed": 3}, (4, 3, 2, 2)),
    ("SpatialDropout3D", {"rate": 0.5}, (4, 3, 2, 2, 2)),
    ("AlphaDropout", {"rate": 0.5}, (4, 3)),
    ("GaussianDropout", {"rate": 0.5}, (4, 3)),
    ("GaussianNoise", {"stddev": 0.5}, (4, 3)),
    ("ActivityRegularization", {"l1": 0.5, "l2": 0.25}, (4, 3)),
]


def pair(name: str, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    module = next(m for m in (reshaping, dropout, noise, regularization) if hasattr(m, name))
    return getattr(module, name)(**kwargs), getattr(keras.layers, name)(**kwargs)


def gradients(layer: Any, x: np.ndarray, **kwargs: Any) -> list[np.ndarray]:
    tensor = torch.tensor(x, requires_grad=True)
    y = layer(tensor, **kwargs)
    (found,) = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum(), [tensor])
    return [y.detach().numpy(), found.numpy()]


def assert_same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.shape == its.shape
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "kwargs", "shape"), [*CASES, *PASSING])
def test_outputs_and_gradients_are_those_of_keras(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]):
    ours, theirs = pair(name, kwargs)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    assert_same(gradients(ours, x), gradients(theirs, x))


@pytest.mark.parametrize(("name", "kwargs", "shape"), CASES)
@pytest.mark.parametrize("hidden", [1, 2])
def test_shapes_with_unknown_sizes_are_those_of_keras(
    name: str, kwargs: dict[str, Any], shape: tuple[int, ...], hidden: int
):
    ours, theirs = pair(name, kwargs)
    shape = (*(None,) * min(hidden, len(shape)), *shape[hidden:])
    assert ours.compute_output_shape(shape) == tuple(theirs.compute_output_shape(shape))


def test_the_activity_penalty_is_that_of_keras():
    ours, theirs = pair("ActivityRegularization", {"l1": 0.5, "l2": 0.25})
    x = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    ours(torch.tensor(x)), theirs(torch.tensor(x))
    assert len(ours.losses) == len(theirs.losses) == 1
    np.testing.assert_allclose(ours.losses[0].numpy(), theirs.losses[0].numpy(), rtol=1e-5)


@pytest.mark.parametrize("rate", [0.2, 0.6])
@pytest.mark.parametrize("name", ["Dropout", "GaussianDropout", "AlphaDropout"])
def test_noise_has_the_distribution_of_keras(name: str, rate: float):
    ours, theirs = pair(name, {"rate": rate})
    x = torch.randn(300_000)
    mine, its = ours(x, training=True), theirs(x, training=True)
    wanted = torch.tensor([0.01, 0.25, 0.5, 0.75, 0.99])
    np.testing.assert_allclose(mine.quantile(wanted).numpy(), its.quantile(wanted).numpy(), atol=0.05)
    np.testing.assert_allclose((mine.mean(), mine.std()), (its.mean(), its.std()), atol=0.03)


@pytest.mark.parametrize(("name", "kwargs", "shape"), [*CASES, *PASSING])
def test_the_config_is_that_of_keras(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]):
    ours, theirs = pair(name, kwargs)
    expected = {"trainable": True, **theirs.get_config(), "dtype": "float32", "name": ours.name}
    if name == "SpatialDropout1D":  # it has no such argument; the key says what it does
        expected.update({key: ours.get_config()[key] for key in ("data_format",) if key in ours.get_config()})
    assert ours.get_config() == expected
    assert type(ours).from_config(ours.get_config()).get_config() == ours.get_config()
