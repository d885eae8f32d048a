from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.optimizers import Adadelta


def test_the_rule_is_the_papers():
    w, gradients, moves = 1.0, 0.0, 0.0
    weight, optimizer = torch.nn.Parameter(torch.tensor([1.0])), Adadelta(2.0, rho=0.8, epsilon=0.01)
    for step in range(4):
        g = 1.5 - step
        gradients = 0.8 * gradients + 0.2 * g**2
        move = np.sqrt(moves + 0.01) / np.sqrt(gradients + 0.01) * g
        moves = 0.8 * moves + 0.2 * move**2
        w -= 2.0 * move
        optimizer.apply([torch.tensor([g])], [weight])
        assert weight.item() == pytest.approx(w, rel=1e-5)
