"""Bidirectional: two layers, two directions, one result."""

from __future__ import annotations

import pytest
import torch

from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError
from lamina.layers.bidirectional import Bidirectional
from lamina.layers.core import Dense
from lamina.layers.input import Input
from lamina.layers.recurrent import GRU, LSTM, SimpleRNN
from lamina.layers.rnn import RNN
from lamina.models import Model

MASK = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1]]).bool()


class Sum(Layer):
    """A running sum, as a user's cell that nobody registered."""

    def __init__(self, units):
        super().__init__()
        self.units = self.state_size = units

    def call(self, inputs, states):
        total = inputs + states[0]
        return total, [total]


def test_both_ways_are_merged_step_by_step():
    x = torch.randn(2, 5, 1)
    forward, backward = x.cumsum(1), x.flip(1).cumsum(1).flip(1)
    found = {m: Bidirectional(RNN(Sum(1), return_sequences=True), m)(x) for m in ("concat", "sum", "mul", "ave", None)}
    torch.testing.assert_close(found["concat"], torch.cat([forward, backward], -1))
    torch.testing.assert_close(found["sum"], forward + backward)
    torch.testing.assert_close(found["mul"], forward * backward)
    torch.testing.assert_close(found["ave"], (forward + backward) / 2)
    torch.testing.assert_close(found[None][0], forward)
    torch.testing.assert_close(found[None][1], backward)


def test_masked_steps_give_zeros_in_sequences():
    y = Bidirectional(RNN(Sum(1), return_sequences=True), "sum")(torch.ones(2, 5, 1), mask=MASK)
    assert y.squeeze(-1).tolist() == [[3, 3, 0, 0, 0], [0, 4, 0, 4, 4]]


def test_weights_are_forward_then_backward_and_named_as_in_keras():
    layer = Bidirectional(LSTM(3, name="reader"))
    layer.build((None, 5, 4))
    assert (layer.forward_layer.name, layer.backward_layer.name) == ("forward_reader", "backward_reader")
    wanted = [*layer.forward_layer.weights, *layer.backward_layer.weights]
    assert [id(w) for w in layer.weights] == [id(w) for w in wanted]
    assert list(layer.state_dict())[0] == "forward_layer.cell.kernel"
    assert len(layer.weights) == 6
    again = Bidirectional(layer.forward_layer)
    assert (again.forward_layer.name, again.backward_layer.name) == ("forward_reader", "backward_forward_reader")


def test_the_layer_given_is_copied_without_weights():
    inner = LSTM(3)
    inner.build((None, 5, 4))
    layer = Bidirectional(inner)
    layer.build((None, 5, 4))
    assert layer.forward_layer is not inner and layer.backward_layer.go_backwards
    assert not torch.equal(layer.forward_layer.cell.kernel, inner.cell.kernel)
    assert not torch.equal(layer.forward_layer.cell.kernel, layer.backward_layer.cell.kernel)


def test_initial_weights_are_split_between_the_directions():
    weights = [
        torch.randn(4, 3),
        torch.randn(3, 3),
        torch.randn(3),
        torch.randn(4, 3),
        torch.randn(3, 3),
        torch.randn(3),
    ]
    layer = Bidirectional(SimpleRNN(3), weights=weights)
    layer.build((None, 5, 4))
    torch.testing.assert_close(layer.forward_layer.cell.kernel.detach(), weights[0])
    torch.testing.assert_close(layer.backward_layer.cell.bias.detach(), weights[5])
    assert "weights" not in layer.get_config()


def test_states_come_out_and_go_in_forward_first():
    layer = Bidirectional(LSTM(3, return_state=True))
    x = torch.randn(2, 5, 4)
    y, fh, fc, bh, bc = layer(x)
    torch.testing.assert_close(y, torch.cat([fh, bh], -1))
    states = [torch.randn(2, 3) for _ in range(4)]
    forward = layer.forward_layer(x, initial_state=states[:2])
    backward = layer.backward_layer(x, initial_state=states[2:])
    for a, b in zip(layer(x, initial_state=states)[1:], [*forward[1:], *backward[1:]], strict=True):
        torch.testing.assert_close(a, b)
    assert not torch.allclose(layer(x, initial_state=states)[2], fc)
    assert not torch.allclose(layer(x, initial_state=states)[4], bc)


