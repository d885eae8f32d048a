"""Layers inside layers: built with their owner, and made anew."""

from __future__ import annotations

import torch

from lamina.engine.layer import Layer
from lamina.layers.cells import GRUCell, LSTMCell
from lamina.layers.core import Dense
from lamina.layers.inner import build_inner, copy_of
from lamina.layers.recurrent import LSTM
from lamina.layers.rnn import RNN


class Pair(Layer):
    """Two layers, built by nothing but the first call; takes no name."""

    def __init__(self, units):
        super().__init__()
        self.first, self.second = Dense(units), Dense(2 * units)

    def call(self, x, y):
        return self.second(self.first(x) + y)


def test_everything_inside_is_built_for_the_shape():
    pair = Pair(3)
    build_inner(Dense(1), pair, (None, 4), lambda x: (torch.zeros(x.shape[0], 3),))
    assert [tuple(w.shape) for w in pair.weights] == [(4, 3), (3,), (3, 6), (6,)]


def test_what_is_built_stays_as_it_is():
    inner = Dense(3)
    inner.build((None, 4))
    kernel = inner.kernel
    build_inner(Dense(1), inner, (None, 4))
    assert inner.kernel is kernel


def test_a_module_of_torchs_has_nothing_to_build():
    build_inner(Dense(1), torch.nn.Linear(2, 2), (None, 2))


def test_a_copy_has_the_arguments_and_not_the_weights():
    layer = LSTM(3, activation="relu", kernel_initializer="he_normal", name="reader")
    layer.build((None, 5, 4))
    copied = copy_of(layer, name="other", go_backwards=True)
    assert (copied.name, copied.go_backwards, copied.built) == ("other", True, False)
    assert copied.get_config() == {**layer.get_config(), "name": "other", "go_backwards": True}


def test_layers_among_the_arguments_are_made_anew():
    layer = RNN([LSTMCell(3), GRUCell(2)])
    copied = copy_of(layer, name="other")
    assert [c.get_config() for c in copied.cell.cells] == [c.get_config() for c in layer.cell.cells]
    assert not {id(c) for c in copied.cell.cells} & {id(c) for c in layer.cell.cells}
    pair = Pair(3)
    assert copy_of(pair).first.units == 3 and copy_of(pair).first is not pair.first
