"""Global pooling: shapes, masks, dtypes and errors. Its numbers are compared in tests/oracle."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ShapeError
from lamina.layers import global_pooling
from lamina.layers.core import Masking
from lamina.layers.global_pooling import GlobalAveragePooling1D, GlobalAveragePooling2D, GlobalMaxPooling1D
from lamina.layers.input import Input
from lamina.models import Model

CLASSES: list[Any] = [
    getattr(global_pooling, f"Global{kind}Pooling{rank}D") for kind in ("Max", "Average") for rank in (1, 2, 3)
]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("cls", CLASSES)
def test_shapes_agree_and_unknown_sizes_do_not_matter(cls: Any, data_format: str, keepdims: bool):
    layer, last = cls(data_format, keepdims), data_format == "channels_last"
    sizes, ones = (4, 3, 5)[: cls.rank], (1,) * cls.rank if keepdims else ()
    shape = (2, *sizes, 6) if last else (2, 6, *sizes)
    expected = (*ones, 6) if last else (6, *ones)
    assert layer(torch.ones(shape)).shape == layer.compute_output_shape(shape) == (2, *expected)
    unknown = (*[None] * cls.rank, 6) if last else (6, *[None] * cls.rank)
    assert layer(Input(unknown)).shape == (None, *expected)


def test_a_mask_is_found_on_the_input_and_ends_there():
    x = torch.tensor([[[2.0], [4.0], [60.0]]])
    set_mask(x, torch.tensor([[True, True, False]]))
    y = GlobalAveragePooling1D()(x)
    assert y.tolist() == [[3.0]]
    assert get_mask(y) is None


def test_a_mask_travels_through_a_model():
    inputs = Input((None, 1))
    model = Model(inputs, GlobalAveragePooling1D()(Masking()(inputs)))
    assert model(torch.tensor([[[2.0], [4.0], [0.0]], [[3.0], [0.0], [0.0]]])).tolist() == [[3.0], [3.0]]


def test_a_sample_of_which_no_step_counts_has_no_average():
    y = GlobalAveragePooling1D()(torch.ones(1, 2, 1), mask=torch.zeros(1, 2, dtype=torch.bool))
    assert y.isnan().all()


def test_the_maximum_takes_no_heed_of_a_mask_as_in_keras():
    x = torch.tensor([[[2.0], [4.0]]])
    set_mask(x, torch.tensor([[True, False]]))
    assert GlobalMaxPooling1D()(x).tolist() == [[4.0]]


def test_whole_numbers_have_a_float_average():
    x = torch.tensor([0, 1], dtype=torch.uint8).view(1, 1, 2, 1)
    layer = GlobalAveragePooling2D()
    assert layer(x).tolist() == [[0.5]]
    assert layer(Input((1, 2, 1), dtype="uint8")).dtype is torch.float32
    masked = GlobalAveragePooling1D()(x[0], mask=torch.tensor([[True, True]]))
    assert masked.tolist() == [[0.5]]


def test_an_input_of_another_rank_is_refused():
    with pytest.raises(ShapeError, match=r"GlobalAveragePooling2D cannot take this input(.|\n)*4 axes"):
        GlobalAveragePooling2D()(torch.ones(2, 8, 3))
