"""A subclassed model: built for real before any data, like torch in torch's hands, like Keras in Keras's."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, GraphError, LaminaError, NotBuiltError, ShapeError, UnknownNameError
from lamina.layers import Dense, Embedding, Input, add
from lamina.models import Model, Sequential

X = torch.randn(5, 4)


class Net(Model):
    """Layers in attributes, lists, dicts, torch's containers, models and plain torch modules."""

    def __init__(self, width=3, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.first = Dense(width)
        self.blocks = [Dense(width, "relu") for _ in range(2)]
        self.heads = {"a": Dense(1), "b": Sequential([Dense(2), Dense(1)])}
        self.stack = torch.nn.ModuleList([torch.nn.Linear(width, width), Dense(width)])
        self.norm = torch.nn.BatchNorm1d(width)
        self.scale = self.add_weight((width,), "ones", name="scale")

    def call(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        for module in self.stack:
            x = module(x)
        x = self.norm(x) * self.scale
        return {name: head(x) for name, head in self.heads.items()}


def parameters(width=3):
    square = width * width + width
    return 5 * width + 2 * square + (width + 1) + (2 * width + 2 + 3) + 2 * square + 4 * width + width


# ---------------------------------------------------------------------- building
def test_build_makes_every_weight_before_any_data():
    net = Net()
    assert not net.built
    net.build((None, 4))
    assert net.built and net.count_params() == parameters()
    assert all(layer.built for layer in net.modules() if isinstance(layer, Layer) and layer is not net.norm)
    before = [w.copy() for w in net.get_weights()]
    net(X)
    for old, new in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_first_call_builds_as_well():
    net = Net()
    found = net(X.numpy())
    assert set(found) == {"a", "b"} and found["a"].shape == (5, 1)
    assert net.built and net.count_params() == parameters()


def test_build_changes_neither_modes_nor_random_numbers_beyond_the_weights():
    net, other = Net(), Net()
    net.train()
    torch.manual_seed(3)
    net.build((None, 4))
    after = torch.get_rng_state()
    assert net.norm.num_batches_tracked == 0 and net.training and net.norm.training
    torch.manual_seed(3)
    other(X)
    assert torch.equal(after, torch.get_rng_state())
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert mine.shape == theirs.shape


def test_several_inputs_build_from_several_shapes():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.left, self.right = Dense(2), Dense(2)

        def call(self, inputs):
            a, b = inputs.values() if isinstance(inputs, dict) else inputs
            return self.left(a) + self.right(b)

    for shapes in ([(None, 3), (None, 4)], {"a": (None, 3), "b": (None, 4)}):
        net = Two()
        net.build(shapes)
        assert net.count_params() == 8 + 10


def test_build_takes_whole_numbers_where_a_table_wants_them():
    class Text(Model):
        def __init__(self):
            super().__init__()
            self.table, self.words = torch.nn.Embedding(9, 3), Embedding(9, 3)
            self.dense = Dense(2)

        def call(self, x):
            return self.dense(self.table(x) + self.words(x))

    net = Text()
    net.build((None, 7))
    assert net.count_params() == 27 + 27 + 8


def test_a_model_with_unknown_inner_sizes_is_built():
    class Pooled(Model):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = Dense(3), Dense(2)

        def call(self, x):
            return self.outer(self.inner(x).mean(dim=1))

    net = Pooled()
    net.build((None, None, 4))
    assert net.count_params() == 15 + 8


def test_a_users_build_is_kept_and_marks_the_model_built():
    class Own(Model):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], 2), name="kernel")

        def call(self, x):
            return x @ self.kernel

    net = Own()
    net.build((None, 3))
    assert net.built and net.count_params() == 6
    assert Own()(X).shape == (5, 2)


def test_a_call_that_cannot_take_the_shape_says_where():
    net = Net(name="net")
    with pytest.raises(ShapeError, match="Dense cannot take this input") as caught:
        net.build((4,))
    assert "first" in str(caught.value) or "dense" in str(caught.value)

    class Fails(Model):
        def call(self, x):
            return x @ torch.ones(3, 2)

    with pytest.raises(GraphError, match=r"Fails.call\(\) fails for this input shape: .*None") as caught:
        Fails().build((None, 4))
    assert "input shape (None, 4)" in str(caught.value)
    assert issubclass(GraphError, LaminaError)


