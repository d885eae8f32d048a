"""A graph becomes plain data, and the data a graph with the same numbers."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from lamina.engine.layer import Layer
from lamina.engine.symbolic import record
from lamina.errors import GraphError, LoadError, UnknownNameError
from lamina.layers import Activation, Dense, Embedding, Input, add, concatenate
from lamina.models import Functional, Model, Sequential


def remade(model, custom_objects=None):
    """The model of the config, read from JSON as from a file, with the weights of the first."""
    config = json.loads(json.dumps(model.get_config()))
    other = Model.from_config(config, custom_objects)
    other.set_weights(model.get_weights())
    assert type(other) is type(model) or isinstance(other, Functional)
    assert [layer.name for layer in other.operations] == [layer.name for layer in model.operations]
    assert other.code == model.code
    return other


def leaves(value):
    if isinstance(value, dict):
        value = list(value.values())
    return [value] if isinstance(value, torch.Tensor) else [leaf for member in value for leaf in leaves(member)]


def assert_remade(model, data, **arguments):
    other = remade(model, **arguments)
    for mine, theirs in zip(leaves(other(data)), leaves(model(data)), strict=True):
        assert torch.equal(mine, theirs)
    return other


X = torch.randn(3, 4, 6)


def test_layers_and_their_connections_go_round():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    shared = Dense(4, "relu", name="shared")
    h = add([shared(shared(a)), Dense(4)(b)])
    model = Model({"a": a, "b": b}, {"sum": h, "both": [concatenate([a, h]), [h]]}, name="net")
    other = assert_remade(model, {"a": torch.randn(2, 4), "b": torch.randn(2, 4)})
    assert other.name == "net" and other.count_params() == model.count_params()
    assert list(other.input) == ["a", "b"] and list(other.output) == ["sum", "both"]


def test_the_config_has_keras_shape():
    x = Input((4,), name="x")
    config = Model(x, Dense(2, name="d")(x), name="net").get_config()
    assert set(config) == {"name", "trainable", "layers", "input_layers", "output_layers"}
    first, second = config["layers"]
    assert first["class_name"] == "InputLayer" and first["config"]["batch_shape"] == (None, 4)
    assert second["class_name"] == "Dense" and second["name"] == "d" and second["config"]["units"] == 2
    (call,) = second["inbound_nodes"]
    assert call["args"][0]["class_name"] == "__keras_tensor__"
    assert call["args"][0]["config"]["keras_history"] == ["x", 0, 0] and call["kwargs"] == {}
    assert config["input_layers"] == ["x", 0, 0] and config["output_layers"] == ["d", 0, 0]


OPERATIONS = {
    "operators": lambda x: -(x * 2 + 1) / (x**2 + 3) - 1,
    "from the right": lambda x: 2 - x,
    "index": lambda x: x[:, ::2, None, 1:],
    "list index": lambda x: x[..., [0, 2]],
    "function": lambda x: torch.relu(x),
    "functional": lambda x: F.pad(x, (1, 1), value=2.0),
    "method": lambda x: x.sum(dim=-1, keepdim=True),
    "several outputs": lambda x: torch.topk(x, 2).indices,
    "nest of tensors": lambda x: torch.cat([x, x], dim=1),
    "split": lambda x: list(torch.split(x, 2, dim=1)),
    "property": lambda x: x.mT,
    "dtype": lambda x: x.to(torch.float64).to(dtype=torch.int32),
    "where": lambda x: torch.where(x > 0, x, 0.5),
    "comparison": lambda x: (x >= 0) & (x < 1),
    "constant": lambda x: x * torch.arange(6.0) + torch.tensor(True),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_go_round(name):
    x = Input((4, 6))
    assert_remade(Model(x, OPERATIONS[name](x)), X)


def test_parameters_stay_parameters_and_one_stays_one():
    x = Input((4, 6))
    scale, frozen = torch.nn.Parameter(torch.randn(6)), torch.nn.Parameter(torch.randn(6), requires_grad=False)
    constant = torch.randn(6)
    model = Model(x, (x * scale + frozen) * scale + constant - constant)
    other = assert_remade(model, X)
    assert len(list(other.parameters())) == 2 and len(other.trainable_weights) == 1
    assert list(other.state_dict()) == list(model.state_dict())


def test_a_layers_weight_used_beside_it_stays_tied():
    x = Input((4, 6))
    tied = Dense(6, name="tied", use_bias=False)
    h = tied(x)
    model = Model(x, [h @ tied.kernel, F.linear(h, tied.kernel)])
    other = assert_remade(model, X)
    assert len(other.weights) == 1
    with torch.no_grad():
        other.weights[0].zero_()
    assert all(leaf.abs().max() == 0 for leaf in other(X))


def test_arguments_of_layers_go_round():
    class Scaled(Layer):
        def call(self, x, factor=1.0, *, shift=None, axes=()):
            return x * factor + (0 if shift is None else shift) + len(axes)

    x = Input((4, 6))
    y = Scaled(name="s")(x, 2.0, shift=x, axes=(1, 2))
    assert_remade(Model(x, Dense(2)(y, training=True)), X, custom_objects={"Scaled": Scaled})


def test_models_inside_go_round():
    i = Input((4, 6))
    inner = Model(i, Dense(6, name="d")(i), name="inner")
    row = Sequential([Dense(6), Activation("relu")], name="row")
    x = Input((4, 6))
    model = Model(x, inner(row(inner(x))) + 1)
    other = assert_remade(model, X)
    assert isinstance(other.get_layer("inner"), Functional) and isinstance(other.get_layer("row"), Sequential)


def test_an_input_inside_another_model_becomes_an_input():
    x = Input((4, 6))
    h = Dense(6, name="h")(x)
    head = Model(h, Dense(2, name="top")(h))
    config = head.get_config()
    assert [entry["name"] for entry in config["layers"]] == ["h", "top"]
    assert config["layers"][0]["class_name"] == "InputLayer"
    other = Model.from_config(config)
    other.set_weights(head.get_weights())
    assert torch.equal(other(X), head(X)) and [layer.name for layer in other.layers] == ["h", "top"]


def test_an_operation_named_like_a_layer_gets_another_name():
    x = Input((4, 6))
    model = Model(x, Activation("relu", name="add")(x + 1) + 2)
    assert [op.name for op in model.operations] == ["input_layer", "add", "add", "add_1"]
    other = Model.from_config(model.get_config())
    assert len({op.name for op in other.operations}) == 4 and torch.equal(other(X), model(X))


def test_whole_numbers_and_masks_go_round():
    x = Input((5,), dtype="int64")
    model = Model(x, Dense(2)(Embedding(9, 3, mask_zero=True)(x)))
    assert_remade(model, torch.randint(0, 9, (2, 5)))


def test_calls_are_repeated_in_their_own_order_whatever_the_order_of_the_layers():
    x = Input((4,), name="x")
    shared = Dense(4, name="shared")
    model = Model(x, shared(Dense(4, name="between")(shared(x))), name="net")
    config = model.get_config()
    config["layers"].reverse()
    other = Model.from_config(config)
    other.set_weights(model.get_weights())
    data = torch.randn(2, 4)
    assert torch.equal(other(data), model(data))


def test_an_unknown_class_is_refused_with_the_nearest_name():
    x = Input((4,))
    config = Model(x, Dense(2)(x)).get_config()
    config["layers"][1]["class_name"] = "Dens"
    with pytest.raises(UnknownNameError, match="There is no layer named 'Dens'") as caught:
        Model.from_config(config)
    assert "did you mean 'Dense'?" in str(caught.value)


def test_a_circle_is_refused():
    x = Input((4,), name="x")
    config = Model(x, Dense(4, name="b")(Dense(4, name="a")(x))).get_config()
    config["layers"][1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"] = ["b", 0, 0]
    with pytest.raises(GraphError, match="The layers of this config need each other in a circle") as caught:
        Model.from_config(config)
    assert "a -> b -> a" in str(caught.value)


def test_a_layer_that_is_not_there_is_refused():
    x = Input((4,), name="x")
    config = Model(x, Dense(4, name="a")(x)).get_config()
    config["output_layers"] = ["c", 0, 0]
    with pytest.raises(GraphError, match="The config refers to a layer 'c' that it does not have"):
        Model.from_config(config)


def test_a_function_of_the_users_own_has_no_name_in_a_config():
    x = Input((4,))
    model = Model(x, record(lambda t: t + 1, (x,), {}))
    assert torch.equal(model(torch.ones(1, 4)), torch.full((1, 4), 2.0))
    with pytest.raises(LoadError, match="calls a function that a config cannot name") as caught:
        model.get_config()
    assert "put the call into a Layer of your own" in str(caught.value)


@pytest.mark.parametrize(
    "target", ["os.system", "builtins.eval", "property.__class__", "property.nothing", "torch.load"]
)
def test_a_config_can_name_no_function_but_torchs(target):
    x = Input((4,))
    config = Model(x, torch.relu(x)).get_config()
    config["layers"][1]["config"]["function"] = target
    with pytest.raises(LoadError, match="names a function that is not torch's"):
        Model.from_config(config)


def test_a_frozen_model_stays_frozen():
    x = Input((4,))
    model = Model(x, Dense(2)(x), trainable=False)
    assert Model.from_config(model.get_config()).trainable_weights == []
