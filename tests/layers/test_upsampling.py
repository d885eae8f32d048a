"""Upsampling: values, shapes and errors. All interpolations are compared with Keras in tests/oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.layers.input import Input
from lamina.layers.upsampling import UpSampling1D, UpSampling2D, UpSampling3D


@pytest.mark.parametrize(("cls", "size"), [(UpSampling1D, 3), (UpSampling2D, (2, 3)), (UpSampling3D, (2, 1, 3))])
def test_every_value_is_repeated_along_every_axis(cls: Any, size: Any):
    x = torch.randn(2, *(4, 3, 5)[: cls.rank], 3)
    expected = x
    for axis, factor in enumerate(size if isinstance(size, tuple) else (size,), start=1):
        expected = expected.repeat_interleave(factor, dim=axis)
    layer = cls(size)
    assert torch.equal(layer(x), expected)
    assert layer.compute_output_shape(x.shape) == layer(Input(batch_shape=x.shape)).shape == expected.shape
    assert layer(Input((*[None] * cls.rank, 3))).shape == (None, *[None] * cls.rank, 3)


def test_bilinear_values_lie_between_their_neighbours():
    x = torch.tensor([0.0, 4.0]).view(1, 1, 2, 1)
    assert UpSampling2D((1, 4), interpolation="bilinear")(x).flatten().tolist() == [0, 0, 0.5, 1.5, 2.5, 3.5, 4, 4]


def test_the_size_of_a_signal_is_a_number_and_that_of_an_image_a_tuple():
    assert UpSampling1D(3).get_config()["size"] == 3
    assert UpSampling2D(3).get_config()["size"] == (3, 3)


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (UpSampling1D, {"size": 0}, r"UpSampling1D needs size above zero(.|\n)*size=0"),
        (UpSampling1D, {"size": (2,)}, "UpSampling1D needs size above zero"),
        (UpSampling2D, {"size": (2, 0)}, r"UpSampling2D needs size(.|\n)*\(2, 0\)"),
        (UpSampling3D, {"size": (2, 2)}, r"UpSampling3D needs size(.|\n)*\(2, 2\)"),
        (UpSampling2D, {"interpolation": "bilinaer"}, r"no such interpolation(.|\n)*did you mean 'bilinear'"),
        (UpSampling2D, {"interpolation": "lanczos3"}, r"no such interpolation(.|\n)*'lanczos3'(.|\n)*use 'bicubic'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(cls: Any, arguments: dict[str, Any], message: str):
    with pytest.raises(ArgumentError, match=message):
        cls(**arguments)


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(ShapeError, match=r"UpSampling2D cannot take this input(.|\n)*4 axes"):
        UpSampling2D()(torch.ones(2, 8, 3))