def test_the_mask_goes_on_where_steps_go_on():
    x = set_mask(torch.ones(2, 5, 4), MASK)
    assert get_mask(Bidirectional(GRU(3, return_sequences=True))(x)) is MASK
    assert get_mask(Bidirectional(GRU(3))(x)) is None
    both = Bidirectional(GRU(3, return_sequences=True), merge_mode=None)(x)
    assert [get_mask(y) is MASK for y in both] == [True, True]
    y, *states = Bidirectional(LSTM(3, return_sequences=True, return_state=True))(x)
    assert get_mask(y) is MASK and [get_mask(s) for s in states] == [None] * 4


@pytest.mark.parametrize("merge_mode", ["concat", "sum", None])
@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
def test_symbolic_results_have_the_form_of_real_ones(merge_mode, return_sequences, return_state):
    inner = LSTM(3, return_sequences=return_sequences, return_state=return_state)
    layer = Bidirectional(inner, merge_mode=merge_mode)
    symbolic, real = layer(Input((5, 4))), layer(torch.randn(2, 5, 4))
    several = return_state or merge_mode is None
    assert isinstance(symbolic, tuple) is isinstance(real, tuple) is several
    found = [tuple(t.shape[1:]) for t in (real if several else [real])]
    assert [t.shape[1:] for t in (symbolic if several else [symbolic])] == found
    stated = layer.compute_output_shape((2, 5, 4))
    assert [s[1:] for s in (stated if several else [stated])] == found


def test_it_can_be_stateful():
    layer = Bidirectional(RNN(Sum(1), stateful=True))
    x = torch.ones(2, 3, 1)
    assert layer.states is None
    assert [layer(x)[0].tolist() for _ in range(2)] == [[3, 3], [6, 6]]
    assert [s.flatten().tolist() for s in layer.states or []] == [[6, 6], [6, 6]]
    layer.reset_states()
    assert layer(x)[0].tolist() == [3, 3]


def test_the_choice_of_kernels_is_kept():
    layer = Bidirectional(LSTM(3, use_cudnn=False))
    assert layer.forward_layer.use_cudnn is layer.backward_layer.use_cudnn is False


def test_a_model_with_it_is_made_again_from_its_config():
    layer = Bidirectional(LSTM(3), backward_layer=GRU(3, go_backwards=True, name="back"), merge_mode="mul")
    again = Bidirectional.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    x = torch.randn(2, 5, 4)
    layer(x), again(x)
    again.set_weights(layer.get_weights())
    torch.testing.assert_close(again(x), layer(x))


@pytest.mark.parametrize("inner", [Dense(3), 3, LSTM])
def test_what_is_not_recurrent_is_refused(inner):
    with pytest.raises(ArgumentError, match=r"Bidirectional goes around a (recurrent )?layer"):
        Bidirectional(inner)


def test_a_merge_mode_that_does_not_exist_is_refused():
    with pytest.raises(ArgumentError, match=r"cannot merge like this[\s\S]*merge_mode='average'"):
        Bidirectional(LSTM(3), merge_mode="average")


def test_two_layers_in_one_direction_are_refused():
    with pytest.raises(ArgumentError, match=r"run the same way[\s\S]*go_backwards=False in both"):
        Bidirectional(LSTM(3), backward_layer=LSTM(3))
    with pytest.raises(ArgumentError, match=r"run the same way[\s\S]*go_backwards=True in both"):
        Bidirectional(LSTM(3, go_backwards=True))


@pytest.mark.parametrize("name", ["return_sequences", "return_state", "stateful"])
def test_two_layers_that_return_different_things_are_refused(name):
    with pytest.raises(ArgumentError, match=rf"differ in {name}[\s\S]*{name}=True in backward_layer"):
        Bidirectional(LSTM(3), backward_layer=LSTM(3, go_backwards=True, **{name: True}))


def test_it_stands_in_a_functional_model_with_states():
    x = Input((None, 4))
    y, *states = Bidirectional(GRU(3, return_sequences=True, return_state=True))(x)
    z = Bidirectional(GRU(3), merge_mode="ave")(y, initial_state=states)
    model = Model(x, z)
    assert model.output_shape == (None, 3)
    data = torch.randn(2, 5, 4)
    first, second = model.layers[-2:]
    y, *states = first(data)
    torch.testing.assert_close(model(data), second(y, initial_state=states))


def test_it_traces():
    layer, x = Bidirectional(LSTM(3, return_sequences=True)), torch.randn(2, 5, 4)
    wanted = layer(x, mask=MASK)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, mask=MASK), wanted)
    exported = torch.export.export(layer, (x,), {"mask": MASK}).module()
    torch.testing.assert_close(exported(x, mask=MASK), wanted)
