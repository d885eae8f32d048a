"""Wrapper and TimeDistributed."""

from __future__ import annotations

import pytest
import torch

from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.core import Dense, Masking
from lamina.layers.input import Input
from lamina.layers.recurrent import LSTM, SimpleRNN
from lamina.layers.wrappers import TimeDistributed, Wrapper
from lamina.models import Model, Sequential

MASK = torch.tensor([[1, 1, 0], [0, 1, 1]]).bool()


class Twice(Wrapper):
    def call(self, x):
        return self.layer(self.layer(x))


class Block(Layer):
    """A user's layer that builds what it holds only when it is called."""

    def __init__(self, units):
        super().__init__()
        self.dense = Dense(units)

    def call(self, x):
        return self.dense(x) + 1


def test_a_wrapper_builds_what_it_holds():
    layer = Twice(Dense(3))
    layer.build((None, 3))
    assert layer.layer.built and len(layer.weights) == 2
    x = torch.randn(2, 3)
    torch.testing.assert_close(layer(x), layer.layer(layer.layer(x)))


def test_a_wrapper_takes_a_torch_module():
    module = torch.nn.Linear(3, 3)
    x = torch.randn(2, 3)
    torch.testing.assert_close(Twice(module)(x), module(module(x)))


@pytest.mark.parametrize("cls", [Wrapper, TimeDistributed])
@pytest.mark.parametrize("inner", [3, None, Dense, torch.relu])
def test_what_is_no_layer_is_refused(cls, inner):
    with pytest.raises(ArgumentError, match=rf"{cls.__name__} goes around a layer[\s\S]*layer= a layer"):
        cls(inner)


def test_a_layer_is_applied_to_every_step():
    layer = TimeDistributed(Dense(4, activation="tanh"))
    x = torch.randn(2, 3, 5, 6)
    y = layer(x)
    for step in range(3):
        torch.testing.assert_close(y[:, step], layer.layer(x[:, step]))


def test_the_inner_layer_runs_once():
    seen = []

    class Counting(Layer):
        def call(self, x):
            seen.append(tuple(x.shape))
            return x

    TimeDistributed(Counting())(torch.ones(2, 3, 4))
    assert seen == [(6, 4)]


def test_recurrent_layers_and_models_may_stand_inside():
    x = torch.randn(2, 3, 5, 4)
    for inner in (LSTM(3), Sequential([Input((5, 4)), SimpleRNN(3), Dense(2)]), Block(3)):
        layer = TimeDistributed(inner)
        y = layer(x)
        torch.testing.assert_close(y[:, 1], inner(x[:, 1]))


def test_a_layer_with_several_outputs_keeps_them_apart():
    y, h, c = TimeDistributed(LSTM(3, return_state=True))(torch.randn(2, 4, 5, 6))
    assert y.shape == h.shape == c.shape == (2, 4, 3)
    torch.testing.assert_close(y, h)


def test_the_mask_goes_on_and_reaches_a_layer_that_takes_one():
    class Masked(Layer):
        def call(self, x, mask=None):
            return x * mask[:, None]

    x = set_mask(torch.ones(2, 3, 4), MASK)
    y = TimeDistributed(Masked())(x)
    assert y[..., 0].tolist() == MASK.float().tolist()
    assert get_mask(y) is MASK
    assert get_mask(TimeDistributed(Dense(2))(x)) is MASK
    assert TimeDistributed(Masked())(torch.ones(2, 3, 4), mask=MASK)[..., 0].tolist() == MASK.float().tolist()


def test_a_masked_step_masks_the_whole_sequence_in_it():
    """Keras stops with an IndexError here."""
    layer = TimeDistributed(LSTM(3))
    x = torch.randn(2, 3, 5, 4)
    y = layer(x, mask=MASK)
    assert not y[~MASK].any()
    torch.testing.assert_close(y[MASK], layer(x)[MASK])


def test_the_mode_reaches_the_inner_layer():
    class Mode(Layer):
        def call(self, x, training=None):
            return x + (1 if training else 0)

    layer, x = TimeDistributed(Mode()), torch.zeros(1, 1, 1)
    assert [layer(x).item(), layer(x, training=True).item(), layer(x).item()] == [0, 1, 0]
    assert layer.train()(x).item() == 1


def test_symbolic_shapes_are_the_inner_layers():
    x = Input((None, 5, 4))
    assert TimeDistributed(LSTM(3))(x).shape == (None, None, 3)
    assert [t.shape for t in TimeDistributed(LSTM(3, return_state=True))(x)] == [(None, None, 3)] * 3
    assert TimeDistributed(Dense(3)).compute_output_shape((2, 7, 4)) == (2, 7, 3)
    assert TimeDistributed(Block(3)).compute_output_shape((None, 7, 4)) == (None, 7, 3)
    layer = TimeDistributed(Block(3))
    layer.build((None, 7, 4))
    assert [tuple(w.shape) for w in layer.weights] == [(4, 3), (3,)]


def test_two_axes_are_too_few():
    with pytest.raises(ShapeError, match=r"TimeDistributed cannot take this input[\s\S]*at least 3 axes"):
        TimeDistributed(Dense(3))(torch.ones(2, 4))


def test_it_stands_in_a_model_behind_a_mask():
    x = Input((3, 4))
    model = Model(x, SimpleRNN(2)(TimeDistributed(Dense(5))(Masking()(x))))
    data = torch.randn(2, 3, 4)
    data[:, 2] = 0
    rnn, dense = model.layers[-1], model.layers[-2].layer
    torch.testing.assert_close(model(data), rnn(dense(data[:, :2])))


def test_it_traces():
    layer, x = TimeDistributed(LSTM(3)), torch.randn(2, 3, 5, 4)
    wanted = layer(x)
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="eager")(x), wanted)
    shapes = ({0: torch.export.Dim("batch"), 1: torch.export.Dim("steps")},)
    exported = torch.export.export(layer, (x,), dynamic_shapes=shapes).module()
    more = torch.randn(4, 6, 5, 4)
    torch.testing.assert_close(exported(more), layer(more))
