"""What all layers over signals, images and volumes have in common: precision, compilation, shapes and paddings."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina import dtypes
from lamina.errors import ArgumentError
from lamina.layers import conv_transpose, convolution, depthwise, global_pooling, padding, pooling, upsampling
from lamina.layers.input import Input
from lamina.layers.spatial import WindowSpec, padding_mode, resized, spatial_axes
from lamina.registry import LAYERS

MODULES = (convolution, conv_transpose, depthwise, pooling, global_pooling, padding, upsampling)
CLASSES: list[Any] = [
    vars(module)[name]
    for module in MODULES
    for name in LAYERS
    if getattr(vars(module).get(name), "__module__", None) == module.__name__
]


def make(cls: Any, **kwargs: Any) -> Any:
    """A layer with odd windows and padding on one side only, where it has such arguments."""
    name = cls.__name__
    if name.startswith(("Conv", "Separable")):
        return cls(4, 3, 2, "same", **kwargs)
    if name.startswith("Depthwise"):
        return cls(3, 2, "same", **kwargs)
    if name.startswith(("Max", "Average")):
        return cls(3, 2, "same", **kwargs)
    return cls(**kwargs)


def data(layer: Any, *sizes: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(2, *sizes[: layer.rank], 4, dtype=dtype)


def test_every_layer_is_looked_at():
    assert len(CLASSES) == 3 + 3 + 4 + 6 + 6 + 6 + 3


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16"])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_layer_gives_the_dtype_that_it_promises_and_the_numbers_of_full_precision(cls: Any, policy: str):
    dtypes.set_global_policy(policy)
    layer, kind = make(cls), torch.float64 if policy == "float64" else torch.float32
    x = data(layer, 6, 8, 4, dtype=kind)
    promised = layer(Input(batch_shape=x.shape, dtype=str(kind).removeprefix("torch.")))
    found = layer(x)
    assert promised.dtype is found.dtype
    assert promised.shape == found.shape
    dtypes.set_global_policy("float64")
    full = make(cls)
    full.build(x.shape)
    full.set_weights(layer.get_weights())
    tolerance = 0.1 if found.dtype is torch.bfloat16 else 1e-5
    torch.testing.assert_close(found.double(), full(x.double()), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cls", CLASSES)
def test_a_layer_compiles_into_one_graph_for_any_batch_size(cls: Any):
    layer = make(cls)
    x = data(layer, 6, 8, 4)
    expected = layer(x)
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), expected)
    torch.testing.assert_close(compiled(x[:1]), expected[:1], rtol=1e-4, atol=1e-5)


def test_spatial_axes_are_neither_samples_nor_channels():
    assert list(spatial_axes(3, "channels_last")) == [1, 2, 3]
    assert list(spatial_axes(1, "channels_first")) == [2]


def test_sizes_are_put_where_the_data_format_has_them():
    assert resized((7, 5, 5, 3), (2, None), "channels_last") == (7, 2, None, 3)
    assert resized((7, 3, 5, 5), (2, None), "channels_first", 9) == (7, 9, 2, None)


def test_a_padding_is_known_in_any_case_and_nothing_else_is():
    assert padding_mode("Valid", "X") == "valid"
    assert padding_mode("causal", "X", ("valid", "same", "causal")) == "causal"
    for wrong in (None, 1, ("valid",), "", "full"):
        with pytest.raises(ArgumentError, match=r"X has no such padding(.|\n)*'valid' or 'same'"):
            padding_mode(wrong, "X")


def test_a_window_spec_names_the_least_sizes_and_lets_unknown_ones_pass():
    spec = WindowSpec("channels_first", (3, 5), channels=2)
    assert spec.problem((None, 2, 3, 5)) is None
    assert spec.problem((None, 2, None, None)) is None
    assert spec.problem((8, 2, 3, 4)) == ("4 axes, sizes of at least (3, 5) on axes (2, 3)", "shape (8, 2, 3, 4)")
    assert spec.problem((8, 1, 3, 5)) == ("4 axes with 2 on axis 1", "shape (8, 1, 3, 5)")
