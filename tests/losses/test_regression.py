from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.errors import ShapeError

ALL = [
    losses.mean_squared_error,
    losses.mean_absolute_error,
    losses.mean_absolute_percentage_error,
    losses.mean_squared_logarithmic_error,
    losses.huber,
    losses.log_cosh,
]


@pytest.mark.parametrize("function", ALL)
def test_the_error_of_equal_arrays_is_zero(function: Any) -> None:
    x = np.float32([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(function(x, x), [0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("function", [*ALL, losses.cosine_similarity])
def test_labels_and_predictions_that_do_not_pair_are_refused(function: Any) -> None:
    with pytest.raises(ShapeError, match=f"{function.__name__} compares each label with one prediction"):
        function(torch.zeros(3), torch.zeros(3, 2))


def test_errors_are_those_of_their_formulas() -> None:
    y_true, y_pred = np.float32([[2.0, -4.0]]), np.float32([[1.0, 1.0]])
    assert losses.mse(y_true, y_pred) == 13.0
    assert losses.mae(y_true, y_pred) == 3.0
    assert losses.mape(y_true, y_pred) == 87.5
    logarithmic = np.square(np.log([3.0 / 2.0, 1.5 / 2.0])).mean()
    np.testing.assert_allclose(losses.msle([[2.0, 0.5]], [[1.0, 1.0]]), [logarithmic], rtol=1e-5)
    np.testing.assert_allclose(losses.huber(y_true, y_pred), [(0.5 + 4.5) / 2])
    np.testing.assert_allclose(losses.log_cosh(y_true, y_pred), np.log(np.cosh([[1.0, 5.0]])).mean(-1), rtol=1e-5)


def test_a_label_of_zero_gives_a_large_percentage_and_no_infinity() -> None:
    assert torch.isfinite(losses.mape([[0.0]], [[1.0]])).all()


def test_log_cosh_of_a_huge_error_is_finite() -> None:
    np.testing.assert_allclose(losses.log_cosh([[0.0], [0.0]], [[1e6], [-1e6]]), 1e6 - np.log(2), rtol=1e-6)


def test_parallel_vectors_have_cosine_similarity_minus_one() -> None:
    np.testing.assert_allclose(losses.cosine_similarity([[1.0, 2.0]], [[2.0, 4.0]]), [-1.0], rtol=1e-6)


def test_zero_vectors_have_cosine_zero_and_finite_gradients() -> None:
    y_pred = torch.zeros(1, 3, requires_grad=True)
    value = losses.CosineSimilarity()(torch.ones(1, 3), y_pred)
    value.backward()
    assert value == 0 and y_pred.grad is not None and bool(y_pred.grad.isfinite().all())


def test_delta_is_where_huber_turns_into_a_line() -> None:
    np.testing.assert_allclose(losses.Huber(delta=2.0)([[0.0]], [[5.0]]), 2.0 * (5.0 - 1.0))
    assert losses.Huber().name == "huber_loss"
