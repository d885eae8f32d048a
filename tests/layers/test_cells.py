"""The three cells: one step, dropout, first weights, states, and whole sequences at once."""

from __future__ import annotations

import pytest
import torch

from lamina import config
from lamina.errors import ArgumentError
from lamina.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.input import Input
from lamina.layers.rnn import RNN
from lamina.models import Model

CELLS = [SimpleRNNCell, LSTMCell, GRUCell]


def built(cell, inputs=4):
    cell.build((None, inputs))
    return cell


@pytest.mark.parametrize("cls", CELLS)
def test_a_sequence_at_once_equals_its_steps_one_by_one(cls):
    cell = built(cls(3))
    x, states = torch.randn(2, 5, 4), [torch.randn(2, 3) for _ in range(cell.state_count)]
    outputs, last = cell.sweep(x, states)
    for step in range(5):
        y, states = cell(x[:, step], states)
        torch.testing.assert_close(y, outputs[:, step])
    for a, b in zip(last, states, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("cls", [SimpleRNNCell, GRUCell])
def test_a_single_state_may_come_alone(cls):
    cell = built(cls(3))
    x, h = torch.randn(2, 4), torch.randn(2, 3)
    (y, new), (z, listed) = cell(x, h), cell(x, [h])
    torch.testing.assert_close(y, z)
    torch.testing.assert_close(new, listed[0])


def test_sizes_say_how_many_states_there_are():
    assert SimpleRNNCell(3).state_size == GRUCell(3).state_size == 3
    assert LSTMCell(3).state_size == [3, 3]
    assert [cls(3).output_size for cls in CELLS] == [3, 3, 3]


@pytest.mark.parametrize("cls", CELLS)
def test_the_first_states_are_zeros_of_the_weights_kind(cls):
    cell = built(cls(3)).double()
    states = cell.get_initial_state(batch_size=2)
    assert [tuple(s.shape) for s in states] == [(2, 3)] * cell.state_count
    assert all(s.dtype is torch.float64 and not s.any() for s in states)
    with pytest.raises(ArgumentError, match=r"needs the batch size[\s\S]*received: batch_size=None"):
        cell.get_initial_state()


def test_the_forget_gate_begins_open():
    cell = built(LSTMCell(2, bias_initializer="zeros"))
    assert cell.bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert built(LSTMCell(2, unit_forget_bias=False)).bias.tolist() == [0] * 8
    twos = built(LSTMCell(1, bias_initializer=lambda shape, dtype: torch.full(shape, 2.0, dtype=dtype)))
    assert twos.bias.tolist() == [2, 1, 2, 2]


@pytest.mark.parametrize(
    "cell, shape",
    [(SimpleRNNCell(3), (3,)), (LSTMCell(3), (12,)), (GRUCell(3), (2, 9)), (GRUCell(3, reset_after=False), (9,))],
)
def test_weights_have_kerass_shapes_and_names(cell, shape):
    built(cell)
    width = shape[-1]
    assert [tuple(w.shape) for w in cell.weights] == [(4, width), (3, width), shape]
    assert list(cell._parameters) == ["kernel", "recurrent_kernel", "bias"]


@pytest.mark.parametrize("cls", CELLS)
def test_kernels_are_torchs_weights_without_a_copy(cls):
    cell = built(cls(3))
    assert cell.kernel.t().is_contiguous() and cell.recurrent_kernel.t().is_contiguous()


@pytest.mark.parametrize("cls", CELLS)
def test_without_bias_there_is_none(cls):
    cell = built(cls(3, use_bias=False))
    assert cell.bias is None and len(cell.weights) == 2


def test_recurrent_kernels_begin_orthogonal():
    kernel = built(SimpleRNNCell(6)).recurrent_kernel
    torch.testing.assert_close(kernel @ kernel.t(), torch.eye(6), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cls", CELLS)
def test_regularizers_and_constraints_reach_the_weights(cls):
    cell = built(
        cls(
            3,
            kernel_regularizer="l2",
            recurrent_regularizer="l1",
            bias_initializer="ones",
            bias_regularizer="l1",
            kernel_constraint="non_neg",
            recurrent_constraint="unit_norm",
            bias_constraint="max_norm",
        )
    )
    wanted = [0.01 * cell.kernel.square().sum(), 0.01 * cell.recurrent_kernel.abs().sum(), 0.01 * cell.bias.abs().sum()]
    torch.testing.assert_close(torch.stack(cell.losses), torch.stack(wanted))
    held = [weight for weight, _ in cell.constrained_weights()]
    assert [id(w) for w in held] == [id(w) for w in (cell.kernel, cell.recurrent_kernel, cell.bias)]


# ------------------------------------------------------------------ dropout
@pytest.mark.parametrize("cls", CELLS)
def test_dropout_acts_only_in_training(cls):
    cell = built(cls(3, dropout=0.5, recurrent_dropout=0.5))
    x, states = torch.randn(4, 5, 4), cell.get_initial_state(batch_size=4)
    plain, _ = cell.sweep(x, states)
    torch.testing.assert_close(cell.sweep(x, states)[0], plain)
    assert not torch.allclose(cell.sweep(x, states, training=True)[0], plain)


@pytest.mark.parametrize("rate", [0.2, 0.7])
def test_inverted_dropout_keeps_the_mean(rate):
    cell = SimpleRNNCell(1, dropout=rate)
    (mask,) = cell.get_dropout_mask(torch.ones(200, 200))
    torch.testing.assert_close(mask.unique(), torch.tensor([0.0, 1 / (1 - rate)]))
    assert (mask == 0).float().mean().item() == pytest.approx(rate, abs=0.01)
    assert mask.mean().item() == pytest.approx(1.0, abs=0.03)


def test_everything_may_be_dropped():
    (mask,) = SimpleRNNCell(1, dropout=1.0).get_dropout_mask(torch.ones(3, 3))
    assert not mask.any()


def test_rates_are_brought_into_range_as_in_keras():
    cell = LSTMCell(2, dropout=1.5, recurrent_dropout=-0.5)
    assert (cell.dropout, cell.recurrent_dropout) == (1.0, 0.0)


@pytest.mark.parametrize("cls, gates", [(SimpleRNNCell, 1), (LSTMCell, 4), (GRUCell, 3)])
def test_recurrent_dropout_gives_each_gate_a_mask_of_its_own(cls, gates):
    x, h = torch.ones(9, 50), torch.ones(9, 60)
    cell = cls(60, dropout=0.5, recurrent_dropout=0.5)
    of_input, of_state = cell.get_dropout_mask(x), cell.get_recurrent_dropout_mask(h)
    assert len(of_input) == len(of_state) == gates
    assert len({tuple(m.flatten().tolist()) for m in of_state}) == gates
    assert len(cls(60, dropout=0.5).get_dropout_mask(x)) == 1
    assert len(cls(60, dropout=0.5, implementation=1).get_dropout_mask(x)) == gates
    assert cls(60).get_dropout_mask(x) == cls(60).get_recurrent_dropout_mask(h) == []


def test_a_mask_holds_until_it_is_reset():
    cell, x = GRUCell(50, dropout=0.5, recurrent_dropout=0.5), torch.ones(2, 50)
    of_input, of_state = cell.get_dropout_mask(x), cell.get_recurrent_dropout_mask(x)
    assert cell.get_dropout_mask(x) is of_input and cell.get_recurrent_dropout_mask(x) is of_state
    cell.reset_dropout_mask()
    assert not torch.equal(cell.get_dropout_mask(x)[0], of_input[0])
    assert cell.get_recurrent_dropout_mask(x) is of_state
    cell.reset_recurrent_dropout_mask()
    assert not torch.equal(cell.get_recurrent_dropout_mask(x)[0], of_state[0])
    assert cell.get_dropout_mask(torch.ones(3, 50))[0].shape == (3, 50)  # another batch size


@pytest.mark.parametrize("cls", CELLS)
def test_a_cell_in_training_drops_the_same_at_every_step(cls):
    cell = built(cls(3, dropout=0.5, seed=1), inputs=40)
    x, states = torch.randn(2, 40), cell.get_initial_state(batch_size=2)
    first, _ = cell(x, states, training=True)
    again, _ = cell(x, states, training=True)
    torch.testing.assert_close(first, again)
    assert not torch.allclose(first, cell(x, states)[0])
    cell.reset_dropout_mask()
    assert not torch.allclose(first, cell(x, states, training=True)[0])
    cell.train()
    torch.testing.assert_close(cell(x, states)[0], cell(x, states, training=True)[0])


def test_a_seed_repeats_the_dropout_whatever_torch_drew_meanwhile():
    x = torch.ones(4, 30)
    torch.rand(3)
    masks = [LSTMCell(2, dropout=0.5, seed=5).get_dropout_mask(x)[0] for _ in range(2)]
    assert torch.equal(*masks)
    assert not torch.equal(masks[0], LSTMCell(2, dropout=0.5, seed=6).get_dropout_mask(x)[0])


# ------------------------------------------------------------------ around the engine
@pytest.mark.parametrize("cls", CELLS)
def test_a_cell_stands_in_a_functional_model(cls):
    cell = cls(3)
    x, states = Input((4,)), [Input((3,)) for _ in range(cell.state_count)]
    y, after = cell(x, states)
    model = Model([x, *states], [y, *after])
    given = [torch.randn(2, 4), *[torch.randn(2, 3) for _ in states]]
    wanted, wanted_states = cell(given[0], given[1:])
    for a, b in zip(model(given), [wanted, *wanted_states], strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("cls", CELLS)
def test_the_shape_is_known_before_the_call(cls):
    cell = cls(3)
    shape, states = cell.compute_output_shape((None, 4))
    assert shape == (None, 3) and states == [(None, 3)] * cell.state_count
    y, after = cell(torch.ones(2, 4), [torch.ones(2, 3)] * cell.state_count)
    assert y.shape == (2, 3) and len(after) == len(states)


@pytest.mark.parametrize("cls", CELLS)
@pytest.mark.parametrize("units", [0, -1, 2.5, True])
def test_units_must_be_a_positive_whole_number(cls, units):
    with pytest.raises(ArgumentError, match=rf"{cls.__name__} needs units above zero"):
        cls(units)


@pytest.mark.parametrize("cls", CELLS)
def test_overriding_call_takes_a_cell_off_the_kernels(cls):
    class Doubled(cls):
        def call(self, inputs, states, training=None):
            y, states = super().call(inputs, states, training)
            return 2 * y, states

    plain, doubled = cls(3), Doubled(3)
    x = torch.randn(2, 5, 4)
    a, b = RNN(plain), RNN(doubled)
    a.build((None, 5, 4)), b.build((None, 5, 4))
    b.set_weights(a.get_weights())
    torch.testing.assert_close(b(x), 2 * a(x))


def test_an_activation_can_be_a_torch_function_or_a_layer():
    x = torch.randn(2, 5, 4)
    layers = [RNN(LSTMCell(3, activation=a)) for a in ("tanh", torch.tanh, torch.nn.Tanh())]
    for layer in layers:
        layer.build((None, 5, 4))
        layer.set_weights(layers[0].get_weights())
    for layer in layers[1:]:
        torch.testing.assert_close(layer(x), layers[0](x))


def test_the_default_float_type_is_the_weights_type():
    config.set_floatx("float64")
    cell = built(GRUCell(3))
    assert {w.dtype for w in cell.weights} == {torch.float64}
    y, _ = cell(torch.ones(2, 4, dtype=torch.float64), cell.get_initial_state(batch_size=2))
    assert y.dtype is torch.float64
