"""Zero padding and cropping: values, memory and errors. All forms are compared with Keras in tests/oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.layers.input import Input
from lamina.layers.padding import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)

PAIRS: list[tuple[Any, Any, Any]] = [
    (ZeroPadding1D, Cropping1D, (1, 2)),
    (ZeroPadding2D, Cropping2D, ((1, 2), (0, 3))),
    (ZeroPadding3D, Cropping3D, ((1, 2), (0, 3), (2, 0))),
]


@pytest.mark.parametrize(("padding", "cropping", "sides"), PAIRS)
def test_cropping_takes_off_what_padding_put_on(padding: Any, cropping: Any, sides: Any):
    x = torch.randn(2, *(4, 3, 5)[: padding.rank], 3)
    padded = padding(sides)(x)
    assert padded.count_nonzero() == x.numel() < padded.numel()
    assert torch.equal(cropping(sides)(padded), x)


def test_channels_first_data_are_padded_on_the_same_sides():
    x = torch.randn(2, 4, 3, 5)
    expected = ZeroPadding2D(((1, 2), (0, 3)))(x).movedim(-1, 1)
    assert torch.equal(ZeroPadding2D(((1, 2), (0, 3)), "channels_first")(x.movedim(-1, 1)), expected)


@pytest.mark.parametrize(
    ("cls", "cut"), [(Cropping1D, (0, 2)), (Cropping2D, 1), (Cropping3D, ((0, 1), (1, 0), (0, 0)))]
)
def test_cropping_moves_no_data(cls: Any, cut: Any):
    x = torch.randn(2, *(4, 4, 4)[: cls.rank], 3)
    assert cls(cut)(x).untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@pytest.mark.parametrize("cls", [ZeroPadding2D, Cropping2D])
def test_whole_numbers_stay_whole(cls: Any):
    x, layer = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1), cls(1)
    assert layer(x)[0, 1, 1, 0] == (0 if cls is ZeroPadding2D else 10)
    assert layer(Input((4, 4, 1), dtype="uint8")).dtype is layer(x).dtype is torch.uint8


@pytest.mark.parametrize(
    ("cls", "value", "message"),
    [
        (ZeroPadding1D, -1, r"ZeroPadding1D needs padding as whole numbers, at least 0(.|\n)*padding=-1"),
        (ZeroPadding1D, (1, 2, 3), r"one for each side(.|\n)*padding=1 or padding=\(1, 2\)(.|\n)*\(1, 2, 3\)"),
        (ZeroPadding1D, ((1, 2),), "ZeroPadding1D needs padding"),
        (ZeroPadding2D, (1, 2, 3), r"a pair for each axis(.|\n)*padding=\(\(1, 2\), \(1, 2\)\)"),
        (ZeroPadding2D, ((1, 2), (3, -4)), r"ZeroPadding2D needs padding(.|\n)*\(3, -4\)"),
        (ZeroPadding2D, 1.5, r"padding=1\.5"),
        (ZeroPadding3D, True, "padding=True"),
        (Cropping1D, "1", r"Cropping1D needs cropping as whole numbers(.|\n)*cropping='1'"),
        (Cropping2D, -1, r"Cropping2D needs cropping(.|\n)*cropping=-1"),
        (Cropping3D, (1, 2), r"Cropping3D needs cropping(.|\n)*cropping=\(1, 1, 1\)(.|\n)*cropping=\(1, 2\)"),
    ],
)
def test_what_is_no_number_of_positions_is_refused(cls: Any, value: Any, message: str):
    with pytest.raises(ArgumentError, match=message):
        cls(value)


def test_cropping_everything_is_refused_at_every_call():
    layer = Cropping2D(((1, 2), (0, 0)), name="c")
    message = r"'c': Cropping2D would cut off all(.|\n)*above \(3, 0\) on axes \(1, 2\)(.|\n)*\(1, 3, 5, 2\)"
    with pytest.raises(ShapeError, match=message):
        layer(torch.ones(1, 3, 5, 2))
    with pytest.raises(ShapeError, match="would cut off all"):
        layer(Input((3, 5, 2)))
    assert layer(torch.ones(1, 4, 5, 2)).shape == (1, 1, 5, 2)
    with pytest.raises(ShapeError, match=message):
        layer(torch.ones(1, 3, 5, 2))


def test_an_input_of_another_rank_is_refused():
    for layer in (ZeroPadding2D(), Cropping2D(1)):
        with pytest.raises(ShapeError, match=r"cannot take this input(.|\n)*4 axes"):
            layer(torch.ones(2, 8, 3))
