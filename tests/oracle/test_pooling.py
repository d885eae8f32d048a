"""Pooling layers against Keras and torch.nn: arguments, configs, values, gradients and shapes."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import config
from lamina.kernels.windows import same_padding
from lamina.layers import global_pooling, pooling
from lamina.layers.input import Input
from lamina.registry import LAYERS

CLASSES = {
    name: getattr(module, name)
    for module in (pooling, global_pooling)
    for name in LAYERS
    if getattr(vars(module).get(name), "__module__", None) == module.__name__
}
WINDOWED = [name for name in CLASSES if not name.startswith("Global")]
GLOBAL = [name for name in CLASSES if name.startswith("Global")]
SIZES = {1: (9,), 2: (9, 8), 3: (6, 5, 7)}


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The layer of lamina and the one of Keras for the same arguments."""
    return CLASSES[name](*args, **kwargs, name="layer"), getattr(keras.layers, name)(*args, **kwargs, name="layer")


def shape_for(name: str, data_format: str) -> tuple[int, ...]:
    sizes = SIZES[int(name[-2])]
    return (2, *sizes, 3) if data_format == "channels_last" else (2, 3, *sizes)


def value_and_gradient(layer: Any, x: np.ndarray, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    """The output, and the gradient of a weighted sum of it for the input."""
    tensor = torch.tensor(x, device=config.device(), requires_grad=True)
    y = layer(tensor, **kwargs)
    loss = (y * torch.linspace(-1.0, 2.0, y.numel(), device=y.device).view(y.shape)).sum()
    (gradient,) = torch.autograd.grad(loss, [tensor])
    return y.detach().cpu().numpy(), gradient.cpu().numpy()


def expect_equal(ours: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    """The same output, gradient and output shape for the same input."""
    x = np.random.default_rng(1).normal(size=shape).astype("float32") - 2
    found, expected = value_and_gradient(ours, x), value_and_gradient(theirs, x)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-5)
    expect_shapes(ours, theirs, shape, found[0].shape)


def expect_shapes(ours: Any, theirs: Any, shape: tuple[int, ...], run: tuple[int, ...]) -> None:
    """Symbolic, stated and real shapes agree, and unknown sizes stay unknown."""
    assert tuple(ours.compute_output_shape(shape)) == run
    assert ours(Input(batch_shape=(None, *shape[1:]))).shape == (None, *run[1:])
    channels = -1 if ours.data_format == "channels_last" else 1
    unknown: list[int | None] = [None] * len(shape)
    unknown[channels] = shape[channels]
    expected = tuple(theirs.compute_output_shape(unknown))
    assert tuple(ours.compute_output_shape(unknown)) == expected
    assert ours(Input(batch_shape=unknown)).shape == expected


def pads_alike(shape: tuple[int, ...], data_format: str, window: int, stride: int) -> bool:
    """Whether "same" pads both sides of every axis by the same number."""
    sizes = shape[1:-1] if data_format == "channels_last" else shape[2:]
    return all(before == after for before, after in (same_padding(size, window, stride) for size in sizes))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("pool_size", "strides"), [(2, None), (3, None), (2, 1), (3, 1), (3, 2), (2, 3), (4, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", WINDOWED)
def test_pooling_has_the_values_and_gradients_of_keras(
    name: str, padding: str, pool_size: int, strides: int | None, data_format: str
):
    ours, theirs = pair(name, pool_size, strides, padding, data_format)
    shape = shape_for(name, data_format)
    alike = padding == "valid" or pads_alike(shape, data_format, pool_size, strides or pool_size)
    if alike or name.startswith("Max"):
        expect_equal(ours, theirs, shape)
        return
    # Where one side gets more padding than the other, Keras 3.15 on torch repeats the edge and counts the copies in
    # the average, against what its other backends do. There the windows are taken one by one.
    x = np.random.default_rng(1).normal(size=shape).astype("float32") - 2
    found, expected = value_and_gradient(ours, x), averages(x, pool_size, strides or pool_size, data_format)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-5)
    expect_shapes(ours, theirs, shape, found[0].shape)


def averages(x: np.ndarray, window: int, stride: int, data_format: str) -> tuple[np.ndarray, np.ndarray]:
    """Average pooling with "same" of the positions that count, and the gradient that `value_and_gradient` asks for."""
    last = data_format == "channels_last"
    x = x if last else np.moveaxis(x, 1, -1)
    counts = [-(-size // stride) for size in x.shape[1:-1]]
    before = [same_padding(size, window, stride)[0] for size in x.shape[1:-1]]
    y, gradient = np.zeros((x.shape[0], *counts, x.shape[-1])), np.zeros_like(x)
    weights = np.linspace(-1.0, 2.0, y.size).reshape(y.shape if last else np.moveaxis(y, -1, 1).shape)
    weights = weights if last else np.moveaxis(weights, 1, -1)
    for place in np.ndindex(*counts):
        starts = [p * stride - b for p, b in zip(place, before, strict=True)]
        cut = (slice(None), *(slice(max(0, start), start + window) for start in starts))
        here = (slice(None), *place)
        y[here] = x[cut].mean(axis=tuple(range(1, x.ndim - 1)))
        shared = weights[here] / np.prod(x[cut].shape[1:-1])
        gradient[cut] += shared.reshape(x.shape[0], *(1,) * len(counts), x.shape[-1])
    return (y, gradient) if last else (np.moveaxis(y, -1, 1), np.moveaxis(gradient, -1, 1))


@pytest.mark.parametrize(("pool_size", "strides"), [((3, 2), None), ((1, 3), (1, 2)), ((4, 1), 1)])
@pytest.mark.parametrize("name", ["MaxPooling2D", "AveragePooling2D"])
def test_axes_may_have_windows_of_their_own(name: str, pool_size: Any, strides: Any):
    expect_equal(*pair(name, pool_size, strides), shape_for(name, "channels_last"))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", GLOBAL)
def test_global_pooling_has_the_values_and_gradients_of_keras(name: str, data_format: str, keepdims: bool):
    expect_equal(*pair(name, data_format, keepdims), shape_for(name, data_format))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_a_masked_average_has_the_values_and_gradients_of_keras(data_format: str, keepdims: bool):
    ours, theirs = pair("GlobalAveragePooling1D", data_format, keepdims)
    x = np.random.default_rng(1).normal(size=shape_for("GlobalAveragePooling1D", data_format)).astype("float32")
    mask = torch.tensor(np.random.default_rng(2).random((2, 9)) < 0.6, device=config.device())
    found, expected = value_and_gradient(ours, x, mask=mask), value_and_gradient(theirs, x, mask=mask)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-5, atol=1e-6)
    assert np.abs(found[0] - value_and_gradient(ours, x)[0]).max() > 0.01


@pytest.mark.parametrize(("padding", "torch_padding"), [("valid", 0), ("same", 1)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_pooling_is_that_of_torch_nn(rank: int, stride: int, padding: str, torch_padding: int):
    x = torch.randn(2, 3, *(7, 9, 5)[:rank])  # odd sizes, where "same" pads both sides alike
    kind = getattr(torch.nn, f"MaxPool{rank}d")
    expected = kind(3, stride, torch_padding)(x).movedim(1, -1)
    found = CLASSES[f"MaxPooling{rank}D"](3, stride, padding)(x.movedim(1, -1))
    torch.testing.assert_close(found, expected)
    kind = getattr(torch.nn, f"AvgPool{rank}d")
    expected = kind(3, stride, torch_padding, count_include_pad=False)(x).movedim(1, -1)
    found = CLASSES[f"AveragePooling{rank}D"](3, stride, padding)(x.movedim(1, -1))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_layer_has_the_arguments_and_defaults_of_keras(name: str):
    rank = int(name[-2])
    ours = inspect.signature(CLASSES[name]).parameters.values()
    theirs = inspect.signature(getattr(keras.layers, name)).parameters.values()
    assert [p.name for p in ours] == [p.name for p in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        # One number stands for a tuple of it: the families share one signature.
        assert mine.default in (other.default, other.default[0] if other.default == (2,) * rank else other.default)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_config_is_that_of_keras_and_each_reads_its_own_and_ours_reads_theirs(name: str):
    windowed = name in WINDOWED
    given: dict[str, Any] = {"pool_size": 3, "strides": 1, "padding": "same"} if windowed else {"keepdims": True}
    for arguments in ({"pool_size": 2} if windowed else {}, {**given, "data_format": "channels_first"}):
        ours, theirs = pair(name, **arguments)
        found, expected = ours.get_config(), theirs.get_config()
        assert found == {**expected, "dtype": expected["dtype"]["config"]["name"]}
        assert type(ours).from_config(found).get_config() == found
        assert type(ours).from_config(expected).get_config() == found


def test_every_name_that_keras_has_for_a_layer_stands_for_it_here():
    names = [name for name in dir(keras.layers) if "Pool" in name and not name.startswith("Adaptive")]
    assert {getattr(keras.layers, name).__name__ for name in names} == set(CLASSES)
    for name in names:
        cls = CLASSES[getattr(keras.layers, name).__name__]
        assert LAYERS[name] is cls
        assert getattr(inspect.getmodule(cls), name) is cls
