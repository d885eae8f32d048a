from __future__ import annotations

import numpy as np
import torch

from lamina import losses


def test_divergence_of_equal_distributions_is_zero() -> None:
    assert losses.kl_divergence([[0.25, 0.75]], [[0.25, 0.75]]) == 0


def test_divergence_is_its_formula() -> None:
    p, q = np.float32([[0.5, 0.5]]), np.float32([[0.25, 0.75]])
    np.testing.assert_allclose(losses.KLDivergence()(p, q), (p * np.log(p / q)).sum(), rtol=1e-6)


def test_a_prediction_of_zero_gives_a_finite_divergence() -> None:
    assert torch.isfinite(losses.KLDivergence()([[0.0, 1.0]], [[1.0, 0.0]]))


def test_poisson_is_its_formula_and_finite_at_zero() -> None:
    expected = np.mean([2 - 3 * np.log(2), 4 - np.log(4)])
    np.testing.assert_allclose(losses.Poisson()([[3.0, 1.0]], [[2.0, 4.0]]), expected, rtol=1e-6)
    assert torch.isfinite(losses.Poisson()([[3.0]], [[0.0]]))
