from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.losses.reduction import (
    REDUCTIONS,
    align_weights,
    check_reduction,
    divide_no_nan,
    fold_mask,
    reduce_weighted,
)


def test_known_reductions_pass_and_others_are_named() -> None:
    assert [check_reduction(r) for r in REDUCTIONS] == list(REDUCTIONS)
    with pytest.raises(ArgumentError, match="no such reduction(.|\n)*'sum_over_batch_size'(.|\n)*received: 'average'"):
        check_reduction("average")


def test_division_by_zero_is_zero_with_finite_gradients() -> None:
    n, d = torch.tensor([1.0, 3.0], requires_grad=True), torch.tensor([0.0, 2.0], requires_grad=True)
    quotient = divide_no_nan(n, d)
    quotient.sum().backward()
    assert quotient.tolist() == [0.0, 1.5]
    assert n.grad is not None and n.grad.tolist() == [0.0, 0.5]
    assert d.grad is not None and d.grad.tolist() == [0.0, -0.75]


def test_weights_of_samples_belong_to_the_first_axis_even_where_the_last_has_that_size() -> None:
    _, weights = align_weights(torch.ones(3, 3), torch.tensor([1.0, 2.0, 3.0]))
    assert weights.tolist() == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]


def test_weights_that_do_not_fit_are_refused() -> None:
    for shape in [(4,), (3, 2), (5,), (3, 5, 2)]:
        with pytest.raises(ShapeError, match=r"weights do not fit(.|\n)*shape \(3, 5\), or its leading axes: \(3,\)"):
            align_weights(torch.ones(3, 5), torch.ones(shape))


def test_weights_in_a_column_weigh_samples() -> None:
    values, weights = align_weights(torch.ones(3), torch.ones(3, 1))
    assert values.shape == weights.shape == (3, 1)


def test_a_mask_rescales_the_mean_to_valid_values() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    values = torch.tensor([[1.0, 9.0], [2.0, 3.0]])
    assert reduce_weighted(values, None, mask, "sum_over_batch_size") == 2.0
    assert reduce_weighted(values, None, mask, "sum") == 6.0
    assert reduce_weighted(values, None, mask, "mean_with_sample_weight") == 2.0
    assert reduce_weighted(values, None, mask, "none").tolist() == [[1.0, 0.0], [2.0, 3.0]]


def test_a_mask_of_steps_and_weights_of_samples_multiply() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    weights = torch.tensor([1.0, 10.0])
    assert fold_mask(weights, mask, torch.float32, rescale=False).tolist() == [[1.0, 0.0], [10.0, 10.0]]
    assert fold_mask(torch.ones(2, 2, 3), mask, torch.float32, rescale=False).sum() == 9


def test_a_mask_without_valid_values_gives_zero() -> None:
    assert reduce_weighted(torch.ones(2), None, torch.zeros(2, dtype=torch.bool), "mean") == 0


def test_weights_of_ones_over_steps_leave_the_weighted_mean_a_mean() -> None:
    values = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    assert reduce_weighted(values, torch.ones(2), None, "mean_with_sample_weight") == 4.0
    assert reduce_weighted(values, torch.tensor([0.0, 2.0]), None, "mean_with_sample_weight") == 6.0


def test_an_empty_batch_gives_zero() -> None:
    for reduction in ("sum_over_batch_size", "sum"):
        assert reduce_weighted(torch.zeros(0), None, None, reduction) == 0
