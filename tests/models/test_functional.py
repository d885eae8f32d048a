"""A functional model takes its inputs in any reasonable form, and refuses the others in words."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, GraphError, ShapeError, UnknownNameError
from lamina.layers import Activation, Dense, Embedding, Input, add, concatenate
from lamina.models import Functional, Model, Sequential


def pair():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    return Model([a, b], concatenate([a, b]))


A, B = torch.randn(4, 2), torch.randn(4, 3)
BOTH = torch.cat([A, B], dim=-1)


# ---------------------------------------------------------------------- forms of inputs
FORMS = {
    "list": [A, B],
    "tuple": (A, B),
    "dict by name": {"b": B, "a": A},
    "dict with more": {"b": B, "a": A, "c": A},
    "arrays": [A.numpy(), B.numpy()],
    "array and tensor": [A.numpy(), B],
    "dict of arrays": {"a": A.numpy(), "b": B.numpy()},
    "float64": [A.double(), B.double()],
}


@pytest.mark.parametrize("form", FORMS)
def test_several_inputs_come_in_many_forms(form):
    torch.testing.assert_close(pair()(FORMS[form]), BOTH)


def test_a_model_of_a_dict_takes_its_keys_the_inputs_names_and_a_list():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    model = Model({"left": a, "right": b}, concatenate([a, b]))
    for given in ({"right": B, "left": A}, [A, B], {"left": A.numpy(), "right": B, "more": B}):
        torch.testing.assert_close(model(given), BOTH)


def test_a_model_of_a_nest_takes_the_nest_a_list_and_names():
    a, b, c = Input((2,), name="a"), Input((3,), name="b"), Input((2,), name="c")
    model = Model({"pair": [a, {"x": b}], "one": c}, concatenate([a, b, c]))
    wanted = torch.cat([A, B, A], dim=-1)
    nested = {"one": A, "pair": (A, {"x": B})}
    for given in (nested, {"pair": [A.numpy(), {"x": B}], "one": A}, [A, B, A], {"c": A, "b": B, "a": A}):
        torch.testing.assert_close(model(given), wanted)
    with pytest.raises(ArgumentError, match="These are not the inputs of the model"):
        model([A, B])


def test_one_input_may_come_alone_in_a_list_and_by_name():
    x = Input((2,), name="x")
    for model in (Model(x, x * 2), Model([x], x * 2), Model({"x": x}, x * 2)):
        for given in (A, [A], (A,), {"x": A}, A.numpy(), [A.numpy()]):
            torch.testing.assert_close(model(given), A * 2)


@pytest.mark.parametrize(
    ("given", "received"),
    [
        ([A], "1 inputs of shapes (4, 2)"),
        (A, "1 inputs of shapes (4, 2)"),
        (torch.ones(2, 4, 2), "1 inputs of shapes (2, 4, 2)"),  # which has two members all the same
        ([A, B, A], "3 inputs of shapes (4, 2), (4, 3), (4, 2)"),
        ({"a": A}, "keys ['a']"),
        ({"a": A, "c": B}, "keys ['a', 'c']"),
    ],
)
def test_other_forms_are_refused(given, received):
    with pytest.raises(ArgumentError, match="These are not the inputs of the model") as caught:
        pair()(given)
    assert "2 inputs: 'a', 'b'" in str(caught.value) and received in str(caught.value)


# ---------------------------------------------------------------------- shapes and dtypes of inputs
def test_one_number_a_sample_fits_where_one_feature_is_wanted_and_the_reverse():
    column, row = Input((1,)), Input(())
    numbers = torch.tensor([1.0, 2.0, 3.0])
    assert Model(column, column * 2)(numbers).tolist() == [[2.0], [4.0], [6.0]]
    assert Model(row, row * 2)(numbers[:, None]).tolist() == [2.0, 4.0, 6.0]
    assert Model(row, row * 2)(numbers).tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("wanted", "given", "fix"),
    [
        ((28, 28, 1), (2, 28, 28), "the channel axis is missing: pass x[..., None]"),
        ((28, 28, 3), (28, 28, 3), "an axis is missing: pass x[None] for a batch of one"),
        ((28, 28, 3), (2, 3, 28, 28), "the channels stand first: pass x.movedim(1, -1)"),
        ((28, 28, 1), (2, 28, 28, 3), "define the model with Input(shape=(28, 28, 3))"),
        ((4,), (2, 5), "define the model with Input(shape=(5,))"),
        ((4,), (4,), "pass x[None] for a batch of one"),
        ((None, 4), (2, 7, 5), "pass data of shape (None, None, 4)"),
    ],
)
def test_a_wrong_shape_is_refused_with_what_to_do(wanted, given, fix):
    x = Input(wanted, name="image")
    with pytest.raises(ShapeError, match="Layer 'net': The input 'image' has another shape") as caught:
        Model(x, x * 1.0, name="net")(torch.ones(given))
    assert f"shape {(None, *wanted)}" in str(caught.value) and f"shape {given}" in str(caught.value)
    assert fix in str(caught.value)


def test_a_fixed_batch_size_is_checked():
    x = Input((2,), batch_size=4)
    model = Model(x, x * 2)
    assert model(A).shape == (4, 2)
    with pytest.raises(ShapeError, match="has another shape") as caught:
        model(A[:3])
    assert "shape (4, 2)" in str(caught.value)


def test_inputs_get_the_dtype_that_they_were_defined_with():
    x, index = Input((2,)), Input((2,), dtype="int32")
    floats, whole = Model([x, index], [x, index])([torch.ones(1, 2, dtype=torch.int64), torch.full((1, 2), 3.0)])
    assert floats.dtype is torch.float32 and whole.dtype is torch.int32 and whole.tolist() == [[3, 3]]


def test_a_cast_model_takes_data_of_the_dtype_that_it_was_made_with():
    x = Input((2,))
    model = Model(x, Dense(3)(x)).double()
    for given in (A, A.double(), A.numpy()):
        assert model(given).dtype is torch.float64
    assert model.bfloat16()(A).dtype is torch.bfloat16


# ---------------------------------------------------------------------- structure
def test_outputs_keep_the_form_in_which_they_were_given():
    x = Input((2,))
    y = x + 1
    assert isinstance(Model(x, [y])(A), list) and isinstance(Model(x, (y, x))(A), tuple)
    found = Model(x, {"b": [y], "a": (x, {"c": y})})(A)
    assert list(found) == ["b", "a"] and torch.equal(found["a"][1]["c"], A + 1)


def test_the_model_describes_itself():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    model = Model({"l": a, "r": b}, [Dense(4, name="d")(a), b + 1], name="net")
    assert model.input_names == ["a", "b"] and model.output_names == ["d", "add"]
    assert model.input_shape == {"l": (None, 2), "r": (None, 3)} and model.output_shape == [(None, 4), (None, 3)]
    assert model.inputs == [a, b] and model.input["l"] is a and model.outputs == model.output
    assert [op.name for op in model.operations] == ["a", "b", "d", "add"]
    assert [layer.name for layer in model.layers] == ["a", "b", "d"]
    assert isinstance(model, Functional) and isinstance(model, Model) and isinstance(model, torch.nn.Module)
    assert Model(a, {"x": a + 1, "y": a}).output_names == ["x", "y"]


def test_get_layer_finds_by_name_and_place():
    model = pair()
    assert model.get_layer("b") is model.layers[1] and model.get_layer(index=-1).name == "concatenate"
    with pytest.raises(UnknownNameError, match="There is no layer named 'concatenat'") as caught:
        model.get_layer("concatenat")
    assert "did you mean 'concatenate'?" in str(caught.value)
    with pytest.raises(ArgumentError, match="has 3 layers") as caught:
        model.get_layer(index=3)
    assert "an index below 3" in str(caught.value)
    for arguments in ({}, {"name": "a", "index": 0}):
        with pytest.raises(ArgumentError, match="get_layer takes a name or an index"):
            model.get_layer(**arguments)


def test_a_layer_of_one_model_may_stand_in_another():
    x, y = Input((2,)), Input((2,))
    shared = Dense(3)
    first, second = Model(x, shared(x)), Model(y, shared(y) * 2)
    assert torch.equal(second(A), first(A) * 2)
    assert first.weights[0] is second.weights[0]


def test_a_model_is_a_layer_and_may_stand_twice_in_another():
    x, y = Input((2,)), Input((2,))
    inner = Model(x, Dense(2, name="d")(x), name="inner")
    outer = Model(y, inner(inner(y)), name="outer")
    assert outer.count_params() == 6 and [layer.name for layer in outer.layers] == ["input_layer_1", "inner"]
    torch.testing.assert_close(outer(A), inner(inner(A)))
    assert list(outer.state_dict()) == ["inner.d.kernel", "inner.d.bias"]


def test_a_model_called_on_other_sizes_gives_their_shape():
    x = Input((None, 3))
    inner = Model(x, x.mean(dim=1))
    assert inner(Input((5, 3))).shape == (None, 3)
    y = Input((None, 3))
    assert Model(y, inner(y) + 1)(torch.ones(2, 9, 3)).shape == (2, 3)
    with pytest.raises((GraphError, ShapeError), match="another shape"):
        inner(Input((5, 4)))


def test_a_model_may_begin_inside_another():
    x = Input((2,), name="x")
    h = Dense(3, name="h")(x)
    y = Dense(4, name="y")(h)
    whole, head = Model(x, y), Model(h, y)
    features = Model(whole.inputs, whole.get_layer("h").output)
    torch.testing.assert_close(head(features(A)), whole(A))
    assert head.input_names == ["h"] and [layer.name for layer in head.layers] == ["y"]
    for other in (copy.deepcopy(head), pickle.loads(pickle.dumps(head))):
        torch.testing.assert_close(other(features(A)), whole(A))


def test_the_layers_of_a_built_sequential_may_be_called_on_an_input_again():
    model = Sequential([Input((2,)), Dense(3), Dense(4)])
    x = Input((2,))
    h = x
    for layer in model.layers:
        h = layer(h)
    torch.testing.assert_close(Model(x, h)(A), model(A))


def test_a_frozen_model_has_no_trainable_weights():
    x = Input((2,))
    model = Model(x, Dense(3)(x), trainable=False)
    assert model.trainable_weights == [] and not model.layers[1].trainable
    base = Sequential([Input((2,)), Dense(3)])
    base.trainable = False
    y = Input((2,))
    head = Model(y, Dense(1, name="head")(base(y)))
    assert [tuple(w.shape) for w in head.trainable_weights] == [(3, 1), (1,)]


@pytest.mark.parametrize("arguments", [(Input,), ()])
def test_inputs_without_outputs_are_refused(arguments):
    with pytest.raises(ArgumentError, match="A functional model needs inputs and outputs") as caught:
        Model(*[make((2,)) for make in arguments], **({} if arguments else {"outputs": Input((2,))}))
    assert "Model(inputs, outputs)" in str(caught.value)


def test_tensors_in_place_of_symbolic_ones_are_refused():
    with pytest.raises(GraphError, match="The inputs of a functional model are symbolic tensors") as caught:
        Model(A, A)
    assert "lamina.Input(shape=...)" in str(caught.value)


# ---------------------------------------------------------------------- subclasses that pass their graph on
class Perceptron(Model):
    """A functional model with a class of its own."""

    def __init__(self, units, depth=2, name="perceptron"):
        h = x = Input((2,))
        for _ in range(depth):
            h = Dense(units, "relu")(h)
        super().__init__(x, Dense(1)(h), name=name)
        self.units = units

    def describe(self):
        return f"{self.name} of {self.units}"


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


def test_a_subclass_may_pass_its_graph_to_super():
    model = Perceptron(8)
    assert model.describe() == "perceptron of 8" and model.count_params() == 24 + 72 + 9
    assert isinstance(model, Perceptron) and isinstance(model, Functional)
    assert model(A).shape == (4, 1) and len(model.layers) == 4


@pytest.mark.parametrize("way", COPIES)
def test_such_a_model_can_be_copied(way):
    model = Perceptron(8)
    other = COPIES[way](model)
    assert torch.equal(other(A), model(A)) and other.describe() == model.describe()
    assert type(other) is type(model)
    assert torch.equal(COPIES[way](other)(A), model(A))


def test_such_a_models_config_is_its_arguments():
    model = Perceptron(8, depth=3, name="deep")
    config = model.get_config()
    assert config == {"name": "deep", "trainable": True, "dtype": "float32", "units": 8, "depth": 3}
    other = Perceptron.from_config(config)
    other.set_weights(model.get_weights())
    assert torch.equal(other(A), model(A)) and other.name == "deep"


def test_a_subclass_without_init_takes_a_graph():
    class Named(Model):
        def twice(self, x):
            return 2 * self(x)

    x = Input((2,))
    model = Named(x, Dense(1)(x))
    assert torch.equal(model.twice(A), 2 * model(A))
    other = Named.from_config(model.get_config())
    other.set_weights(model.get_weights())
    assert torch.equal(other.twice(A), model.twice(A))


# ---------------------------------------------------------------------- copies and weights
def everything():
    """A model with nearly all that a model can have."""
    x, ids = Input((4,), name="x"), Input((3,), name="ids", dtype="int64")
    shared = Dense(4, "tanh", name="shared")
    scale = torch.nn.Parameter(torch.full((4,), 0.5))
    words = Embedding(9, 4, mask_zero=True, name="words")(ids).mean(dim=1)
    h = add([shared(shared(x)), torch.nn.Linear(4, 4)(words)]) * scale + torch.arange(4.0)
    return Model({"x": x, "ids": ids}, {"y": h, "top": torch.topk(h, 2).values})


def data():
    return {"x": torch.randn(5, 4), "ids": torch.randint(0, 9, (5, 3))}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_is_equal_and_apart(way):
    model, batch = everything(), data()
    other = COPIES[way](model)
    wanted, found = model(batch), other(batch)
    assert torch.equal(found["y"], wanted["y"]) and torch.equal(found["top"], wanted["top"])
    assert other.code == model.code and list(other.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    assert torch.equal(model(batch)["y"], wanted["y"])
    assert [layer.name for layer in other.layers] == [layer.name for layer in model.layers]
    assert other.layers[0].output is not model.layers[0].output


def test_two_models_of_one_architecture_share_state_dicts():
    first, second, batch = everything(), everything(), data()
    second.load_state_dict(first.state_dict(), strict=True)
    assert torch.equal(first(batch)["y"], second(batch)["y"])
    second.set_weights(first.get_weights())
    assert torch.equal(first(batch)["y"], second(batch)["y"])


def test_every_weight_gets_a_gradient():
    model, batch = everything(), data()
    sum(value.sum() for value in model(batch).values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    assert len(list(model.parameters())) == len(model.trainable_weights) == 6


def test_a_layer_subclass_with_a_functional_model_inside():
    class Holder(Layer):
        def build(self, input_shape):
            x = Input(input_shape[1:])
            self.inner = Model(x, Dense(3)(Activation("relu")(x)))

        def call(self, x):
            return self.inner(x)

    holder = Holder()
    assert holder(A).shape == (4, 3) and holder.count_params() == 9
    x = Input((2,))
    assert Model(x, Holder()(x))(np.ones((1, 2))).shape == (1, 3)


def test_an_input_of_another_dtype_fits_also_where_the_compiler_holds_its_sizes_for_unknown():
    """As it does once it has compiled a model for inputs of other sizes."""
    model = Model(x := Input((6, 5)), Dense(3)(x))
    data = torch.rand(4, 6, 5).double()
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    torch.testing.assert_close(compiled(data), model(data))
