"""Cells one above the other."""

from __future__ import annotations

import pytest
import torch

from lamina.errors import ArgumentError
from lamina.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.core import Dense
from lamina.layers.rnn import RNN
from lamina.layers.stacked_cells import StackedRNNCells


def stack() -> StackedRNNCells:
    cells = StackedRNNCells([LSTMCell(4), GRUCell(3, dropout=0.5), SimpleRNNCell(2)])
    cells.build((None, 5))
    return cells


def test_sizes_are_those_of_the_cells():
    cells = stack()
    assert cells.state_size == [[4, 4], 3, 2] and cells.output_size == 2
    states = cells.get_initial_state(batch_size=6)
    assert [len(states[0]), states[1].shape, states[2].shape] == [2, (6, 3), (6, 2)]
    assert cells.compute_output_shape((6, 5)) == ((6, 2), [[(6, 4), (6, 4)], (6, 3), (6, 2)])


def test_a_step_goes_through_every_cell():
    cells = stack()
    x, states = torch.randn(6, 5), cells.get_initial_state(batch_size=6)
    y, after = cells(x, states)
    z, lowest = cells.cells[0](x, states[0])
    z, middle = cells.cells[1](z, [states[1]])
    z, highest = cells.cells[2](z, [states[2]])
    torch.testing.assert_close(y, z)
    for a, b in zip([*after[0], after[1], after[2]], [*lowest, *middle, *highest], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("masked", [False, True])
def test_a_sequence_cell_by_cell_equals_one_step_after_another(masked):
    cells = stack()
    mask = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1]]).bool() if masked else None
    x, states = torch.randn(3, 4, 5), cells.get_initial_state(batch_size=3)
    outputs, last = cells.sweep(x, states, mask)
    before = torch.zeros(3, 2)
    for step in range(4):
        y, new = cells(x[:, step], states)
        keep = torch.ones(3, 1).bool() if mask is None else mask[:, step, None]
        before = torch.where(keep, y, before)
        flat_new, flat_old = [*new[0], *new[1:]], [*states[0], *states[1:]]
        flat = [torch.where(keep, a, b) for a, b in zip(flat_new, flat_old, strict=True)]
        states = [flat[:2], flat[2], flat[3]]
        torch.testing.assert_close(outputs[:, step], before)
    torch.testing.assert_close(last[0][1], states[0][1])
    torch.testing.assert_close(last[2], states[2])
    torch.testing.assert_close(cells.sweep(x, cells.get_initial_state(batch_size=3), mask, sequences=False)[0], before)


def test_weights_come_cell_by_cell():
    cells = stack()
    assert [tuple(w.shape) for w in cells.weights[::3]] == [(5, 16), (4, 9), (3, 2)]
    assert "cells.1.recurrent_kernel" in dict(cells.named_parameters())


class Running(Dense):
    """A user's cell with one state and nothing but a `state_size`."""

    state_size = 3

    def call(self, inputs, states):
        new = super().call(inputs) + states[0]
        return new, [new]


def test_a_users_cell_may_stand_among_them():
    layer = RNN([GRUCell(4), Running(3)], return_state=True)
    x = torch.randn(2, 5, 6)
    y, lower, upper = layer(x)
    inner, _ = layer.cell.cells[0].sweep(x, [torch.zeros(2, 4)])
    torch.testing.assert_close(y, layer.cell.cells[1].kernel.t().matmul(inner.sum(1).t()).t())
    torch.testing.assert_close(y, upper)
    assert lower.shape == (2, 4)


def test_dropout_within_a_stack_is_one_mask_a_sequence():
    cells = StackedRNNCells([SimpleRNNCell(30, activation=None, recurrent_initializer="zeros", dropout=0.5)])
    layer = RNN(cells, return_sequences=True)
    x = torch.rand(1, 1, 20).expand(1, 4, 20)
    y = layer(x, training=True)
    torch.testing.assert_close(y, y[:, :1].expand_as(y))
    assert not torch.allclose(y, layer(x))


@pytest.mark.parametrize("cell", [3, None, Dense(3), LSTMCell])
def test_what_is_no_cell_is_refused(cell):
    with pytest.raises(ArgumentError, match=r"StackedRNNCells needs cells[\s\S]*state_size"):
        StackedRNNCells([LSTMCell(2), cell])


def test_a_config_of_a_class_that_nobody_registered_says_what_to_do():
    config = RNN([GRUCell(2), Running(3)]).get_config()
    with pytest.raises(ArgumentError, match=r"@LAYERS\.register\(\)[\s\S]*class Running"):
        RNN.from_config(config)
