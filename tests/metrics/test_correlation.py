from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina import metrics
from lamina.errors import ShapeError


def test_pearson_is_numpys_coefficient() -> None:
    y_true, y_pred = np.random.randn(3, 20), np.random.randn(3, 20)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(y_true, y_pred, strict=True)]
    np.testing.assert_allclose(metrics.pearson_correlation(y_true, y_pred), expected, rtol=1e-5)
    assert metrics.PearsonCorrelation()(y_true, y_pred).item() == pytest.approx(np.mean(expected), rel=1e-5)


def test_concordance_is_lins_formula() -> None:
    x, y = np.random.randn(20), np.random.randn(20) + 1
    expected = 2 * np.cov(x, y, bias=True)[0, 1] / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    np.testing.assert_allclose(metrics.concordance_correlation([x], [y]), [expected], rtol=1e-5)


def test_concordance_wants_equal_means_where_correlation_does_not() -> None:
    x = torch.linspace(0, 1, 10)[None]
    assert metrics.PearsonCorrelation()(x, x + 5).item() == pytest.approx(1.0, abs=1e-4)
    assert metrics.ConcordanceCorrelation()(x, x + 5).item() < 0.02


def test_shapes_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ShapeError, match="pearson_correlation compares each label with one prediction"):
        metrics.pearson_correlation(torch.zeros(3), torch.zeros(3, 2))
