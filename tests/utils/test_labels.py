"""One-hot rows and vectors of length one."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from lamina import config
from lamina.errors import ArgumentError, TargetError
from lamina.utils import normalize, to_categorical

ONE_HOT = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize(
    "x",
    [
        [0, 2],
        (0, 2),
        [[0], [2]],
        np.array([0, 2], "uint8"),
        np.array([0.0, 2.0]),
        np.array([0, 2], object),
        pd.Series([0, 2]),
        pd.Series([0, 2], dtype="Int64"),
        torch.tensor([0, 2]),
        torch.tensor([[0.0], [2.0]], requires_grad=True),
        torch.tensor([0, 2], dtype=torch.bfloat16),
    ],
    ids=lambda x: f"{type(x).__name__} {getattr(x, 'dtype', '')}",
)
def test_class_numbers_of_any_kind_become_one_hot_rows(x):
    found = to_categorical(x)
    assert isinstance(found, torch.Tensor) == isinstance(x, torch.Tensor)
    assert str(found.dtype).endswith("float32")
    assert found.tolist() == ONE_HOT


def test_the_number_of_classes_may_be_given():
    assert to_categorical([0, 1], 4).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert to_categorical(torch.tensor([1]), np.int64(2)).tolist() == [[0, 1]]


def test_the_shape_is_that_of_the_indices_with_an_axis_of_classes():
    x = np.array([[0, 1, 2], [2, 1, 0]])
    found = to_categorical(x, 5)
    assert found.shape == (2, 3, 5)
    np.testing.assert_array_equal(found.argmax(-1), x)
    np.testing.assert_array_equal(found.sum(-1), 1)
    assert to_categorical(3).tolist() == [0, 0, 0, 1]
    assert to_categorical([[[1]]]).shape == (1, 1, 2)
    assert to_categorical([True, False]).tolist() == [[0, 1], [1, 0]]


def test_no_indices_give_no_rows():
    assert to_categorical([]).shape == (0, 0)
    assert to_categorical(np.zeros((0,), int), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "count", "received", "expected", "fix"),
    [
        ([0, 3], 3, "3", "whole numbers from 0 to 2", "pass num_classes=4"),
        ([0, 5, 9], 3, "9", "whole numbers from 0 to 2", "pass num_classes=10"),
        ([0, -1], 3, "-1", "whole numbers from 0 to 2", "number the classes from 0"),
        ([-1, 9], 3, "-1", "whole numbers from 0 to 2", "number the classes from 0"),
        ([-1], None, "-1", "whole numbers from 0", "number the classes from 0"),
        ([0], 0, "0", "whole numbers from 0", "pass num_classes=1"),
    ],
)
def test_an_index_out_of_range_is_named(x, count, received, expected, fix):
    for given in (x, torch.tensor(x)):
        with pytest.raises(TargetError, match="A class index is out of range") as caught:
            to_categorical(given, count)
        assert (caught.value.received, caught.value.expected, caught.value.fix) == (received, expected, fix)


@pytest.mark.parametrize(
    ("x", "received"),
    [([0, 1.5], "1.5"), ([math.nan], "nan"), ([math.inf], "inf"), (["cat", "dog"], "'cat'"), ([None, 1], "None")],
)
def test_what_is_no_whole_number_is_refused(x, received):
    with pytest.raises(TargetError, match="Only class numbers become one-hot rows") as caught:
        to_categorical(x)
    assert caught.value.received == received and "np.unique" in caught.value.fix


@pytest.mark.parametrize("count", [-1, 2.0, "3", True])
def test_the_number_of_classes_must_be_a_whole_number(count):
    with pytest.raises(ArgumentError, match="num_classes cannot be used"):
        to_categorical([0], count)


def test_vectors_are_scaled_to_length_one():
    x = np.random.RandomState(0).randn(3, 4, 5)
    for order in (1, 2, 3, np.inf):
        for axis in (-1, 0, 1):
            for given in (x, torch.from_numpy(x), x.tolist()):
                lengths = np.linalg.norm(np.asarray(normalize(given, axis, order)), order, axis)
                np.testing.assert_allclose(lengths, 1, rtol=1e-6)


@pytest.mark.parametrize("given", [[3, 4], np.array([3, 4]), torch.tensor([3, 4]), torch.tensor([3.0, 4.0])])
def test_whole_numbers_become_floats(given):
    np.testing.assert_allclose(normalize(given), [0.6, 0.8], rtol=1e-6)


def test_a_tensor_stays_a_tensor_of_its_dtype():
    config.set_floatx("float64")
    assert normalize(torch.tensor([3, 4])).dtype == torch.float64
    assert normalize(torch.ones(2, dtype=torch.float16)).dtype == torch.float16


def test_vectors_of_length_zero_stay_zero():
    for zeros in (np.zeros((2, 3)), torch.zeros(2, 3)):
        assert np.asarray(normalize(zeros)).tolist() == [[0, 0, 0]] * 2


def test_gradients_pass_through_normalize():
    x = torch.tensor([[3.0, 4.0]], requires_grad=True)
    normalize(x)[0, 0].backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad, [[0.128, -0.096]], rtol=1e-5)


@pytest.mark.parametrize("order", [0, -1, 0.5, math.nan, "x", None, True])
@pytest.mark.parametrize("x", [np.ones((2, 2)), torch.ones(2, 2)])
def test_an_order_below_one_is_refused(order, x):
    with pytest.raises(ArgumentError, match="There is no norm of this order"):
        normalize(x, order=order)


@pytest.mark.parametrize("axis", [2, -3, None, (0, 1), 0.0])
@pytest.mark.parametrize("x", [np.ones((2, 2)), torch.ones(2, 2)])
def test_an_axis_that_is_not_there_is_refused(axis, x):
    with pytest.raises(ArgumentError, match="There is no such axis") as caught:
        normalize(x, axis)
    assert caught.value.expected == "from -2 to 1"
