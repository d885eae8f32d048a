from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError
from lamina.optimizers import Adagrad


def run(optimizer: Adagrad) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 33))
    for step in range(3):
        optimizer.apply([torch.linspace(-1, 2 + step, 33)], [weight])
    return weight.detach()


def test_one_fused_kernel_makes_the_whole_update(monkeypatch):
    calls, fused = [], torch._fused_adagrad_
    monkeypatch.setattr(torch, "_fused_adagrad_", lambda *args, **kwargs: (calls.append(1), fused(*args, **kwargs)))
    with_kernel = run(Adagrad(0.1))
    assert len(calls) == 3
    monkeypatch.setattr("lamina.optimizers.groups.Group.fused", lambda self, kernel: False)
    torch.testing.assert_close(run(Adagrad(0.1)), with_kernel)
    assert len(calls) == 3


def test_epsilon_is_added_under_the_root():
    w, total = np.linspace(-1, 1, 33), 0.2
    for step in range(3):
        g = np.linspace(-1, 2 + step, 33)
        total = total + g**2
        w = w - 0.1 * g / np.sqrt(total + 0.5)
    np.testing.assert_allclose(run(Adagrad(0.1, 0.2, 0.5)).numpy(), w, rtol=1e-5, atol=1e-6)


def test_a_negative_sum_of_squares_is_refused():
    with pytest.raises(ArgumentError, match="initial_accumulator_value >= 0"):
        Adagrad(initial_accumulator_value=-0.1)
