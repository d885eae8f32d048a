from __future__ import annotations

import torch

from lamina.optimizers import Lamb


def test_a_move_is_as_long_as_the_parameter_times_the_rate():
    weight = torch.nn.Parameter(torch.tensor([3.0, 0.0, 4.0]))
    before = weight.detach().clone()
    Lamb(0.1).apply([torch.tensor([1.0, -2.0, 5.0])], [weight])
    torch.testing.assert_close((weight - before).norm(), torch.tensor(0.5))


def test_a_parameter_of_zeros_moves_by_the_plain_rate():
    weight = torch.nn.Parameter(torch.zeros(2))
    Lamb(0.25).apply([torch.tensor([1.0, -2.0])], [weight])
    torch.testing.assert_close(weight.data, torch.tensor([-0.25, 0.25]))


def test_gradients_of_zero_do_not_divide_by_zero():
    weight = torch.nn.Parameter(torch.ones(2))
    Lamb(0.25).apply([torch.zeros(2)], [weight])
    assert weight.tolist() == [1.0, 1.0]
