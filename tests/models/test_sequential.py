"""A row of layers, with its input's shape stated, found in its first layer, or left to the data."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from lamina import naming
from lamina.errors import ArgumentError, DtypeError, GraphError, NotBuiltError, ShapeError
from lamina.layers import Activation, Dense, Embedding, Flatten, Input, InputLayer
from lamina.models import Model, Sequential

X = torch.randn(3, 4)


# ---------------------------------------------------------------------- three ways to know the input
def test_an_input_first_builds_each_layer_as_it_is_added():
    model = Sequential([Input((4,))])
    for units in (5, 6):
        layer = Dense(units)
        model.add(layer)
        assert layer.built and model.built and model.output_shape == (None, units)
    assert model.input_shape == (None, 4) and model.count_params() == 25 + 36
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]


@pytest.mark.parametrize(
    "first",
    [
        lambda: Dense(5, input_shape=(4,)),
        lambda: Dense(5, input_dim=4),
        lambda: Activation("relu", input_shape=(4,)),
    ],
    ids=["shape", "dim", "activation"],
)
def test_the_first_layer_may_state_the_shape(first):
    model = Sequential([first(), Dense(2)])
    assert model.built and model.input_shape == (None, 4)


def test_an_embedding_states_whole_numbers():
    model = Sequential([Embedding(9, 3, input_length=5), Flatten()])
    assert model.input_shape == (None, 5) and model.inputs[0].dtype is torch.int64
    assert model.output_shape == (None, 15)


def test_without_a_shape_the_first_data_build_the_model():
    model = Sequential([Dense(5), Dense(2)])
    assert not model.built
    y = model(X)
    assert model.built and y.shape == (3, 2) and model.input_shape == (None, 4) and model.count_params() == 25 + 12
    assert torch.equal(model(X), y)


def test_build_takes_a_shape():
    model = Sequential([Dense(5), Dense(2)])
    model.build((None, 4))
    assert model.built and model.output_shape == (None, 2)
    kernel = model.layers[0].kernel
    model.build((None, 7))  # built already
    model(X)
    assert model.layers[0].kernel is kernel


def test_a_shape_found_in_data_binds_only_the_weights():
    model = Sequential([Embedding(9, 3), Dense(2)])
    for length in (5, 7, 1):
        assert model(torch.ones(2, length, dtype=torch.int64)).shape == (2, length, 2)
    with pytest.raises(ShapeError, match="has another shape"):
        model(torch.ones(2, dtype=torch.int64))
    narrow = Sequential([Dense(2, name="d")], name="s")
    narrow(X)
    with pytest.raises(ShapeError, match="Layer 's/d': Dense cannot take this input") as caught:
        narrow(torch.ones(3, 5))
    assert "4 on axis -1" in str(caught.value)


def test_whole_numbers_first_do_not_make_later_floats_whole():
    model = Sequential([Dense(2, kernel_initializer="ones")])
    model(np.ones((1, 3), "int64"))
    assert model(torch.full((1, 3), 0.5)).tolist() == [[1.5, 1.5]]


def test_a_stated_shape_binds_the_data():
    model = Sequential([Input((None, 3)), Dense(2)])
    assert model(torch.ones(2, 9, 3)).shape == (2, 9, 2)
    with pytest.raises(ShapeError, match="has another shape"):
        model(torch.ones(2, 9, 4))


def test_a_model_that_does_not_know_its_input_says_so():
    model = Sequential([Dense(2)], name="blank")
    for question in (lambda: model.output_shape, lambda: model.graph, lambda: model.code):
        with pytest.raises(NotBuiltError, match="Sequential 'blank' does not know the shape of its input yet"):
            question()
    for question in (model.count_params, model.summary):
        with pytest.raises(NotBuiltError, match="Sequential 'blank' is not built"):
            question()


# ---------------------------------------------------------------------- adding and taking away
def test_pop_gives_the_last_layer_back():
    model = Sequential([Input((4,)), Dense(5, name="a"), Dense(2, name="b")])
    layer = model.pop()
    assert layer.name == "b" and model.output_shape == (None, 5) and len(model.weights) == 2
    assert model(X).shape == (3, 5) and "b" not in dict(model.named_children())
    model.add(layer)
    assert model(X).shape == (3, 2) and len(model.weights) == 4
    assert layer.output.shape == (None, 2)
    model.pop()
    model.pop()
    assert not model.built and model.layers == []
    model.add(Dense(7))
    assert model(X).shape == (3, 7)


def test_pop_of_an_unbuilt_model_and_of_an_empty_one():
    model = Sequential([Dense(5), Dense(2)], name="s")
    assert model.pop().units == 2 and model(X).shape == (3, 5)
    model.pop()
    with pytest.raises(ArgumentError, match="'s' has no layer to take away"):
        model.pop()


def test_layers_may_be_added_after_data_have_built_the_model():
    model = Sequential([Dense(5)])
    model(X)
    model.add(Dense(2))
    assert model(X).shape == (3, 2) and model.output_shape == (None, 2)


def test_an_empty_sequential_gives_back_what_it_gets():
    assert Sequential()(X) is X
    assert torch.equal(Sequential([Input((4,))])(X), X)


def test_a_model_of_one_layer_may_be_given_the_layer_alone():
    assert Sequential(Dense(5))(X).shape == (3, 5)


MISTAKES = {
    "a class": (lambda: Sequential([Dense]), ArgumentError, "Sequential takes layers", "Dense(10)"),
    "a function": (lambda: Sequential([len]), ArgumentError, "Sequential takes layers", "use Lambda for a function"),
    "a tensor": (lambda: Sequential([Dense(1)(Input((2,)))]), ArgumentError, "Sequential takes layers", "layer"),
    "a late input": (lambda: Sequential([Dense(1), Input((2,))]), ArgumentError, "An Input must come first", "before"),
    "two inputs": (lambda: Sequential([Input((2,)), Input((2,))]), ArgumentError, "An Input must come first", "before"),
    "one name": (
        lambda: Sequential([Dense(1, name="a"), Dense(2, name="a")]),
        GraphError,
        "Two layers of 'sequential' are named 'a'",
        "another name=",
    ),
    "one layer twice": (
        lambda: Sequential([layer := Dense(1), layer]),
        GraphError,
        "Two layers of 'sequential' are named 'dense'",
        "make a new layer for each place",
    ),
    "a shape": (lambda: Sequential([Input((2,)), Dense(1), Conv()]), ShapeError, "cannot take this input", "axis"),
}


class Conv(Dense):
    """Asks for images."""

    def __init__(self):
        super().__init__(1)
        self.input_spec.min_ndim = 4


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_refused(name):
    function, error, what, fix = MISTAKES[name]
    with pytest.raises(error, match=what) as caught:
        function()
    assert fix in str(caught.value)


def test_a_model_cannot_contain_itself_not_even_deep_inside():
    model = Sequential([Dense(1)], name="s")
    with pytest.raises(ArgumentError, match="'s' cannot contain itself: that is a cycle"):
        model.add(model)
    with pytest.raises(ArgumentError, match="'s' cannot contain itself: that is a cycle"):
        model.add(Sequential([model]))


def test_several_inputs_are_refused():
    with pytest.raises(DtypeError, match="'s' takes one tensor") as caught:
        Sequential([Dense(1)], name="s")([X, X])
    assert "use Model(inputs, outputs)" in str(caught.value)


def test_a_failed_build_can_be_repeated_with_another_shape():
    model = Sequential([Conv()])
    with pytest.raises(ShapeError):
        model(X)
    assert not model.built
    assert model(torch.ones(1, 2, 2, 3)).shape == (1, 2, 2, 1)


# ---------------------------------------------------------------------- models in models
def test_a_sequential_in_a_sequential():
    inner = Sequential([Input((4,)), Dense(5)])
    model = Sequential([inner, Dense(2)])
    assert model.built and model.output_shape == (None, 2) and len(model.layers) == 2
    late = Sequential([Sequential([Dense(5)]), Sequential([Dense(2)])])
    assert not late.built and late(X).shape == (3, 2) and late.count_params() == 25 + 12
    stated = Sequential([Sequential([Sequential([Dense(5, input_shape=(4,))])]), Dense(2)])
    assert stated.built and stated.input_shape == (None, 4)


def test_a_functional_model_comes_first_or_later():
    x = Input((4,))
    inner = Model(x, Dense(5)(x))
    assert Sequential([inner, Dense(2)]).output_shape == (None, 2)
    assert Sequential([Input((4,)), Dense(4), inner])(X).shape == (3, 5)


def test_a_sequential_in_a_functional_model_and_the_weights_in_both():
    block = Sequential([Dense(4), Activation("relu")], name="block")
    x = Input((4,))
    model = Model(x, block(block(x)))
    assert block.built and model.count_params() == 20
    torch.testing.assert_close(model(X), block(block(X)))


# ---------------------------------------------------------------------- configs and copies
def test_a_config_makes_an_equal_model():
    model = Sequential([Input((4,), name="x"), Dense(5, "relu"), Sequential([Dense(2)], name="inner")], name="s")
    other = Sequential.from_config(model.get_config())
    assert other.get_config() == model.get_config() and other.built and other.name == "s"
    other.set_weights(model.get_weights())
    assert torch.equal(other(X), model(X))


def test_the_config_of_an_unbuilt_model_is_unbuilt_and_that_of_one_built_by_data_is_built():
    model = Sequential([Dense(5), Dense(2)])
    assert not Sequential.from_config(model.get_config()).built
    model(X)
    config = model.get_config()
    assert config["build_input_shape"] == (None, 4) and len(config["layers"]) == 2
    other = Sequential.from_config(config)
    assert other.built and other.count_params() == model.count_params()
    assert other(X).shape == (3, 2)


def test_a_frozen_models_config_is_frozen():
    model = Sequential([Input((4,)), Dense(5)], trainable=False)
    assert model.trainable_weights == []
    assert Sequential.from_config(model.get_config()).trainable_weights == []


@pytest.mark.parametrize(
    "way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_copies_can_be_called_grown_and_shortened(way):
    for model in (Sequential([Input((4,)), Dense(5), Dense(2)]), Sequential([Dense(5), Dense(2)])):
        if model.built:
            assert torch.equal(way(model)(X), model(X))
        other = way(model)
        other.add(Dense(7, name="more"))
        assert other(X).shape == (3, 7) and len(model.layers) == 2
        other.pop()
        assert other(X).shape == (3, 2)
        assert torch.equal(way(other)(X), other(X))


def test_names_are_counted_as_keras_counts_them():
    naming.reset_names()
    assert [Sequential().name, Sequential([Dense(1)]).name, Sequential(name="mine").name] == [
        "sequential", "sequential_1", "mine"
    ]  # fmt: skip


def test_an_input_layer_may_stand_first_in_place_of_input():
    model = Sequential([InputLayer((4,), name="x"), Dense(2)])
    assert model.input_names == ["x"] and model(X).shape == (3, 2)


def test_the_mode_reaches_every_layer():
    model = Sequential([Dense(2), torch.nn.Dropout(0.5)])
    model.train()
    assert all(module.training for module in model.modules())
    model(X)
    model.add(torch.nn.Dropout(0.5))
    assert all(module.training for module in model.modules() if isinstance(module, torch.nn.Dropout))
    model.eval()
    assert not any(module.training for module in model.modules())
