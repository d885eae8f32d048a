"""`clone_model`: the same architecture, other layers and other weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import lamina
from lamina import layers as L
from lamina.errors import ArgumentError
from lamina.models import Functional, Sequential, clone_model


def functional() -> Any:
    x = L.Input((4,), name="x")
    shared = L.Dense(4, name="shared")
    inner = Sequential([L.Input((4,)), L.Dense(4, name="inside")], name="inner")
    scale = torch.nn.Parameter(torch.full((4,), 2.0))
    h = shared(shared(x)) * scale + x @ shared.kernel
    return lamina.Model(x, {"a": inner(h), "b": torch.relu(h)[:, ::2]}, name="net")


def assert_same_numbers(one: Any, other: Any, x: Any) -> None:
    other.set_weights(one.get_weights())
    first, second = one(x), other(x)
    leaves = [(first[key], second[key]) for key in first] if isinstance(first, dict) else [(first, second)]
    assert all(torch.equal(a, b) for a, b in leaves)


def test_a_functional_model_is_cloned():
    model = functional()
    clone = clone_model(model)
    assert type(clone) is Functional and clone.name == "net"
    assert [layer.name for layer in clone.layers] == [layer.name for layer in model.layers]
    assert not {id(w) for w in clone.weights} & {id(w) for w in model.weights}
    assert len(clone.weights) == len(model.weights) == 5  # the kernel that an operation uses stays the layer's
    assert_same_numbers(model, clone, torch.randn(3, 4))
    assert model.get_layer("shared").nodes[0].inputs[0].name == "x"


def test_a_sequential_model_is_cloned():
    model = Sequential([L.Input((4,), name="begin"), L.Dense(3), L.Dropout(0.5)], name="row")
    clone = clone_model(model)
    assert type(clone) is Sequential and clone.input_names == ["begin"] and clone.layers[0] is not model.layers[0]
    assert_same_numbers(model, clone, torch.randn(3, 4))
    loose = Sequential([L.Dense(3)])
    assert not clone_model(loose).built
    loose(torch.ones(2, 4))
    assert clone_model(loose).built


def test_layers_can_be_replaced_on_the_way():
    def narrower(layer: Any) -> Any:
        config = layer.get_config()
        if isinstance(layer, L.Dropout):
            config["rate"] = 0.0
        return type(layer).from_config(config)

    model = Sequential([L.Input((4,)), L.Dropout(0.5), Sequential([L.Dropout(0.3)], name="inside")])
    clone = clone_model(model, clone_function=narrower)
    assert clone.layers[0].rate == 0.0 and clone.layers[1].layers[0].rate == 0.3
    deep = clone_model(model, clone_function=narrower, recursive=True)
    assert deep.layers[1].layers[0].rate == 0.0


def test_calls_can_be_changed_on_the_way():
    def with_dropout(layer: Any, *args: Any, **kwargs: Any) -> Any:
        y = layer(*args, **kwargs)
        return L.Dropout(0.5)(y) if isinstance(layer, L.Dense) else y

    x = L.Input((4,))
    model = lamina.Model(x, L.Dense(2, name="last")(L.Dense(3)(x)))
    clone = clone_model(model, call_function=with_dropout)
    assert sum(isinstance(layer, L.Dropout) for layer in clone.layers) == 2
    shared = clone_model(model, clone_function=lambda layer: layer, call_function=with_dropout)
    assert shared.get_layer("last") is model.get_layer("last")


def test_other_inputs_can_be_given():
    model = functional()
    start = L.Input((4,), name="start")
    clone = clone_model(model, input_tensors=L.Dense(4)(start))
    assert_same_numbers(model, clone, torch.randn(3, 4))
    row = clone_model(Sequential([L.Input((4,)), L.Dense(2)]), input_tensors=[L.Input((6,), name="wide")])
    assert row.input_shape == (None, 6) and row.weights[0].shape == (6, 2)
    for wrong in ([], [start, start], [3]):
        with pytest.raises(ArgumentError, match="These are not the inputs of the model"):
            clone_model(model, input_tensors=wrong)


def test_a_compiled_model_gives_a_compiled_clone():
    model = Sequential([L.Input((4,)), L.Dense(1)])
    model.compile(lamina.optimizers.SGD(0.25), "mse", metrics=["mae"])
    clone = clone_model(model)
    assert clone.compiled and clone.optimizer is not model.optimizer and clone.optimizer.learning_rate == 0.25
    clone.fit(torch.ones(2, 4), torch.ones(2, 1), verbose=0)


def test_classes_of_the_user_need_no_registration():
    class Twice(L.Layer):
        def call(self, x: Any) -> Any:
            return 2 * x

    class Net(lamina.Model):
        def __init__(self, units: int = 2, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.units = units
            self.dense = L.Dense(units)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    def halved(x: Any) -> Any:
        return x / 2

    class Halves(lamina.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return torch.full(shape, 0.5, dtype=dtype)

    last = L.Dense(2, activation=halved, kernel_initializer=Halves())
    row = clone_model(Sequential([L.Input((4,)), L.Lambda(halved), Twice(), last]))
    assert isinstance(row.layers[1], Twice) and row.layers[2].activation is halved
    assert float(row.layers[2].kernel[0, 0].detach()) == 0.5
    net = Net(units=5)
    net.build((None, 3))
    again = clone_model(net)
    assert type(again) is Net and again.units == 5 and again.built
    with pytest.raises(ArgumentError, match="clone_function is of no use for a model of class Net"):
        clone_model(net, clone_function=lambda layer: layer)
    with pytest.raises(ArgumentError, match="call_function is of no use"):
        clone_model(Sequential([L.Dense(2)]), call_function=lambda layer, x: layer(x))
    with pytest.raises(ArgumentError, match="clone_model takes a model"):
        clone_model(torch.nn.Linear(2, 2))
