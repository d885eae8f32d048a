from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.optimizers import RMSprop


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("centered", [False, True])
def test_the_rule_has_epsilon_under_the_root(centered, momentum):
    w, v, mean, move = 1.0, 0.0, 0.0, 0.0
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = RMSprop(0.1, rho=0.8, momentum=momentum, epsilon=0.01, centered=centered)
    for step in range(4):
        g = 1.5 - step
        v, mean = 0.8 * v + 0.2 * g**2, 0.8 * mean + 0.2 * g
        move = momentum * move + 0.1 * g / np.sqrt(v - centered * mean**2 + 0.01)
        w -= move
        optimizer.apply([torch.tensor([g])], [weight])
        assert weight.item() == pytest.approx(w, rel=1e-5)
    assert len(optimizer.variables) == 1 + centered + (momentum > 0)
