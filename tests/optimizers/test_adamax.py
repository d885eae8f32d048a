from __future__ import annotations

import pytest
import torch

from lamina.optimizers import Adamax


def test_the_rule_is_the_papers():
    w, m, u = 1.0, 0.0, 0.0
    weight, optimizer = torch.nn.Parameter(torch.tensor([1.0])), Adamax(0.1, epsilon=0.01)
    for t in range(1, 5):
        g = 2.5 - t
        m, u = 0.9 * m + 0.1 * g, max(0.999 * u, abs(g))
        w -= 0.1 / (1 - 0.9**t) * m / (u + 0.01)
        optimizer.apply([torch.tensor([g])], [weight])
        assert weight.item() == pytest.approx(w, rel=1e-5)
