from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError
from lamina.optimizers import SGD


def run(optimizer: SGD, dtype: torch.dtype = torch.float32, size: int = 64) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, size).to(dtype))
    for step in range(3):
        optimizer.apply([torch.linspace(1, 2 + step, size).to(dtype)], [weight])
    return weight.detach()


def test_momentum_repeats_the_last_move():
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    optimizer = SGD(0.5, momentum=0.5)
    for _ in range(2):
        optimizer.apply([torch.tensor([-2.0])], [weight])
    assert weight.item() == 1.0 + 1.5
    assert optimizer.variables[0].item() == 1.5


def test_a_change_of_rate_leaves_past_moves_alone():
    """Keras keeps the rate inside the momentum, torch outside: at a rate of 0 the momentum still moves the weight."""
    weight = torch.nn.Parameter(torch.tensor([0.0]))
    optimizer = SGD(0.5, momentum=0.5)
    optimizer.apply([torch.tensor([-2.0])], [weight])
    optimizer.learning_rate = 0.0
    optimizer.apply([torch.tensor([-2.0])], [weight])
    assert weight.item() == 1.5


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_fused_and_plain_updates_agree(options, monkeypatch):
    calls, fused = [], torch._fused_sgd_
    monkeypatch.setattr(torch, "_fused_sgd_", lambda *args, **kwargs: (calls.append(1), fused(*args, **kwargs)))
    with_kernel = run(SGD(0.1, **options))
    assert len(calls) == 3
    monkeypatch.setattr("lamina.optimizers.groups.Group.fused", lambda self, kernel: False)
    torch.testing.assert_close(run(SGD(0.1, **options)), with_kernel)
    assert len(calls) == 3


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}], ids=str)
def test_every_number_of_a_short_parameter_moves(options):
    """The fused kernel of torch 2.13 leaves most of them (pytorch issue 191763)."""
    short, single = run(SGD(0.1, **options), torch.bfloat16), run(SGD(0.1, **options))
    torch.testing.assert_close(short.float(), single, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("momentum", [-0.1, 1.5])
def test_a_momentum_that_is_no_fraction_is_refused(momentum):
    with pytest.raises(ArgumentError, match="0 <= momentum <= 1"):
        SGD(momentum=momentum)


def test_there_is_no_state_without_momentum():
    optimizer = SGD()
    optimizer.build([torch.nn.Parameter(torch.ones(3))])
    assert optimizer.variables == []
