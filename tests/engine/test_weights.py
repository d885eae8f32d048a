"""A layer owns its weights, in Keras's order, whatever way they were made and wherever they are kept."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from lamina import constraints, regularizers
from lamina.engine.layer import Layer
from lamina.engine.weights import WeightOwner, in_memory_order
from lamina.errors import ArgumentError, WeightsError
from lamina.layers import Dense, Embedding, Input
from lamina.models import Model


class Scaled(Layer):
    """Weights made in `__init__` and in `build`, assigned and not."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.early = self.add_weight((), "ones", name="early")
        self.add_weight((2,), "zeros", name="loose", trainable=False)

    def build(self, input_shape):
        self.late = self.add_weight((input_shape[-1],), "ones", name="late")
        self.add_weight((3,), "ones", name="loose")

    def call(self, x):
        return x * self.early * self.late


def test_weights_from_init_and_build_are_registered_assigned_or_not():
    layer = Scaled()
    assert [tuple(w.shape) for w in layer.weights] == [(), (2,)]
    layer(torch.ones(2, 4))
    assert [name for name, _ in layer.named_parameters()] == ["early", "late", "loose_1"]
    assert [name for name, _ in layer.named_buffers()] == ["loose"]
    assert [tuple(w.shape) for w in layer.weights] == [(), (4,), (3,), (2,)]
    assert len(layer.trainable_weights) == 3 and len(layer.non_trainable_weights) == 1
    assert set(layer.state_dict()) == {"early", "late", "loose", "loose_1"}
    assert layer.variables[0] is layer.weights[0] and layer.trainable_variables[0] is layer.trainable_weights[0]
    assert layer.non_trainable_variables[0] is layer.non_trainable_weights[0]


def test_a_weight_without_a_name_and_one_whose_name_is_taken_are_registered():
    class Nameless(Layer):
        def build(self, input_shape):
            self.add_weight((1,))
            self.add_weight((2,))
            self.add_weight((3,), name="output")
            self.add_weight((4,), name="call")
            self.add_weight((5,), name="a.b")
            self.add_weight((6,), name="a.b")

        def call(self, x):
            return x

    layer = Nameless()
    layer.build((None, 1))
    names = ["weight", "weight_1", "output_1", "call_1", "a_b", "a_b_1"]
    assert [name for name, _ in layer.named_parameters()] == names
    assert layer.count_params() == 21


def test_weights_in_lists_and_dicts_are_registered_once():
    class Listed(Layer):
        def __init__(self):
            super().__init__()
            self.scales = [self.add_weight((2,), "ones", name="scale", regularizer="l2") for _ in range(2)]
            self.table = {"a": self.add_weight((2,), "ones", constraint="non_neg", name="a")}
            self.counts = [self.add_weight((2,), "zeros", trainable=False)]

        def call(self, x):
            return x * self.scales[0] * self.scales[1] * self.table["a"] + self.counts[0]

    layer = Listed()
    layer(torch.ones(1, 2))
    assert list(layer.state_dict()) == ["scales.0", "scales.1", "table.a", "counts.0"]
    assert len(layer.weights) == 4 and layer.count_params() == 8
    torch.testing.assert_close(torch.stack(layer.losses), torch.full((2,), 0.02))
    ((weight, constraint),) = layer.constrained_weights()
    assert weight is layer.table["a"] and isinstance(constraint, constraints.NonNeg)
    layer.double()
    assert layer.counts[0].dtype is layer.scales[0].dtype is torch.float64
    assert layer(torch.ones(1, 2, dtype=torch.float64)).tolist() == [[1.0, 1.0]]
    zeros = {name: torch.zeros(2, dtype=torch.float64) for name, _ in layer.named_parameters()}
    swapped = torch.func.functional_call(layer, zeros, (torch.ones(1, 2, dtype=torch.float64),))
    assert swapped.tolist() == [[0.0, 0.0]]
    copied = copy.deepcopy(layer)
    assert list(copied.state_dict()) == list(layer.state_dict()) and len(copied.losses) == 2


def test_weights_stand_in_keras_order():
    class Inner(Layer):
        def build(self, input_shape):
            self.moving = self.add_weight((1,), trainable=False, name="moving")
            self.dense = Dense(2)
            self.dense.build(input_shape)
            self.own = self.add_weight((5,), name="own")

        def call(self, x):
            return self.dense(x)

    layer = Inner()
    layer.build((None, 3))
    assert [tuple(w.shape) for w in layer.weights] == [(5,), (1,), (3, 2), (2,)]
    assert [w.shape for w in layer.get_weights()] == [(5,), (1,), (3, 2), (2,)]


def test_the_default_initializer_is_glorot_for_floats_and_zeros_for_the_rest():
    owner = WeightOwner()
    owner.kernel = owner.add_weight((200, 100))
    assert 0.9 < owner.kernel.abs().max() / np.sqrt(6 / 300) <= 1.0
    owner.count = owner.add_weight((3,), dtype="int64")
    assert owner.count.tolist() == [0, 0, 0] and owner.count.dtype is torch.int64
    assert isinstance(owner.kernel, torch.nn.Parameter) and not isinstance(owner.count, torch.nn.Parameter)


