from __future__ import annotations

import torch

from lamina.optimizers import Adafactor


def test_a_matrix_costs_its_rows_and_columns_only():
    optimizer = Adafactor()
    optimizer.build([torch.nn.Parameter(torch.ones(3, 3, 40, 50)), torch.nn.Parameter(torch.ones(7))])
    assert sum(t.numel() for t in optimizer.variables) == 9 * (40 + 50) + 7


def test_moves_are_relative_to_the_size_of_the_parameter():
    small, great = (torch.nn.Parameter(torch.full((2, 2), size)) for size in (0.1, 10.0))
    Adafactor(0.5).apply([torch.ones(2, 2), torch.ones(2, 2)], [small, great])
    torch.testing.assert_close(small.data, torch.full((2, 2), 0.05))
    torch.testing.assert_close(great.data, torch.full((2, 2), 5.0))


def test_a_parameter_without_dimensions_is_moved():
    weight = torch.nn.Parameter(torch.tensor(2.0))
    Adafactor(0.5).apply([torch.tensor(3.0)], [weight])
    assert weight.item() == 1.0


def test_a_parameter_of_zeros_moves_as_if_it_had_the_least_size():
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    Adafactor(0.5, epsilon_2=0.1).apply([torch.ones(2, 2)], [weight])
    torch.testing.assert_close(weight.data, torch.full((2, 2), -0.05))
