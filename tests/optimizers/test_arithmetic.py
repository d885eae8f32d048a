from __future__ import annotations

import pytest
import torch

from lamina.optimizers import arithmetic

FACTORS = [0.25, torch.tensor(0.25), torch.tensor(0.25, dtype=torch.float64)]


def tensors(*values: float) -> list[torch.Tensor]:
    return [torch.tensor([value, 2 * value]) for value in values]


def assert_values(found: list[torch.Tensor], *values: float) -> None:
    for tensor, value in zip(found, values, strict=True):
        torch.testing.assert_close(tensor, torch.tensor([value, 2 * value]))


@pytest.mark.parametrize("factor", FACTORS, ids=repr)
def test_multiplication_takes_numbers_and_tensors(factor):
    found = tensors(1.0, 4.0)
    arithmetic.multiply_(found, factor)
    assert_values(found, 0.25, 1.0)


@pytest.mark.parametrize("factor", FACTORS, ids=repr)
def test_a_multiple_is_subtracted(factor):
    found = tensors(1.0, 4.0)
    arithmetic.subtract_multiple_(found, tensors(2.0, 4.0), factor)
    assert_values(found, 0.5, 3.0)


@pytest.mark.parametrize("factor", FACTORS, ids=repr)
def test_a_quotient_is_subtracted(factor):
    found = tensors(1.0, 4.0)
    arithmetic.subtract_quotient_(found, tensors(2.0, 4.0), [torch.full((2,), 0.5)] * 2, factor)
    assert_values(found, 0.0, 2.0)


@pytest.mark.parametrize("weight", FACTORS, ids=repr)
def test_an_average_approaches_its_target(weight):
    found = tensors(1.0, 4.0)
    arithmetic.approach_(found, tensors(5.0, 0.0), weight)
    assert_values(found, 2.0, 3.0)


def test_an_average_of_squares_approaches_the_square():
    found = [torch.tensor([4.0])]
    arithmetic.approach_squares_(found, [torch.tensor([4.0])], 0.25)
    assert found[0].item() == 7.0


def test_roots_leave_their_argument_alone():
    given = [torch.tensor([3.0])]
    assert arithmetic.roots(given, 1.0)[0].item() == 2.0
    assert given[0].item() == 3.0
