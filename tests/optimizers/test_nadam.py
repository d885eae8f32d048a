from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.optimizers import Nadam
from lamina.optimizers.nadam import _product


def test_the_rule_is_the_papers():
    w, m, v, product = np.array([1.0]), 0.0, 0.0, 1.0
    weight, optimizer = torch.nn.Parameter(torch.tensor([1.0])), Nadam(0.1)
    for t in range(1, 6):
        g = np.array([0.5 * t - 1.2])
        now, ahead = (0.9 * (1 - 0.5 * 0.96**s) for s in (t, t + 1))
        product *= now
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        mean = ahead * m / (1 - product * ahead) + (1 - now) * g / (1 - product)
        w = w - 0.1 * mean / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        optimizer.apply([torch.tensor(g, dtype=torch.float32)], [weight])
        assert weight.item() == pytest.approx(w.item(), rel=1e-5)


@pytest.mark.parametrize("step", [1, 2, 100, 1999, 5000])
def test_the_product_of_shares_is_that_of_all_steps(step):
    expected = np.prod(1 - 0.5 * 0.96 ** np.arange(1, step + 1))
    assert _product(step) == pytest.approx(expected, rel=1e-12)
    assert _product(torch.tensor(float(step))).item() == pytest.approx(expected, rel=1e-6)
