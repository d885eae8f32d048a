"""Convolution layers against Keras and torch.nn: arguments, configs, values, gradients and shapes."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina import config
from lamina.layers import conv_transpose, convolution, depthwise
from lamina.layers.input import Input
from lamina.registry import LAYERS

CLASSES = {
    name: getattr(module, name)
    for module in (convolution, conv_transpose, depthwise)
    for name in LAYERS
    if getattr(vars(module).get(name), "__module__", None) == module.__name__
}
SIZES = {1: (9,), 2: (9, 8), 3: (6, 5, 7)}


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The layer of lamina and the one of Keras for the same arguments."""
    return CLASSES[name](*args, **kwargs, name="layer"), getattr(keras.layers, name)(*args, **kwargs, name="layer")


def with_equal_weights(ours: Any, theirs: Any, shape: Sequence[int]) -> None:
    """Build both layers and give them the same random weights, biases included."""
    ours.build(shape)
    theirs.build(shape)
    rng = np.random.default_rng(0)
    theirs.set_weights([rng.normal(size=w.shape).astype("float32") for w in theirs.get_weights()])
    ours.set_weights(theirs.get_weights())


def value_and_gradients(layer: Any, weights: Sequence[Any], x: np.ndarray) -> list[np.ndarray]:
    """The output, and the gradients of a weighted sum of it for the input and for each weight."""
    tensor = torch.tensor(x, device=config.device(), requires_grad=True)
    y = layer(tensor)
    loss = (y * torch.linspace(-1.0, 2.0, y.numel(), device=y.device).view(y.shape)).sum()
    gradients = torch.autograd.grad(loss, [tensor, *weights])
    return [t.detach().cpu().numpy() for t in (y, *gradients)]


def expect_equal(ours: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    """The same output, gradients and output shape, for the same weights and input."""
    with_equal_weights(ours, theirs, shape)
    x = np.random.default_rng(1).normal(size=shape).astype("float32")
    found = value_and_gradients(ours, ours.trainable_weights, x)
    expected = value_and_gradients(theirs, [w.value for w in theirs.trainable_weights], x)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(1.0, float(np.abs(b).max())))
    assert tuple(ours.compute_output_shape(shape)) == found[0].shape
    channels = -1 if ours.data_format == "channels_last" else 1
    unknown: list[int | None] = [None] * len(shape)
    unknown[channels] = shape[channels]
    assert tuple(ours.compute_output_shape(unknown)) == tuple(theirs.compute_output_shape(unknown))
    symbolic = ours(Input(batch_shape=(None, *shape[1:])))
    assert symbolic.shape == (None, *found[0].shape[1:])


def shape_for(rank: int, channels: int, data_format: str, sizes: tuple[int, ...] | None = None) -> tuple[int, ...]:
    sizes = sizes or SIZES[rank]
    return (2, *sizes, channels) if data_format == "channels_last" else (2, channels, *sizes)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("strides", "dilation_rate"), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "padding"),
    [("Conv1D", "causal"), *itertools.product(("Conv1D", "Conv2D", "Conv3D"), ("valid", "same"))],
)
def test_a_convolution_has_the_values_and_gradients_of_keras(
    name: str, padding: str, kernel_size: int, strides: int, dilation_rate: int, data_format: str
):
    rank = int(name[4])
    if padding == "valid" and (kernel_size - 1) * dilation_rate >= min(SIZES[rank]):
        kernel_size = 2
    layers = pair(name, 4, kernel_size, strides, padding, data_format, dilation_rate, activation="tanh")
    expect_equal(*layers, shape_for(rank, 3, data_format))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("groups", "channels", "filters"), [(2, 4, 6), (3, 6, 3), (4, 4, 8), (1, 1, 1), (5, 5, 5)])
@pytest.mark.parametrize("name", ["Conv1D", "Conv2D", "Conv3D"])
def test_a_grouped_convolution_has_the_values_and_gradients_of_keras(
    name: str, groups: int, channels: int, filters: int, data_format: str
):
    layers = pair(name, filters, 3, padding="same", groups=groups, data_format=data_format)
    expect_equal(*layers, shape_for(int(name[4]), channels, data_format))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": (3, 2), "strides": (2, 1)},
        {"kernel_size": (1, 4), "strides": (1, 3)},
        {"kernel_size": (2, 3), "dilation_rate": (3, 1)},
        {"kernel_size": (5, 1), "use_bias": False},
        {"kernel_size": (3, 3), "strides": 2, "activation": "relu"},
    ],
)
@pytest.mark.parametrize("sizes", [(9, 8), (12, 7)])
def test_axes_may_have_windows_of_their_own(arguments: dict[str, Any], padding: str, sizes: tuple[int, int]):
    expect_equal(*pair("Conv2D", 4, padding=padding, **arguments), shape_for(2, 3, "channels_last", sizes))


