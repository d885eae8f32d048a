"""`RNN` around any cell: users' cells, masks, states that go on, shapes without data."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
import torch

from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.cells import GRUCell, LSTMCell, SimpleRNNCell
from lamina.layers.core import Dense
from lamina.layers.input import Input
from lamina.layers.rnn import RNN
from lamina.models import Model, Sequential

MASK = torch.tensor([[1, 1, 0, 0, 0], [0, 1, 0, 1, 1]]).bool()


class Sum(Layer):
    """A running sum; written as users write cells."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.state_size = units

    def call(self, inputs, states):
        total = inputs + states[0]
        return total, [total]


class Projecting(Layer):
    """A cell whose weights belong to a layer inside, built by nothing but its first call."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = Dense(units, use_bias=False)
        self.state_size = [units]
        self.output_size = units

    def call(self, inputs, states):
        new = self.dense(inputs) + states[0]
        return new, [new]


def test_a_users_cell_runs_along_the_steps():
    x = torch.randn(2, 5, 3)
    y, total = RNN(Sum(3), return_sequences=True, return_state=True)(x)
    torch.testing.assert_close(y, x.cumsum(1))
    torch.testing.assert_close(total, x.sum(1))


def test_backwards_begins_with_the_last_step():
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(RNN(Sum(3), return_sequences=True, go_backwards=True)(x), x.flip(1).cumsum(1))


def test_a_masked_step_keeps_the_state_and_repeats_or_zeroes_the_output():
    x = torch.arange(1.0, 11.0).view(2, 5, 1)
    y = RNN(Sum(1), return_sequences=True)(x, mask=MASK)
    assert y.squeeze(-1).tolist() == [[1, 3, 3, 3, 3], [0, 7, 7, 16, 26]]
    y = RNN(Sum(1), return_sequences=True, zero_output_for_mask=True)(x, mask=MASK)
    assert y.squeeze(-1).tolist() == [[1, 3, 0, 0, 0], [0, 7, 0, 16, 26]]
    last, state = RNN(Sum(1), return_state=True, zero_output_for_mask=True)(x, mask=MASK)
    assert last.flatten().tolist() == [0, 26] and state.flatten().tolist() == [3, 26]
    y = RNN(Sum(1), return_sequences=True, go_backwards=True)(x, mask=MASK)
    assert y.squeeze(-1).tolist() == [[0, 0, 0, 2, 3], [10, 19, 19, 26, 26]]


def test_one_mark_a_row_stands_for_the_whole_row():
    x = torch.ones(2, 5, 1)
    assert RNN(Sum(1))(x, mask=torch.tensor([True, False])).flatten().tolist() == [5, 0]


def test_a_mask_of_numbers_is_taken():
    x = torch.ones(2, 5, 1)
    assert RNN(Sum(1))(x, mask=MASK.numpy().astype("float32")).flatten().tolist() == [2, 3]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"mask does not fit[\s\S]*expected: shape \(2, 5\)[\s\S]*shape \(2, 4\)"):
        RNN(Sum(1))(torch.ones(2, 5, 1), mask=MASK[:, :4])


def test_the_mask_goes_on_where_steps_go_on():
    x = set_mask(torch.ones(2, 5, 1), MASK)
    y = RNN(Sum(1), return_sequences=True)(x)
    assert get_mask(y) is MASK
    assert get_mask(RNN(Sum(1))(x)) is None
    y, state = RNN(Sum(1), return_sequences=True, return_state=True)(x)
    assert get_mask(y) is MASK and get_mask(state) is None
    assert RNN(Sum(1), return_state=True)(x)[1].flatten().tolist() == [2, 3]


def test_an_initial_state_may_be_a_tensor_an_array_or_a_list():
    x, h = torch.ones(2, 5, 1), torch.full((2, 1), 10.0)
    for given in (h, [h], (h,), h.numpy(), [h.numpy()]):
        assert RNN(Sum(1))(x, initial_state=given).flatten().tolist() == [15, 15]


def test_a_missing_state_is_refused():
    layer = RNN(LSTMCell(3))
    with pytest.raises(ArgumentError, match=r"RNN has 2 states[\s\S]*sizes \[3, 3\][\s\S]*received: 1 tensors"):
        layer(torch.ones(2, 5, 4), initial_state=[torch.ones(2, 3)])


def test_a_list_of_cells_is_a_stack():
    layer = RNN([LSTMCell(4), GRUCell(3)], return_state=True)
    y, lower, upper = layer(torch.ones(2, 5, 6))
    assert [tuple(s.shape) for s in lower] == [(2, 4), (2, 4)] and upper.shape == (2, 3)
    assert layer.state_size == [[4, 4], 3]
    assert [np.shape(s) for s in layer.get_initial_state(2)[0]] == [(2, 4), (2, 4)]
    torch.testing.assert_close(y, upper)


@pytest.mark.parametrize("cell", [3, Dense(4), LSTMCell, "lstm"])
def test_what_is_no_cell_is_refused(cell):
    with pytest.raises(ArgumentError, match=r"RNN needs cells[\s\S]*state_size"):
        RNN(cell)


def test_an_unknown_argument_is_refused():
    with pytest.raises(ArgumentError, match=r"RNN has no argument 'time_major'"):
        RNN(LSTMCell(3), time_major=True)


def test_a_torch_module_with_a_state_size_is_a_cell():
    class Module(torch.nn.Module):
        state_size = 2

        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(3, 2)

        def forward(self, x, states):
            return states[0], [states[0] + self.linear(x)]

    layer = RNN(Module())
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(layer(x), layer.cell.linear(x[:, :-1]).sum(1))
    assert len(layer.weights) == 2


def test_a_users_cell_with_dropout_gets_one_mask_a_sequence_and_another_for_the_next():
    class Mine(SimpleRNNCell):
        def call(self, inputs, states, training=None):
            return super().call(inputs, states, training)

    cell = Mine(20, activation=None, recurrent_initializer="zeros", dropout=0.5)
    layer, x = RNN(cell, return_sequences=True), torch.rand(1, 1, 30).expand(2, 4, 30)
    first, second = layer(x, training=True), layer(x, training=True)
    torch.testing.assert_close(first, first[:, :1].expand_as(first))
    assert not torch.allclose(first, second)
    assert not torch.allclose(cell(x[:, 0], [torch.zeros(2, 20)], training=True)[0], second[:, 0])


# ------------------------------------------------------------------ building, shapes, models
def test_layers_inside_a_users_cell_are_built_without_data():
    layer = RNN(Projecting(4))
    layer.build((None, None, 3))
    assert [tuple(w.shape) for w in layer.weights] == [(3, 4)]
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(layer(x), (x @ layer.cell.dense.kernel).sum(1))


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("return_state", [False, True])
@pytest.mark.parametrize("cell", [lambda: Sum(3), lambda: LSTMCell(4), lambda: [LSTMCell(4), GRUCell(2)]])
def test_symbolic_results_have_the_form_of_real_ones(return_sequences, return_state, cell):
    layer = RNN(cell(), return_sequences=return_sequences, return_state=return_state)
    symbolic = layer(Input((None, 3)))
    real = layer(torch.randn(2, 5, 3))

    def shapes(result):
        if isinstance(result, (list, tuple)):
            return type(result)(shapes(r) for r in result)
        return tuple({2: None, 5: None}.get(size, size) for size in result.shape)

    if not (return_state and isinstance(cell(), list)):  # those of stacked cells share sizes with the batch
        assert shapes(real) == shapes(symbolic)
    assert isinstance(symbolic, tuple) is return_state
    stated = layer.compute_output_shape((2, 5, 3))
    flat = [stated] if not return_state else [stated[0]]
    assert flat[0] == tuple((real[0] if return_state else real).shape)


def test_a_subclassed_model_is_built_without_walking_thousands_of_steps():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.body, self.head = RNN([GRUCell(4), Projecting(3)], return_state=True), Dense(2)

        def call(self, x):
            return self.head(self.body(x)[0])

    net = Net()
    start = time.perf_counter()
    net.build((None, None, 5))
    assert time.perf_counter() - start < 5  # the loop took a minute
    assert net.count_params() == 5 * 12 + 4 * 12 + 24 + 4 * 3 + 3 * 2 + 2
    assert net(torch.ones(2, 3, 5)).shape == (2, 2)


def test_initial_states_may_come_from_another_layer_of_the_graph():
    x, start = Input((5, 1)), Input((1,))
    model = Model([x, start], RNN(Sum(1))(x, initial_state=10 * start))
    assert model([torch.ones(2, 5, 1), torch.ones(2, 1)]).flatten().tolist() == [15, 15]


def test_a_sequential_learns_its_shape_from_the_first_layer():
    model = Sequential([RNN(GRUCell(4), input_shape=(None, 3)), Dense(2)])
    assert model.output_shape == (None, 2) and model.count_params() == 36 + 48 + 24 + 10


def test_a_fresh_copy_computes_the_same():
    layer = RNN([LSTMCell(4), SimpleRNNCell(3)], return_sequences=True)
    x = torch.randn(2, 5, 3)
    wanted = layer(x)
    torch.testing.assert_close(copy.deepcopy(layer)(x), wanted)
    other = RNN.from_config(layer.get_config())
    other(x)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), wanted)


# ------------------------------------------------------------------ stateful
def test_a_stateful_layer_goes_on_until_it_is_reset():
    layer, x = RNN(Sum(1), stateful=True), torch.ones(2, 3, 1)
    assert layer.states is None
    assert [layer(x)[0, 0].item() for _ in range(3)] == [3, 6, 9]
    assert layer.states is not None and layer.states[0].flatten().tolist() == [9, 9]
    layer.reset_state()
    assert layer(x)[0, 0].item() == 3
    layer.reset_states()
    assert layer.states[0].flatten().tolist() == [0, 0]
    assert layer(x, initial_state=torch.full((2, 1), 7.0))[0, 0].item() == 10
    assert layer(x)[0, 0].item() == 13


def test_a_plain_layer_has_no_states_to_reset():
    layer = RNN(Sum(1))
    layer.reset_state()
    assert layer.states is None and layer(torch.ones(2, 3, 1))[0, 0].item() == 3


def test_kept_states_are_no_weights_and_no_part_of_files():
    layer = RNN(LSTMCell(4), stateful=True)
    layer.build((2, 5, 3))
    assert [tuple(s.shape) for s in layer.states or []] == [(2, 4), (2, 4)]
    assert len(layer.weights) == 3 and len(layer.state_dict()) == 3
    assert {name for name, _ in layer.named_buffers()} == {"state_0", "state_1"}
    assert layer.double().states[0].dtype is torch.float64


def test_gradients_stop_where_the_batch_before_ended():
    layer = RNN(LSTMCell(4), stateful=True)
    x = torch.randn(2, 3, 5)
    layer(x)
    for _ in range(2):
        y = layer(x)
        layer(x)  # changes the kept states before the gradient of y is taken
        y.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())
    assert not any(s.requires_grad for s in layer.states or [])


def test_another_batch_size_is_refused():
    layer = RNN(Sum(1), stateful=True)
    layer(torch.ones(2, 3, 1))
    with pytest.raises(
        ShapeError, match=r"batches of one size[\s\S]*a batch of 2[\s\S]*a batch of 4[\s\S]*batch_size=2"
    ):
        layer(torch.ones(4, 3, 1))


def test_a_stateful_layer_in_a_model_takes_the_batch_size_from_its_input():
    x = Input(batch_shape=(2, 3, 1))
    layer = RNN(Sum(1), stateful=True)
    model = Model(x, layer(x))
    assert layer.states is not None and layer.states[0].shape == (2, 1)
    assert [model(torch.ones(2, 3, 1))[0, 0].item() for _ in range(2)] == [3, 6]


def test_building_a_model_leaves_kept_states_alone():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.body = RNN(LSTMCell(4), stateful=True)

        def call(self, x):
            return self.body(x)

    net = Net()
    net.build((2, 6, 3))
    first = net(torch.ones(2, 6, 3))
    net.body.reset_state()
    torch.testing.assert_close(net(torch.ones(2, 6, 3)), first)
    assert not torch.allclose(net(torch.ones(2, 6, 3)), first)


# ------------------------------------------------------------------ tracing
@pytest.mark.parametrize("cell", [lambda: Sum(3), lambda: Projecting(3), lambda: [LSTMCell(4), GRUCell(3)]])
def test_it_traces(cell):
    layer = RNN(cell(), return_sequences=True, zero_output_for_mask=True)
    x = torch.randn(2, 5, 3)
    wanted, wanted_masked = layer(x), layer(x, mask=MASK)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), wanted)
    torch.testing.assert_close(compiled(x, mask=MASK), wanted_masked)
    batch = torch.export.Dim("batch")
    exported = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},)).module()
    torch.testing.assert_close(exported(x), wanted)
    more = torch.randn(7, 5, 3)
    torch.testing.assert_close(exported(more), layer(more))


def test_a_stateful_layer_traces_and_goes_on():
    layer = RNN(LSTMCell(3), stateful=True)
    x = torch.randn(2, 5, 3)
    wanted = [layer(x), layer(x)]
    layer.reset_state()
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    for y in wanted:
        torch.testing.assert_close(compiled(x), y)


def test_dropout_of_a_cell_traces():
    layer = RNN(LSTMCell(3, dropout=0.5, recurrent_dropout=0.2))
    layer.build((None, 5, 3))
    torch._dynamo.reset()
    compiled = torch.compile(layer.train(), fullgraph=True, backend="eager")
    x = torch.randn(2, 5, 3)
    assert not torch.allclose(compiled(x), compiled(x))
