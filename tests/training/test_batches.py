"""One batch: taken apart, weighed by class, and carried to the device."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError, DataError
from lamina.training.batches import (
    ClassWeights,
    batch_tensors,
    exact_device,
    move,
    move_batch,
    pack_x_y_sample_weight,
    unpack_batch,
    unpack_x_y_sample_weight,
)


@pytest.mark.parametrize(
    "given, x, y, weight",
    [
        (1, 1, None, None),
        ((1,), 1, None, None),
        ((1, 2), 1, 2, None),
        ((1, 2, 3), 1, 2, 3),
        ((1, None, 3), 1, None, 3),
        ({"a": 1}, {"a": 1}, None, None),
    ],
)
def test_batches_are_taken_apart(given, x, y, weight):
    assert unpack_batch(given) == (x, y, weight)
    assert unpack_x_y_sample_weight(given) == (x, y, weight)


def test_a_list_is_several_inputs_in_a_batch_and_a_tuple_in_a_train_step():
    assert unpack_batch([1, 2]) == ([1, 2], None, None)
    assert unpack_x_y_sample_weight([1, 2]) == (1, 2, None)


@pytest.mark.parametrize("given", [(), (1, 2, 3, 4)])
def test_a_tuple_of_another_length_cannot_be_taken_apart(given):
    with pytest.raises(DataError, match=f"a tuple of {len(given)} members"):
        unpack_batch(given)


@pytest.mark.parametrize("triple", [(1, None, None), ([1, 2], None, None), (1, 2, None), (1, 2, 3), (1, None, 3)])
def test_packing_is_undone_by_unpacking(triple):
    assert unpack_x_y_sample_weight(pack_x_y_sample_weight(*triple)) == triple


def test_a_batch_has_the_dtypes_that_models_receive():
    x, y, weight = batch_tensors(({"a": np.zeros(2), "b": [1, 2]}, np.zeros(2, "uint8"), np.array([1, 2])))
    assert (x["a"].dtype, x["b"].dtype, y.dtype, weight.dtype) == (
        torch.float32,
        torch.int64,
        torch.uint8,
        torch.float32,
    )


def test_moving_casts_and_copies_nothing_that_is_there_already():
    tensor = torch.ones(2)
    assert move(tensor, torch.device("cpu"), torch.float32) is tensor
    assert move(tensor, torch.device("cpu"), torch.float64).dtype is torch.float64
    assert move(tensor, torch.device("meta"), torch.float64).device.type == "meta"
    assert move_batch(([tensor], None, {"w": tensor}), torch.device("cpu"))[0][0] is tensor


def test_a_device_without_an_index_stays_as_it_is_except_on_cuda():
    assert exact_device(torch.device("cpu")) == torch.device("cpu")
    assert exact_device(torch.device("cuda", 3)) == torch.device("cuda", 3)


LABELS = [0, 2, 1, 2, 4]
WEIGHTS = {0: 0.5, 2: 3.0, 3: 9.0}
EXPECTED = [0.5, 3.0, 1.0, 3.0, 1.0]


@pytest.mark.parametrize(
    "y",
    [
        torch.tensor(LABELS),
        torch.tensor(LABELS, dtype=torch.uint8),
        torch.tensor(LABELS)[:, None],
        torch.tensor(LABELS, dtype=torch.float32) + 1e-4,
        torch.eye(5)[LABELS],
        torch.eye(5, dtype=torch.bool)[LABELS],
    ],
    ids=["integers", "uint8", "a column", "floats", "one-hot", "boolean one-hot"],
)
def test_class_weights_follow_the_class_whatever_its_form(y):
    assert ClassWeights(WEIGHTS).apply(y, None).tolist() == EXPECTED


def test_labels_outside_of_the_table_weigh_one():
    assert ClassWeights({1: 5.0}).apply(torch.tensor([-1, -100, 1, 99]), None).tolist() == [1, 1, 5, 1]


def test_class_numbers_may_be_numpys_or_whole_floats():
    weights = ClassWeights({np.int64(0): np.float32(2.0), 1.0: 3})
    assert weights.apply(torch.tensor([0, 1]), None).tolist() == [2, 3]


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 2)])
def test_class_weights_multiply_sample_weights_of_any_shape(shape):
    given = torch.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    weighed = ClassWeights(WEIGHTS).apply(torch.tensor(LABELS), given)
    np.testing.assert_allclose(weighed, given.numpy() * np.reshape(EXPECTED, (5, *[1] * (len(shape) - 1))))


@pytest.mark.parametrize("given", [[1.0, 2.0], {}, {"cat": 2.0}, {-1: 2.0}, {0.5: 1.0}, {0: "heavy"}])
def test_class_weights_that_are_none_are_refused(given):
    with pytest.raises(ArgumentError, match="class_weight is not a weight for each class"):
        ClassWeights(given)


def test_a_class_that_one_hot_targets_do_not_have_is_refused():
    with pytest.raises(ArgumentError, match="class numbers from 0 to 2, as one-hot targets have 3 columns"):
        ClassWeights({3: 2.0}).apply(torch.eye(3), None)


@pytest.mark.parametrize(
    "y, weight, words",
    [
        (None, None, "no targets"),
        ([torch.zeros(2), torch.zeros(2)], None, "a list of targets"),
        (torch.zeros(2, 3, 4), None, "targets of shape (2, 3, 4)"),
        (torch.zeros(2), {"a": torch.zeros(2)}, "a dict of sample weights"),
    ],
)
def test_class_weights_need_one_output_of_classes(y, weight, words):
    with pytest.raises(DataError, match=re.escape(words)):
        ClassWeights({0: 2.0}).apply(y, weight)