@pytest.mark.parametrize(
    ("shape", "sizes"), [(None, ()), ((), ()), (3, (3,)), ([2, 3], (2, 3)), (torch.Size((2,)), (2,))]
)
def test_a_shape_may_be_given_in_any_form(shape, sizes):
    assert tuple(WeightOwner().add_weight(shape, "ones").shape) == sizes


def test_a_shape_with_an_unknown_size_is_refused():
    with pytest.raises(ArgumentError, match="The weight 'kernel' cannot be made: a size of its shape is not known"):
        WeightOwner().add_weight((None, 3), name="kernel")
    x = Input((None,))
    with pytest.raises(ArgumentError, match="Layer 'wide': The weight 'kernel' cannot be made"):
        Dense(2, name="wide")(x)


def test_the_order_of_memory_changes_strides_and_nothing_else():
    owner = WeightOwner()
    torch.manual_seed(1)
    plain = owner.add_weight((2, 3, 4))
    torch.manual_seed(1)
    ordered = owner.add_weight((2, 3, 4), memory_order=(2, 0, 1))
    assert torch.equal(plain, ordered)
    assert ordered.permute(2, 0, 1).is_contiguous()
    assert in_memory_order(torch.zeros(2, 3, 4, 5), (3, 2, 0, 1)).shape == (2, 3, 4, 5)


def test_get_and_set_weights_go_round():
    first, second = Dense(3), Dense(3)
    for layer in (first, second):
        layer.build((None, 2))
    values = first.get_weights()
    second.set_weights(values)
    for mine, theirs in zip(first.weights, second.weights, strict=True):
        assert torch.equal(mine, theirs)
    values[0][:] = 7.0  # a copy
    assert first.kernel.max() < 7.0
    strides = second.kernel.stride()
    second.set_weights([torch.ones(2, 3), [1.0, 2.0, 3.0]])
    assert second.kernel.tolist() == [[1.0] * 3] * 2 and second.bias.tolist() == [1.0, 2.0, 3.0]
    assert second.kernel.stride() == strides and second.kernel.requires_grad


def test_bfloat16_weights_come_out_as_float32():
    layer = Dense(2, dtype="bfloat16")
    layer.build((None, 2))
    assert [w.dtype for w in layer.get_weights()] == [np.float32, np.float32]


def test_set_weights_refuses_what_does_not_fit_and_changes_nothing():
    layer = Dense(3, name="d")
    layer.build((None, 2))
    before = layer.get_weights()
    with pytest.raises(WeightsError, match="Dense 'd' has 2 weights, not 1") as caught:
        layer.set_weights([np.ones((2, 3))])
    assert "kernel (2, 3), bias (3,)" in str(caught.value) and "(2, 3)" in str(caught.value)
    with pytest.raises(WeightsError, match="A weight of Dense 'd' has another shape") as caught:
        layer.set_weights([np.ones((2, 3)), np.ones(4)])
    assert "bias (3,)" in str(caught.value) and "shape (4,)" in str(caught.value)
    with pytest.raises(WeightsError, match="has 0 weights, not 2") as caught:
        Dense(3).set_weights([np.ones((2, 3)), np.ones(3)])
    assert "build the model first" in str(caught.value)
    for mine, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, old)


def test_freezing_reaches_every_parameter_inside_and_so_does_unfreezing():
    class Block(Layer):
        def __init__(self):
            super().__init__()
            self.dense, self.linear, self.more = Dense(2), torch.nn.Linear(2, 2), [Dense(2)]

        def call(self, x):
            return self.more[0](self.linear(self.dense(x)))

    block = Block()
    block(torch.ones(1, 2))
    assert len(block.trainable_weights) == 6
    block.trainable = False
    assert not block.dense.trainable and not any(p.requires_grad for p in block.parameters())
    assert block.trainable_weights == [] and len(block.non_trainable_weights) == 6
    block.trainable = True
    assert len(block.trainable_weights) == 6 and block.more[0].trainable