def test_a_model_without_call_cannot_be_built():
    class Empty(Model):
        pass

    with pytest.raises(NotBuiltError, match=r"Empty has no call\(\), so it cannot be built") as caught:
        Empty().build((None, 3))
    assert "define call(self, inputs)" in str(caught.value)


def test_counting_before_the_shape_is_known_is_refused():
    for question in (Net(name="net").count_params, Net(name="net").summary):
        with pytest.raises(NotBuiltError, match="Net 'net' is not built") as caught:
            question()
        assert "model.build((None, ...))" in str(caught.value)


def test_a_first_call_that_fails_leaves_the_model_to_be_built():
    net = Net()
    with pytest.raises(ShapeError):
        net(torch.ones(4))
    assert not net.built
    net(X)
    assert net.built and net.count_params() == parameters()


# ---------------------------------------------------------------------- structure
def test_layers_are_those_right_inside_torchs_own_among_them():
    net = Net()
    names = [layer.name for layer in net.layers]
    assert names == ["dense", "dense_1", "dense_2", "dense_3", "sequential", "linear", "dense_6", "batch_norm1d"]
    assert names == [layer.name for layer in net.layers]  # asked again
    assert net.get_layer("dense_1") is net.blocks[0] and net.get_layer(index=-1).module is net.norm
    with pytest.raises(UnknownNameError, match="There is no layer named 'dens'"):
        net.get_layer("dens")


def test_listing_layers_does_not_change_their_mode():
    net = Net()
    net.train()
    _ = net.layers
    assert all(module.training for module in net.modules())


def test_two_constructor_arguments_are_not_taken_for_a_graph():
    class Wide(Model):
        def __init__(self, width, depth):
            super().__init__()
            self.parts = [Dense(width) for _ in range(depth)]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    assert Wide(3, 2)(X).shape == (5, 3) and len(Wide(3, depth=2).layers) == 2


@pytest.mark.parametrize("name", ["layers", "output", "weights", "losses", "inputs"])
def test_the_name_of_a_property_is_no_name_for_a_layer(name):
    if name == "inputs":  # a property of functional models only
        Net().inputs = Dense(1)
        return
    with pytest.raises(ArgumentError, match=f"Net cannot have an attribute '{name}' of its own"):
        setattr(Net(), name, Dense(1))


def test_a_model_may_stand_in_a_functional_one():
    net = Net(name="net")
    x = Input((4,))
    found = net(x)
    assert found["a"].shape == (None, 1) and net.built
    model = Model(x, add([found["a"], found["b"]]))
    wanted = net(X)
    torch.testing.assert_close(model(X), wanted["a"] + wanted["b"])
    assert [layer.name for layer in model.layers] == ["input_layer", "net", "add"]


def test_a_model_in_a_model_knows_its_shape_for_the_table():
    class Outer(Model):
        def __init__(self):
            super().__init__()
            self.net = Net(name="inner")

        def call(self, x):
            return self.net(x)["a"]

    outer = Outer()
    outer.build((None, None, 4)[::2])
    assert outer.net.built and outer.net._build_shapes == (None, 4)


def test_further_arguments_of_call_go_through():
    class Scaled(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, x, factor=1.0, *, shift=0.0, training=None):
            return self.dense(x) * factor + shift + (100.0 if training else 0.0)

    net = Scaled()
    plain = net(X)
    torch.testing.assert_close(net(X, 2.0, shift=1.0), plain * 2 + 1)
    torch.testing.assert_close(net(X, factor=3.0, training=True), plain * 3 + 100)
    x, y = Input((4,)), Input((1,))
    torch.testing.assert_close(Model([x, y], net(x, y))([X, torch.full((5, 1), 2.0)]), plain * 2)


