"""Depthwise and separable convolutions: shapes, weights and errors. Their numbers are compared in tests/oracle."""

from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.layers.convolution import Conv2D
from lamina.layers.depthwise import DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D
from lamina.layers.input import Input


def test_each_channel_has_kernels_of_its_own():
    layer = DepthwiseConv1D(2, depth_multiplier=2, use_bias=False)
    layer.build((None, 2, 2))
    layer.set_weights([[[[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]]]])
    x = torch.tensor([[[1.0, 10.0], [1.0, 10.0]]])
    assert layer(x).flatten().tolist() == [2.0, 4.0, 60.0, 80.0]


def test_a_separable_convolution_is_a_depthwise_one_and_a_pointwise_one():
    separable, x = SeparableConv2D(5, 3, 2, "same", depth_multiplier=2), torch.randn(2, 8, 9, 3)
    separable(x)
    depthwise, pointwise = DepthwiseConv2D(3, 2, "same", 2, use_bias=False), Conv2D(5, 1)
    middle = depthwise(x)
    pointwise(middle)
    first, second, bias = separable.get_weights()
    depthwise.set_weights([first])
    pointwise.set_weights([second, bias + 1])
    separable.set_weights([first, second, bias + 1])
    torch.testing.assert_close(separable(x), pointwise(depthwise(x)))


def test_weights_have_the_shapes_of_keras_in_the_memory_of_torch():
    layer = SeparableConv2D(8, (3, 2), depth_multiplier=2)
    layer.build((None, 5, 5, 4))
    assert [tuple(w.shape) for w in layer.weights] == [(3, 2, 4, 2), (1, 1, 8, 8), (8,)]
    assert layer.depthwise_kernel.permute(2, 3, 0, 1).is_contiguous()
    assert layer.pointwise_kernel.permute(3, 0, 1, 2).is_contiguous()
    assert [name for name, _ in layer.named_parameters()] == ["depthwise_kernel", "pointwise_kernel", "bias"]


@pytest.mark.parametrize("cls", [DepthwiseConv1D, DepthwiseConv2D, SeparableConv1D, SeparableConv2D])
def test_unknown_sizes_stay_unknown(cls: type):
    layer = cls(4, 3) if cls.__name__.startswith("Separable") else cls(3, depth_multiplier=2)
    assert layer(Input((*[None] * layer.rank, 2))).shape == (None, *[None] * layer.rank, 4)


@pytest.mark.parametrize("cls", [DepthwiseConv2D, SeparableConv2D])
def test_strides_and_dilation_go_together_here_as_in_keras(cls: type):
    layer = cls(*(4, 3) if cls is SeparableConv2D else (3,), strides=2, dilation_rate=2)
    assert layer(torch.ones(1, 9, 9, 4)).shape == layer.compute_output_shape((1, 9, 9, 4)) == (1, 3, 3, 4)


def test_arguments_that_do_not_fit_are_refused():
    with pytest.raises(ArgumentError, match="DepthwiseConv2D needs depth_multiplier above zero"):
        DepthwiseConv2D(3, depth_multiplier=0)
    with pytest.raises(ArgumentError, match="SeparableConv1D needs filters above zero"):
        SeparableConv1D(-1, 3)
    with pytest.raises(ArgumentError, match=r"SeparableConv1D has no such padding(.|\n)*only Conv1D"):
        SeparableConv1D(4, 3, padding="causal")
    with pytest.raises(ArgumentError, match="DepthwiseConv1D needs kernel_size"):
        DepthwiseConv1D((3, 3))


def test_an_unknown_or_another_number_of_channels_is_refused():
    layer = DepthwiseConv2D(3, name="d")
    with pytest.raises(ShapeError, match="number of channels is not known"):
        layer(Input((8, 8, None)))
    layer(torch.ones(1, 8, 8, 3))
    with pytest.raises(ShapeError, match=r"'d'(.|\n)*3 on axis -1(.|\n)*\(1, 8, 8, 5\)"):
        layer(torch.ones(1, 8, 8, 5))
