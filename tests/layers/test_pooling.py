"""Max and average pooling: shapes, edges and errors. Their numbers are compared in tests/oracle and tests/kernels."""

from __future__ import annotations

from math import ceil
from typing import Any

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.layers import pooling
from lamina.layers.input import Input
from lamina.layers.pooling import AveragePooling1D, AveragePooling2D, MaxPooling1D, MaxPooling2D, Pooling

CLASSES: list[type[Pooling]] = [
    getattr(pooling, f"{kind}Pooling{rank}D") for kind in ("Max", "Average") for rank in (1, 2, 3)
]


def test_document_001s_layers_have_its_shapes_and_no_weights():
    layer = MaxPooling2D(pool_size=2, strides=2)
    assert layer(Input((100, 100, 15))).shape == (None, 50, 50, 15)
    assert layer.count_params() == 0
    assert MaxPooling2D(pool_size=2, strides=1)(Input((100, 100, 15))).shape == (None, 99, 99, 15)


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(("window", "stride"), [(1, 1), (2, 2), (3, 1), (3, 2), (2, 3)])
def test_the_number_of_windows_follows_document_001s_formulas(cls: type[Pooling], window: int, stride: int):
    sizes = (7, 9, 5)[: cls.rank]
    expected = {
        "same": [ceil(n / stride) for n in sizes],
        "valid": [ceil((n - window + 1) / stride) for n in sizes],
    }
    for padding, counts in expected.items():
        layer = cls(window, stride, padding)
        assert layer.compute_output_shape((None, *sizes, 2)) == (None, *counts, 2)
        assert layer(Input((*sizes, 2))).shape == (None, *counts, 2)
        assert layer(torch.ones(3, *sizes, 2)).shape == (3, *counts, 2)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("cls", CLASSES)
def test_unknown_sizes_stay_unknown_and_any_size_can_follow(cls: type[Pooling], data_format: str):
    layer, last = cls(2, data_format=data_format), data_format == "channels_last"
    unknown = (*[None] * cls.rank, 3) if last else (3, *[None] * cls.rank)
    assert layer(Input(unknown)).shape == (None, *unknown)
    for size in (2, 5):
        shape = (1, *(size,) * cls.rank, 3) if last else (1, 3, *(size,) * cls.rank)
        assert layer(torch.ones(shape)).shape == layer.compute_output_shape(shape)


def test_nothing_beyond_the_edge_takes_part():
    x = -torch.ones(1, 5, 5, 2)
    for layer in (MaxPooling2D(3, 2, "same"), AveragePooling2D(3, 2, "same"), AveragePooling2D(2, 1, "same")):
        assert torch.equal(layer(x), -torch.ones(layer.compute_output_shape((1, 5, 5, 2))))


def test_strides_are_the_windows_size_unless_given():
    assert MaxPooling2D((3, 2)).strides == (3, 2)
    assert MaxPooling2D((3, 2)).get_config()["strides"] == (3, 2)
    assert MaxPooling1D(3, 2).strides == (2,)


@pytest.mark.parametrize("cls", CLASSES)
def test_an_empty_batch_gives_an_empty_batch(cls: type[Pooling]):
    assert cls(2, padding="same")(torch.ones(0, *(5,) * cls.rank, 3)).shape == (0, *(3,) * cls.rank, 3)


def test_a_symbolic_maximum_of_whole_numbers_stays_whole():
    x = torch.tensor([3, 1, 2, 7]).view(1, 4, 1)
    layer = MaxPooling1D(2)
    assert layer(x).flatten().tolist() == [3, 7]
    assert layer(Input((4, 1), dtype="int64")).dtype is layer(x).dtype is torch.int64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), r"MaxPooling2D needs pool_size(.|\n)*pool_size=0"),
        (((2, 2, 2),), r"MaxPooling2D needs pool_size(.|\n)*\(2, 2, 2\)"),
        ((2, 0), r"MaxPooling2D needs strides(.|\n)*strides=0"),
        ((2, 2, "causal"), r"MaxPooling2D has no such padding(.|\n)*only Conv1D"),
        ((2, 2, "vaild"), r"MaxPooling2D has no such padding(.|\n)*did you mean 'valid'"),
        ((2, 2, "valid", "first"), "Unknown data format"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ArgumentError, match=message):
        MaxPooling2D(*arguments)


def test_an_input_smaller_than_the_window_is_refused_before_and_after_building():
    layer = AveragePooling1D(3, name="p")
    message = r"'p': The window of AveragePooling1D does not fit(.|\n)*at least 3 on axis 1(.|\n)*\(1, 2, 4\)"
    with pytest.raises(ShapeError, match=message):
        layer(torch.ones(1, 2, 4))
    with pytest.raises(ShapeError, match="does not fit"):
        layer(Input((2, 4)))
    layer(torch.ones(1, 3, 4))
    with pytest.raises(ShapeError, match=r"'p'(.|\n)*sizes of at least \(3,\) on axes \(1,\)(.|\n)*\(1, 2, 4\)"):
        layer(torch.ones(1, 2, 4))


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(ShapeError, match=r"MaxPooling2D cannot take this input(.|\n)*4 axes(.|\n)*3 axes"):
        MaxPooling2D()(torch.ones(8, 8, 3))
