from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from lamina import config
from lamina.errors import DtypeError, ShapeError
from lamina.losses.alignment import align_ranks, as_float, as_tensor, elementwise_pair, float_pair, refuse_pairwise


def test_a_tensor_is_taken_as_it_is() -> None:
    x = torch.zeros(2)
    assert as_tensor(x) is x


def test_an_array_keeps_its_dtype_and_memory() -> None:
    array = np.arange(3, dtype="int16")
    tensor = as_tensor(array)
    array[0] = 7
    assert tensor.dtype == torch.int16 and tensor.tolist() == [7, 1, 2]


def test_floats_of_python_become_floatx() -> None:
    assert as_tensor([0.5]).dtype == torch.float32
    assert as_tensor(np.array([0.5])).dtype == torch.float64
    config.set_floatx("float64")
    assert as_tensor([0.5]).dtype == torch.float64


@pytest.mark.parametrize(
    "value",
    [np.arange(6)[::-2], np.broadcast_to(np.float32([1, 2, 3]), (2, 3)), pd.Series([1.5, 2.5]), (1, 2), np.float32(3)],
)
def test_arrays_of_any_layout_are_taken_without_a_warning(value: Any) -> None:
    np.testing.assert_array_equal(as_tensor(value), np.asarray(value))


def test_a_list_of_tensors_is_stacked() -> None:
    assert as_tensor([torch.tensor([1, 2]), torch.tensor([3, 4])]).tolist() == [[1, 2], [3, 4]]


def test_words_are_refused_with_the_way_to_number_them() -> None:
    with pytest.raises(DtypeError, match=r"computed from numbers(.|\n)*np.unique\(y, return_inverse=True\)"):
        as_tensor(["cat", "dog"])


def test_integers_become_floats_and_floats_stay() -> None:
    assert as_float([1]).dtype == torch.float32
    assert as_float(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_labels_take_the_dtype_of_the_predictions() -> None:
    y_true, y_pred = float_pair(np.array([1, 0]), torch.zeros(2, dtype=torch.float64))
    assert y_true.dtype == y_pred.dtype == torch.float64


@pytest.mark.parametrize(
    ("a", "b", "aligned"),
    [
        ((4,), (4, 1), ((4, 1), (4, 1))),
        ((4, 1), (4,), ((4, 1), (4, 1))),
        ((4, 5), (4, 5, 1), ((4, 5), (4, 5))),
        ((4, 5, 1), (4, 5), ((4, 5), (4, 5))),
        ((4,), (4, 3), ((4,), (4, 3))),
        ((4,), (4, 1, 1), ((4,), (4, 1, 1))),
        ((4, 1), (4, 3), ((4, 1), (4, 3))),
    ],
)
def test_only_one_axis_of_size_1_at_the_end_is_aligned(a: Any, b: Any, aligned: Any) -> None:
    assert tuple(tuple(t.shape) for t in align_ranks(torch.zeros(a), torch.zeros(b))) == aligned


@pytest.mark.parametrize(("true", "pred"), [((3,), (3, 3)), ((3, 1), (1, 3)), ((3, 4), (3, 1)), ((2,), (3,))])
def test_labels_never_meet_predictions_pairwise(true: Any, pred: Any) -> None:
    with pytest.raises(ShapeError, match="mse compares each label with one prediction, and these shapes do not pair"):
        elementwise_pair(torch.zeros(true), torch.zeros(pred), "mse")


def test_labels_may_be_repeated_over_axes_of_their_own() -> None:
    for shape in [(3, 1), (1, 4), ()]:
        assert elementwise_pair(torch.zeros(shape), torch.zeros(3, 4), "mse")[0].shape == (3, 4)


def test_a_pairwise_result_is_refused() -> None:
    y = torch.zeros(3, 1)
    with pytest.raises(ShapeError, match=r"'f' compared every label with every prediction(.|\n)*shape \(3, 3\)"):
        refuse_pairwise(y.squeeze() - y, y, y, "f")
    with pytest.raises(ShapeError, match="'f' compared every label with every prediction"):
        refuse_pairwise(torch.zeros(3, 3), torch.zeros(3), torch.zeros(3), "f")


def test_a_result_of_too_many_axes_is_refused() -> None:
    with pytest.raises(ShapeError, match="'f' gave more axes than it was given"):
        refuse_pairwise(torch.zeros(3, 4, 5), torch.zeros(3, 4), torch.zeros(3, 4), "f")


@pytest.mark.parametrize("shape", [(), (3,), (3, 1), (3, 2)])
def test_other_results_pass(shape: Any) -> None:
    refuse_pairwise(torch.zeros(shape), torch.zeros(3, 1), torch.zeros(3, 1), "f")
    refuse_pairwise(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), "f")


def test_a_result_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(DtypeError, match="'f' must return a tensor"):
        refuse_pairwise(0.5, torch.zeros(3), torch.zeros(3), "f")