def by_scattering(
    x: np.ndarray, kernel: np.ndarray, strides: Sequence[int], dilation: Sequence[int], sizes: Sequence[int], same: bool
) -> np.ndarray:
    """The transpose of TensorFlow's convolution of an image of `sizes`: each input value spreads its kernel there.

    What the plain convolution reads from its padding, the transposed one writes beyond the edge, where it is lost.
    """
    rank = len(sizes)
    y = np.zeros((x.shape[0], *sizes, kernel.shape[-2]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel.shape, dilation, strict=False)]
    before = [
        max(0, (n - 1) * s + r - size) // 2 for n, s, r, size in zip(x.shape[1:], strides, reach, sizes, strict=False)
    ]
    for place in np.ndindex(x.shape[1:-1]):
        for member in np.ndindex(kernel.shape[:rank]):
            target = [
                p * s + m * d - (b if same else 0)
                for p, s, m, d, b in zip(place, strides, member, dilation, before, strict=True)
            ]
            if all(0 <= t < size for t, size in zip(target, sizes, strict=True)):
                y[(slice(None), *target)] += x[(slice(None), *place)] @ kernel[member].T
    return y


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("strides", "dilation_rate"), [(1, 1), (2, 1), (3, 1), (4, 1), (1, 2)])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_transposed_convolution_has_the_numbers_of_tensorflow(
    rank: int, padding: str, strides: int, dilation_rate: int, kernel_size: int
):
    """Keras on torch once gave shifted values for "same" and a stride of 2 (keras-team/keras pull request 22876)."""
    layer = CLASSES[f"Conv{rank}DTranspose"](4, kernel_size, strides, padding, dilation_rate=dilation_rate)
    x = np.random.default_rng(0).normal(size=(2, *(4, 3)[:rank], 3)).astype("float32")
    found = layer(x).detach().cpu().numpy()
    reach = (kernel_size - 1) * dilation_rate + 1
    sizes = [n * strides if padding == "same" else (n - 1) * strides + max(reach, strides) for n in x.shape[1:-1]]
    kernel = layer.kernel.detach().cpu().numpy()
    expected = by_scattering(x, kernel, (strides,) * rank, (dilation_rate,) * rank, sizes, padding == "same")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("strides", "dilation_rate"), [(1, 1), (2, 1), (3, 1), (1, 2)])