# ---------------------------------------------------------------------- copies
def test_a_config_of_a_subclass_is_its_arguments():
    net = Net(width=5, name="wide")
    config = net.get_config()
    assert config == {"name": "wide", "trainable": True, "dtype": "float32", "width": 5}
    other = Net.from_config(config)
    other.build((None, 4))
    net.build((None, 4))
    other.set_weights(net.get_weights())
    assert torch.equal(other(X)["a"], net(X)["a"])


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["copy", "pickle"]
)
def test_copies_compute_the_same(copied):
    net = Net()
    net(X)
    other = copied(net)
    assert torch.equal(other(X)["b"], net(X)["b"])
    assert list(other.state_dict()) == list(net.state_dict())
    fresh = Net()
    fresh.build((None, 4))
    fresh.load_state_dict(net.state_dict(), strict=True)
    assert torch.equal(fresh(X)["b"], net(X)["b"])


def test_a_plain_torch_loop_trains():
    net = Net()
    net(X)
    net.train()
    data = torch.randn(64, 4)
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (net(data)["b"] - data[:, :1]).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert net.training and net.norm.num_batches_tracked == 30


# ---------------------------------------------------------------------- torch's compilers
def functional():
    x = Input((4,))
    return Model({"x": x}, {"y": Dense(3, "relu", activity_regularizer="l2")(x) * torch.arange(3.0)})


def masked():
    x = Input((6,), dtype="int64")
    return Model(x, Dense(2)(Embedding(9, 3, mask_zero=True)(x)))


CASES = {
    "subclass": (Net, X),
    "functional": (functional, {"x": X}),
    "sequential": (lambda: Sequential([Input((4,)), Dense(3), torch.nn.Linear(3, 2)]), X),
    "masked": (masked, torch.randint(0, 9, (5, 6))),
    "mixed": (lambda: Sequential([Input((4,)), Dense(3, dtype="mixed_bfloat16"), Dense(2, dtype="float32")]), X),
}


def leaves(value):
    return [value] if isinstance(value, torch.Tensor) else [leaf for v in value.values() for leaf in leaves(v)]


def assert_equal(found, wanted):
    for mine, theirs in zip(leaves(found), leaves(wanted), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("case", CASES)
def test_a_model_compiles_whole_also_when_it_was_never_called(case):
    make, data = CASES[case]
    model = make()
    if not model.built:
        model.build((None, 4))
    torch._dynamo.reset()
    found = torch.compile(model, fullgraph=True, backend="eager")(data)
    assert_equal(found, model(data))
    never = copy.deepcopy(model)
    torch._dynamo.reset()
    assert_equal(torch.compile(never, fullgraph=True, backend="eager")(data), model(data))


@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects")
@pytest.mark.filterwarnings("ignore:The tensor attribute .*_added_losses")
@pytest.mark.parametrize(
    ("case", "strict"),
    # The strict exporter loses the dtype that an autocast region gives; a plain torch module fails there too.
    [(case, strict) for case in CASES for strict in (False, True) if not (case == "mixed" and strict)],
)
def test_a_model_exports_with_a_batch_of_any_size(case, strict):
    make, data = CASES[case]
    model = make()
    wanted = model(data)
    batch = torch.export.Dim("batch", min=2)
    shapes = {"x": {0: batch}} if isinstance(data, dict) else {0: batch}
    exported = torch.export.export(model, (data,), dynamic_shapes=(shapes,), strict=strict).module()
    assert_equal(exported(data), wanted)
    fewer = {"x": data["x"][:3]} if isinstance(data, dict) else data[:3]
    assert_equal(exported(fewer), model(fewer))


def test_gradients_under_the_compiler_are_the_same():
    net = Net()
    net(X)
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    gradients = []
    for run in (net, compiled):
        net.zero_grad()
        sum(leaf.sum() for leaf in leaves(run(X))).backward()
        gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_an_explicit_mode_compiles():
    net = Sequential([Input((4,)), Dense(8), torch.nn.Dropout(0.5)])
    torch._dynamo.reset()
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    assert (compiled(X, training=True) == 0).any() and not (compiled(X, training=False) == 0).all()
    assert not net.training and not net.layers[1].module.training


@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace")
def test_compiling_without_fullgraph_builds_on_the_way():
    torch._dynamo.reset()
    net = Net()
    assert torch.compile(net, backend="eager")(X)["a"].shape == (5, 1) and net.built
