from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina import losses
from lamina.errors import ArgumentError


def test_it_is_one_minus_the_power_of_the_right_probability() -> None:
    values = losses.categorical_generalized_cross_entropy([1, 0], [[0.36, 0.64], [0.25, 0.75]], q=0.5)
    np.testing.assert_allclose(values, [(1 - 0.8) / 0.5, (1 - 0.5) / 0.5], rtol=1e-6)


def test_small_q_is_cross_entropy() -> None:
    y_pred = torch.softmax(torch.randn(5, 3), dim=-1)
    near = losses.categorical_generalized_cross_entropy([0, 1, 2, 1, 0], y_pred, q=1e-4)
    torch.testing.assert_close(
        near, losses.sparse_categorical_crossentropy([0, 1, 2, 1, 0], y_pred), atol=1e-2, rtol=1e-2
    )


@pytest.mark.parametrize("q", [0, 1, -0.5, 2.0])
def test_q_outside_its_range_is_refused(q: float) -> None:
    with pytest.raises(ArgumentError, match="q of the generalized cross-entropy is out of range(.|\n)*between 0 and 1"):
        losses.CategoricalGeneralizedCrossEntropy(q=q)