def test_a_layer_frozen_from_the_start_makes_frozen_weights_and_layers():
    class Block(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.linear = torch.nn.Linear(2, 2)
            self.dense = Dense(2)

        def build(self, input_shape):
            self.inner = Dense(2)
            self.own = self.add_weight((2,))

        def call(self, x):
            return self.inner(self.dense(self.linear(x))) * self.own

    block = Block(trainable=False)
    block(torch.ones(1, 2))
    assert len(block.weights) == 7 and block.trainable_weights == []
    block.late = Dense(2)
    assert not block.late.trainable


def test_regularizers_give_penalties_for_weights_that_are_trained():
    layer = Dense(2, kernel_regularizer=regularizers.L1(0.1), bias_regularizer="l2", bias_initializer="ones")
    layer.build((None, 3))
    kernel, bias = layer.losses
    torch.testing.assert_close(kernel, 0.1 * layer.kernel.abs().sum())
    torch.testing.assert_close(bias, 0.01 * layer.bias.square().sum())
    layer.trainable = False
    assert layer.losses == []


def test_a_regularizer_sees_a_parametrized_weight():
    class Double(torch.nn.Module):
        def forward(self, w):
            return 2 * w

    layer = Dense(2, kernel_regularizer="l1", use_bias=False)
    layer.build((None, 3))
    before = layer.losses[0].item()
    torch.nn.utils.parametrize.register_parametrization(layer, "kernel", Double())
    assert layer.losses[0].item() == pytest.approx(2 * before)


def test_constrained_weights_are_found_in_the_layers_inside():
    x = Input((3,))
    model = Model(x, Dense(2, kernel_constraint="max_norm")(Dense(3, bias_constraint="unit_norm")(x)))
    found = model.constrained_weights()
    assert [tuple(weight.shape) for weight, _ in found] == [(3,), (3, 2)]
    assert [type(constraint).__name__ for _, constraint in found] == ["UnitNorm", "MaxNorm"]


def test_a_weight_shared_by_two_layers_counts_once():
    class Tied(Layer):
        def __init__(self):
            super().__init__()
            self.embedding = Embedding(5, 3)
            self.embedding.build()
            self.kernel = self.embedding.embeddings

        def call(self, x):
            return self.embedding(x) @ self.kernel.t()

    layer = Tied()
    assert len(layer.weights) == 1
    assert layer(torch.tensor([[1, 2]])).shape == (1, 2, 5)
    assert layer.count_params() == 15


def test_added_losses_are_those_of_the_last_call():
    class Adds(Layer):
        def call(self, x):
            self.add_loss(x.sum())
            self.add_loss([x.mean(), None, x])
            return x

    layer = Adds()
    for value in (1.0, 2.0):
        layer(torch.full((2, 2), value))
        assert [loss.item() for loss in layer.losses] == [4 * value, value, value]
    x = Input((2,))
    twice = Model(x, layer(layer(x)))
    for _ in range(2):
        twice(torch.ones(1, 2))
        assert len(twice.losses) == 6
    twice.clear_losses()
    assert twice.losses == [] and layer.losses == []


def test_activity_regularizers_add_up_over_nested_models_and_start_anew_each_call():
    x = Input((3,))
    inner = Model(x, Dense(2, activity_regularizer="l1", name="a")(x))
    outer = Model(x, Dense(2, activity_regularizer=regularizers.L2(0.5), name="b")(inner(x)))
    data = torch.randn(4, 3)
    for _ in range(3):
        y = outer(data)
        first, second = outer.losses
        h = inner.get_layer("a").call(data)
        torch.testing.assert_close(first, 0.01 * h.abs().sum() / 4)
        torch.testing.assert_close(second, 0.5 * y.square().sum() / 4)
    copied = copy.deepcopy(outer)  # the losses hang on a graph, which cannot be copied
    assert copied.losses == []


def test_building_and_counting_without_data_adds_no_losses():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2, activity_regularizer="l2")

        def call(self, x):
            self.add_loss(x.sum())
            return self.dense(x)

    net = Net()
    net.build((None, 3))
    assert net.losses == []
    net(torch.ones(1, 3))
    before = net.losses
    net.summary(print_fn=lambda text: None)
    assert len(before) == 2 and [a is b for a, b in zip(net.losses, before, strict=True)] == [True, True]


def test_a_failed_build_leaves_no_weight_behind():
    class Fails(Layer):
        fail = True

        def build(self, input_shape):
            kernel = self.add_weight((3,), name="kernel")
            if self.fail:
                raise RuntimeError("later")
            self.kernel = kernel

        def call(self, x):
            return x * self.kernel

    layer = Fails()
    with pytest.raises(RuntimeError, match="later"):
        layer.build((None, 3))
    assert layer.weights == [] and not layer.built
    layer.fail = False
    layer.build((None, 3))
    assert [name for name, _ in layer.named_parameters()] == ["kernel"]


def test_attributes_that_would_be_lost_or_hidden_are_refused():
    class TooEarly(Layer):
        def __init__(self):
            self.dense = Dense(2)
            super().__init__()

    with pytest.raises(ArgumentError, match="TooEarly was given its attribute 'dense' before it was set up") as caught:
        TooEarly()
    assert "call super().__init__() first in TooEarly.__init__" in str(caught.value)

    class Hidden(Layer):
        def __init__(self, value):
            super().__init__()
            self.output = value

    for value in (Dense(2), [Dense(2)], torch.nn.Parameter(torch.ones(1))):
        with pytest.raises(ArgumentError, match="Hidden cannot have an attribute 'output' of its own") as caught:
            Hidden(value)
        assert "rename it, for example to self.my_output" in str(caught.value)


def test_plain_attributes_may_be_set_before_super():
    class Early(Layer):
        def __init__(self):
            self.units = 3
            self.sizes = [1, 2]
            super().__init__()

    assert Early().units == 3 and Early().sizes == [1, 2]


def test_a_torch_module_takes_the_mode_of_the_layer_that_it_is_assigned_to():
    layer = WeightOwner()
    layer.drop = torch.nn.Dropout(0.5)
    assert not layer.drop.training
    layer.train()
    layer.norm = torch.nn.BatchNorm1d(2).eval()
    assert layer.norm.training and layer.drop.training
