"""Transposed convolutions: shapes, weights and errors. Their numbers are compared in tests/oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.layers.conv_transpose import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
    TransposedConvolution,
)
from lamina.layers.input import Input

CLASSES: dict[int, type[TransposedConvolution]] = {1: Conv1DTranspose, 2: Conv2DTranspose, 3: Conv3DTranspose}


def test_each_input_spreads_its_kernel_and_overlaps_add_up():
    layer = Conv1DTranspose(1, 3, strides=2, use_bias=False)
    layer.build((None, 2, 1))
    layer.set_weights([[[[1.0]], [[10.0]], [[100.0]]]])
    x = torch.tensor([1.0, 2.0]).view(1, 2, 1)
    assert layer(x).flatten().tolist() == [1.0, 10.0, 102.0, 20.0, 200.0]
    same = Conv1DTranspose(1, 3, strides=2, padding="same", use_bias=False)
    same.build((None, 2, 1))
    same.set_weights(layer.get_weights())
    assert same(x).flatten().tolist() == [1.0, 10.0, 102.0, 20.0]


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_same_padding_multiplies_sizes_by_the_strides(rank: int, data_format: str):
    last = data_format == "channels_last"
    layer = CLASSES[rank](4, 3, 2, "same", data_format=data_format)
    shape = (2, *(4, 5, 3)[:rank], 3) if last else (2, 3, *(4, 5, 3)[:rank])
    expected = (2, *(8, 10, 6)[:rank], 4) if last else (2, 4, *(8, 10, 6)[:rank])
    assert layer(torch.ones(shape)).shape == layer.compute_output_shape(shape) == expected
    unknown = (*[None] * rank, 3) if last else (3, *[None] * rank)
    assert layer(Input(unknown)).shape == ((None, *[None] * rank, 4) if last else (None, 4, *[None] * rank))


def test_a_kernel_has_the_shape_of_keras_in_the_memory_of_torch():
    layer = Conv2DTranspose(8, (3, 2))
    layer.build((None, 5, 5, 4))
    assert [tuple(w.shape) for w in layer.weights] == [(3, 2, 8, 4), (8,)]
    assert layer.kernel.permute(3, 0, 1, 2).is_contiguous()


def test_the_third_place_from_padding_on_is_that_of_keras():
    plane, volume = Conv2DTranspose(4, 3, 2, "same", 1), Conv3DTranspose(4, 3, 2, "same", "channels_first", 1)
    assert plane.output_padding == (1, 1)
    assert (volume.data_format, volume.output_padding) == ("channels_first", (1, 1, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 0}, "Conv2DTranspose needs filters above zero"),
        ({"padding": "causal"}, r"Conv2DTranspose has no such padding(.|\n)*only Conv1D"),
        ({"strides": 2, "dilation_rate": 2}, "Conv2DTranspose cannot have strides and a dilation at once"),
        ({"output_padding": -1}, r"Conv2DTranspose needs output_padding(.|\n)*at least 0"),
        (
            {"strides": (3, 2), "output_padding": 2},
            r"Conv2DTranspose needs an output_padding below its strides(.|\n)*at most \(2, 1\)(.|\n)*\(2, 2\)",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        Conv2DTranspose(**{"filters": 4, "kernel_size": 3, **arguments})


def test_another_number_of_channels_than_at_first_is_refused():
    layer = Conv2DTranspose(4, 3, name="c")
    layer(torch.ones(1, 4, 4, 3))
    with pytest.raises(ShapeError, match=r"'c'(.|\n)*3 on axis -1(.|\n)*\(1, 4, 4, 5\)"):
        layer(torch.ones(1, 4, 4, 5))
    assert layer(torch.ones(1, 1, 1, 3)).shape == (1, 3, 3, 4)
