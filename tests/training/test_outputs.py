"""Collecting the outputs of batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

from lamina.errors import DataError, ShapeError
from lamina.training.outputs import Outputs


def collected(*batches):
    outputs = Outputs()
    for batch in batches:
        outputs.add(batch)
    return outputs.to_numpy()


def test_batches_are_joined_in_order():
    x = torch.arange(14.0).reshape(7, 2)
    found = collected(x[:3], x[3:6], x[6:])
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, x.numpy())


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


def test_the_form_of_the_outputs_is_kept():
    def batch(n):
        return {
            "a": torch.full((n, 2), n),
            "b": [torch.ones(n), (torch.zeros(n, 1),)],
            "c": Pair(torch.ones(n), n * torch.ones(n)),
        }

    found = collected(batch(2), batch(3))
    assert list(found) == ["a", "b", "c"] and isinstance(found["b"][1], tuple) and isinstance(found["c"], Pair)
    assert found["a"].tolist() == [[2, 2]] * 2 + [[3, 3]] * 3
    assert found["b"][1][0].shape == (5, 1)
    assert found["c"].right.tolist() == [2, 2, 3, 3, 3]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.int64, torch.bool, torch.complex64]
)
@pytest.mark.parametrize("count", [1, 2])
def test_dtypes_are_kept(dtype, count):
    found = collected(*[torch.ones(2, dtype=dtype)] * count)
    assert str(found.dtype) == str(dtype).removeprefix("torch.") and found.tolist() == [1] * 2 * count


@pytest.mark.parametrize("count", [1, 2])
def test_bfloat16_which_numpy_lacks_becomes_float32(count):
    found = collected(*[torch.full((2,), 1.5, dtype=torch.bfloat16)] * count)
    assert found.dtype == np.float32 and found.tolist() == [1.5] * 2 * count


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x.t(), lambda x: x[::2], lambda x: x.conj() * 1j])
@pytest.mark.parametrize("count", [1, 2])
def test_the_result_has_memory_of_its_own(view, count):
    source = torch.arange(6.0).reshape(3, 2)
    expected = np.concatenate([view(source).numpy()] * count)
    found = collected(*[view(source)] * count)
    source.fill_(-1)
    np.testing.assert_array_equal(found, expected)
    found[:] = 5
    assert (source == -1).all() and found.flags.writeable


def test_gradients_are_left_behind():
    found = collected(torch.ones(2, requires_grad=True) * 2)
    assert found.tolist() == [2, 2]


def test_views_that_torch_resolves_late_are_resolved():
    x = torch.tensor([1 + 2j])
    np.testing.assert_array_equal(collected(x.conj()), [1 - 2j])
    np.testing.assert_array_equal(collected(x.conj().imag), [-2])


def test_values_that_are_no_tensors_are_taken():
    assert collected([1, 2]) == [1, 2] and collected(np.ones(2)).tolist() == [1, 1]


def test_one_batch_may_be_a_single_number():
    assert collected(torch.tensor(3.0)).shape == ()


def test_no_batch_is_an_error():
    with pytest.raises(DataError, match="There is nothing to predict from: the data gave no batch"):
        collected()


@pytest.mark.parametrize(
    ("batches", "received"),
    [
        ([torch.ones(2, 3), torch.ones(2, 4)], "(2, 3), (2, 4)"),
        ([torch.ones(2), torch.ones(2, 1)], "(2, 1), (2,)"),
        ([torch.tensor(1.0), torch.tensor(2.0)], "()"),
    ],
)
def test_batches_that_do_not_join_are_shown(batches, received):
    with pytest.raises(ShapeError, match="The outputs of the batches cannot be joined") as caught:
        collected(*batches)
    assert caught.value.received == received
