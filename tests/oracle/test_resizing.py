"""Padding, cropping and upsampling layers against Keras: arguments, configs, values, gradients and shapes."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import config
from lamina.layers import padding, upsampling
from lamina.layers.input import Input
from lamina.registry import LAYERS

CLASSES = {
    name: getattr(module, name)
    for module in (padding, upsampling)
    for name in LAYERS
    if getattr(vars(module).get(name), "__module__", None) == module.__name__
}
SIZES = {1: (7,), 2: (7, 6), 3: (6, 5, 7)}

FORMS: list[tuple[str, dict[str, Any]]] = [
    ("ZeroPadding1D", {}),
    ("ZeroPadding1D", {"padding": 2}),
    ("ZeroPadding1D", {"padding": (0, 3)}),
    ("ZeroPadding1D", {"padding": [1, 2], "data_format": "channels_first"}),
    ("ZeroPadding2D", {}),
    ("ZeroPadding2D", {"padding": 2, "data_format": "channels_first"}),
    ("ZeroPadding2D", {"padding": (1, 2)}),
    ("ZeroPadding2D", {"padding": ((1, 0), (2, 3)), "data_format": "channels_first"}),
    ("ZeroPadding2D", {"padding": [[1, 0], [2, 3]]}),
    ("ZeroPadding2D", {"padding": ((1, 2), 3)}),
    ("ZeroPadding3D", {}),
    ("ZeroPadding3D", {"padding": (1, 2, 0), "data_format": "channels_first"}),
    ("ZeroPadding3D", {"padding": ((1, 0), (2, 3), (0, 1))}),
    ("Cropping1D", {}),
    ("Cropping1D", {"cropping": 2}),
    ("Cropping1D", {"cropping": (0, 3)}),
    ("Cropping1D", {"cropping": (3, 0)}),
    ("Cropping2D", {}),
    ("Cropping2D", {"cropping": 2, "data_format": "channels_first"}),
    ("Cropping2D", {"cropping": (1, 2)}),
    ("Cropping2D", {"cropping": ((1, 0), (2, 3)), "data_format": "channels_first"}),
    ("Cropping3D", {}),
    ("Cropping3D", {"cropping": 2, "data_format": "channels_first"}),
    ("Cropping3D", {"cropping": ((1, 0), (2, 1), (0, 3))}),
    ("UpSampling1D", {}),
    ("UpSampling1D", {"size": 3}),
    ("UpSampling2D", {}),
    ("UpSampling2D", {"size": 3, "data_format": "channels_first"}),
    ("UpSampling2D", {"size": (1, 4)}),
    ("UpSampling2D", {"size": (2, 3), "interpolation": "BILINEAR"}),
    ("UpSampling2D", {"size": (2, 3), "interpolation": "bilinear", "data_format": "channels_first"}),
    ("UpSampling2D", {"size": 2, "interpolation": "bicubic"}),
    ("UpSampling3D", {}),
    ("UpSampling3D", {"size": (1, 3, 2), "data_format": "channels_first"}),
]


def pair(name: str, **kwargs: Any) -> tuple[Any, Any]:
    """The layer of lamina and the one of Keras for the same arguments."""
    return CLASSES[name](**kwargs, name="layer"), getattr(keras.layers, name)(**kwargs, name="layer")


def value_and_gradient(layer: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the gradient of a weighted sum of it for the input."""
    tensor = torch.tensor(x, device=config.device(), requires_grad=True)
    y = layer(tensor)
    loss = (y * torch.linspace(-1.0, 2.0, y.numel(), device=y.device).view(y.shape)).sum()
    (gradient,) = torch.autograd.grad(loss, [tensor])
    return y.detach().cpu().numpy(), gradient.cpu().numpy()


@pytest.mark.parametrize(("name", "kwargs"), FORMS, ids=[f"{n}-{k}" for n, k in FORMS])
def test_a_layer_has_the_values_gradients_and_shapes_of_keras(name: str, kwargs: dict[str, Any]):
    ours, theirs = pair(name, **kwargs)
    sizes, last = SIZES[int(name[-2])], kwargs.get("data_format") != "channels_first"
    shape = (2, *sizes, 3) if last else (2, 3, *sizes)
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    found, expected = value_and_gradient(ours, x), value_and_gradient(theirs, x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-5)
    assert tuple(ours.compute_output_shape(shape)) == found[0].shape
    assert ours(Input(batch_shape=(None, *shape[1:]))).shape == (None, *found[0].shape[1:])
    unknown = (None, *[None] * len(sizes), 3) if last else (None, 3, *[None] * len(sizes))
    assert ours(Input(batch_shape=unknown)).shape == tuple(theirs.compute_output_shape(unknown)) == unknown


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_layer_has_the_arguments_and_defaults_of_keras(name: str):
    rank = int(name[-2])
    ours = inspect.signature(CLASSES[name]).parameters.values()
    theirs = inspect.signature(getattr(keras.layers, name)).parameters.values()
    assert [p.name for p in ours] == [p.name for p in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        # One number stands for all sides: the families share one signature.
        short = {(1,) * rank: 1, ((1, 1),) * rank: 1, (2,) * rank: 2}.get(other.default, other.default)
        assert mine.default in (other.default, short)


@pytest.mark.parametrize(("name", "kwargs"), FORMS, ids=[f"{n}-{k}" for n, k in FORMS])
def test_a_config_is_that_of_keras_and_each_reads_its_own_and_ours_reads_theirs(name: str, kwargs: dict[str, Any]):
    ours, theirs = pair(name, **kwargs)
    found, expected = ours.get_config(), theirs.get_config()
    assert found == {**expected, "dtype": expected["dtype"]["config"]["name"]}
    assert type(ours).from_config(found).get_config() == found
    assert type(ours).from_config(expected).get_config() == found


def test_every_layer_of_keras_that_pads_crops_or_enlarges_is_here():
    names = [name for name in dir(keras.layers) if name.startswith(("ZeroPadding", "Cropping", "UpSampling"))]
    assert set(names) == set(CLASSES)
