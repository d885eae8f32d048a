from __future__ import annotations

import numpy as np
import pytest
import torch

from lamina.errors import ArgumentError
from lamina.optimizers import Adam, AdamW


def run(optimizer: Adam, scale: float = 1.0, steps: int = 4) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 65))
    for step in range(steps):
        optimizer.apply([scale * torch.linspace(-1, 2 + step, 65)], [weight])
    return weight.detach()


def by_hand(epsilon: float, scale: float, steps: int = 4, rate: float = 0.1) -> np.ndarray:
    w, m, v = np.linspace(-1, 1, 65), 0.0, 0.0
    for t in range(1, steps + 1):
        g = scale * np.linspace(-1, 1 + t, 65)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        w = w - rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + epsilon)
    return w


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_epsilon_stands_outside_the_correction(scale):
    """With gradients of 1e-6, epsilon is as great as the root of the mean of squares: its place shows."""
    mine = run(Adam(0.1), scale).numpy()
    np.testing.assert_allclose(mine, by_hand(1e-7, scale), rtol=1e-5, atol=2e-6)
    reference = torch.nn.Parameter(torch.linspace(-1, 1, 65))
    oracle = torch.optim.Adam([reference], 0.1, eps=1e-7)
    for step in range(4):
        reference.grad = scale * torch.linspace(-1, 2 + step, 65)
        oracle.step()
    assert (np.abs(mine - reference.detach().numpy()).max() > 1e-3) == (scale < 1)


@pytest.mark.parametrize("make", [Adam, AdamW, lambda rate: Adam(rate, amsgrad=True, weight_decay=0.3)])
def test_one_fused_kernel_makes_the_whole_update(make, monkeypatch):
    calls, fused = [], torch._fused_adamw_
    monkeypatch.setattr(torch, "_fused_adamw_", lambda *args, **kwargs: (calls.append(1), fused(*args, **kwargs)))
    with_kernel = run(make(0.1))
    assert len(calls) == 4
    monkeypatch.setattr("lamina.optimizers.groups.Group.fused", lambda self, kernel: False)
    torch.testing.assert_close(run(make(0.1)), with_kernel)
    assert len(calls) == 4


def test_a_step_is_one_kernel_that_copies_nothing():
    """Also where a kernel of shape (in, out) lies in memory as (out, in), however many parameters there are."""
    weights = [torch.nn.Parameter(torch.randn(5, 3).t()) for _ in range(10)]
    optimizer = AdamW()
    optimizer.build(weights)
    for _ in range(2):
        for weight in weights:
            weight.grad = torch.ones(5, 3).t()
        with torch.profiler.profile() as profile:
            optimizer.step()
    names = [event.name for event in profile.events() if event.name.startswith("aten::")]
    assert names.count("aten::_fused_adamw_") == 1
    assert not {"aten::copy_", "aten::clone", "aten::contiguous", "aten::mul", "aten::add_"} & set(names)


def test_a_rate_of_zero_still_gathers_the_means():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = Adam(0.0, weight_decay=0.5)
    optimizer.apply([torch.tensor([1.0])], [weight])
    assert weight.item() == 1.0
    assert optimizer.variables[0].item() == pytest.approx(0.1)


def test_adamw_without_decay_is_refused():
    with pytest.raises(ArgumentError, match="AdamW is Adam with weight decay"):
        AdamW(weight_decay=None)