@pytest.mark.parametrize("kernel_size", [2, 3, 4])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", ["Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"])
def test_a_transposed_convolution_has_the_values_and_gradients_of_keras(
    name: str, padding: str, kernel_size: int, strides: int, dilation_rate: int, data_format: str
):
    rank, kwargs = int(name[4]), {"data_format": data_format, "dilation_rate": dilation_rate}
    layers = pair(name, 4, kernel_size, strides, padding, **kwargs, activation="tanh")
    expect_equal(*layers, shape_for(rank, 3, data_format, (4, 3, 5)[:rank]))


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
@pytest.mark.parametrize(("strides", "output_padding"), [(1, 0), (2, 0), (2, 1), (3, 2), ((3, 2), (1, 0))])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_output_padding_has_the_values_and_gradients_of_keras(
    padding: str, strides: Any, output_padding: Any, kernel_size: int
):
    layers = pair("Conv2DTranspose", 4, kernel_size, strides, padding, output_padding)
    expect_equal(*layers, shape_for(2, 3, "channels_last", (4, 5)))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(("strides", "dilation_rate"), [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("depth_multiplier", [1, 2])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("name", ["DepthwiseConv1D", "DepthwiseConv2D", "SeparableConv1D", "SeparableConv2D"])
def test_convolutions_of_channels_apart_have_the_values_and_gradients_of_keras(
    name: str, padding: str, depth_multiplier: int, strides: int, dilation_rate: int, data_format: str
):
    layers = pair(
        name,
        *((4,) if name.startswith("Separable") else ()),
        3,
        strides=strides,
        padding=padding,
        depth_multiplier=depth_multiplier,
        data_format=data_format,
        dilation_rate=dilation_rate,
        activation="tanh",
    )
    expect_equal(*layers, shape_for(int(name[-2]), 3, data_format))


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_layer_has_the_arguments_and_defaults_of_keras(name: str):
    rank = int(name.replace("Transpose", "")[-2])
    ours = inspect.signature(CLASSES[name]).parameters.values()
    theirs = inspect.signature(getattr(keras.layers, name)).parameters.values()
    assert [p.name for p in ours] == [p.name for p in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        # One number stands for a tuple of it: the families share one signature.
        assert mine.default in (other.default, other.default[0] if other.default == (1,) * rank else other.default)


def plain(value: Any) -> Any:
    """A config without what only Keras's serialization adds: modules and registered names."""
    if isinstance(value, dict) and "class_name" in value:
        found = plain(value["config"])
        return found["name"] if value["class_name"] == "DTypePolicy" else {value["class_name"]: found}
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return value


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_a_config_is_that_of_keras_and_each_reads_its_own_and_ours_reads_theirs(name: str):
    filters = () if name.startswith("Depthwise") else (4,)
    prefix = "kernel" if hasattr(CLASSES[name](*filters, 3), "kernel_initializer") else "depthwise"
    kwargs = {
        "padding": "SAME",
        "activation": "relu",
        "use_bias": False,
        f"{prefix}_initializer": "he_normal",
        f"{prefix}_regularizer": "l2",
        f"{prefix}_constraint": "max_norm",
        "activity_regularizer": "l2",
        "trainable": False,
        "data_format": "channels_first",
    }
    for arguments in ({}, kwargs):
        ours, theirs = pair(name, *filters, 3, **arguments)
        found, expected = ours.get_config(), theirs.get_config()
        assert plain(found) == plain(expected)
        assert type(ours).from_config(found).get_config() == found
        assert type(ours).from_config(expected).get_config() == found


def test_every_name_that_keras_has_for_a_layer_stands_for_it_here():
    names = [name for name in dir(keras.layers) if "Conv" in name and "LSTM" not in name]
    assert {getattr(keras.layers, name).__name__ for name in names} == set(CLASSES)
    for name in names:
        cls = CLASSES[getattr(keras.layers, name).__name__]
        assert LAYERS[name] is cls
        module = inspect.getmodule(cls)
        assert getattr(module, name) is cls


@pytest.mark.parametrize(("padding", "stride", "dilation"), [(0, 1, 1), (1, 1, 1), (1, 2, 1), (2, 1, 2)])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_convolution_is_that_of_torch_nn(rank: int, padding: int, stride: int, dilation: int):
    theirs = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)[rank - 1](3, 4, 3, stride, padding, dilation)
    sizes = (7, 9, 7)[:rank]  # odd sizes, where "same" pads both sides alike
    mode = "same" if padding else "valid"
    ours = CLASSES[f"Conv{rank}D"](4, 3, stride, mode, dilation_rate=dilation)
    x = torch.randn(2, 3, *sizes, requires_grad=True)
    ours.build((2, *sizes, 3))
    ours.set_weights([theirs.weight.detach().permute(*range(2, rank + 2), 1, 0), theirs.bias.detach()])
    found, expected = ours.to("cpu")(x.movedim(1, -1)).movedim(-1, 1), theirs(x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    weights = torch.randn_like(expected)
    mine = torch.autograd.grad(found, [x, ours.kernel], weights)
    other = torch.autograd.grad(expected, [x, theirs.weight], weights)
    torch.testing.assert_close(mine[0], other[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mine[1].permute(-1, -2, *range(rank)), other[1], rtol=1e-4, atol=1e-4)


def test_initial_kernels_have_the_spread_of_keras():
    for name, args, channels in (
        ("Conv2D", (64, 3), 32),
        ("DepthwiseConv2D", (5,), 128),
        ("Conv2DTranspose", (64, 3), 32),
    ):
        ours, theirs = pair(name, *args)
        ours.build((None, 8, 8, channels))
        theirs.build((None, 8, 8, channels))
        found, expected = ours.get_weights()[0], theirs.get_weights()[0]
        assert found.shape == expected.shape
        np.testing.assert_allclose(found.std(), expected.std(), rtol=0.05)
        np.testing.assert_allclose(np.abs(found).max(), np.abs(expected).max(), rtol=0.01)
