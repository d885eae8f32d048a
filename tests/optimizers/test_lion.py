from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError
from lamina.optimizers import Lion


def test_every_number_moves_by_the_rate():
    weight = torch.nn.Parameter(torch.zeros(3))
    optimizer = Lion(0.5, beta_1=0.5, beta_2=0.25)
    optimizer.apply([torch.tensor([4.0, -0.001, 0.0])], [weight])
    assert weight.tolist() == [-0.5, 0.5, 0.0]
    assert optimizer.variables[0].tolist() == pytest.approx([3.0, -0.00075, 0.0])
    optimizer.apply([torch.tensor([-2.0, 1.0, 1.0])], [weight])
    assert weight.tolist() == [-1.0, 0.0, -0.5]


@pytest.mark.parametrize("beta", [0.0, 1.1])
def test_a_mean_without_weight_is_refused(beta):
    with pytest.raises(ArgumentError, match="0 < beta_1 <= 1"):
        Lion(beta_1=beta)
