"""A report counts every weight once, shows the shapes of every kind of model, and changes nothing."""

from __future__ import annotations

import pytest
import torch

from lamina.errors import NotBuiltError
from lamina.inspection import measure
from lamina.layers import Dense, Embedding, Input, add
from lamina.models import Model, Sequential


class Net(Model):
    """Layers in attributes and lists, a torch module, a model, and a weight of its own."""

    def __init__(self):
        super().__init__(name="net")
        self.first = Dense(3, name="first")
        self.blocks = [Dense(3, name=f"block_{i}") for i in range(2)]
        self.linear = torch.nn.Linear(3, 2)
        self.norm = torch.nn.BatchNorm1d(2)
        self.tail = Sequential([Dense(1)], name="tail")
        self.unused = Dense(1, name="unused")
        self.scale = self.add_weight((2,), name="scale")

    def call(self, x):
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return {"y": self.tail(self.norm(self.linear(x)) * self.scale), "x": x}


def built():
    net = Net()
    net.build((None, 4))
    return net


def shapes(report):
    return {row.name: row.output_shape for row in report.rows}


def test_rows_of_a_functional_model_say_what_goes_where():
    x = Input((4,), name="x")
    h = Dense(3, name="h")(x)
    model = Model(x, add([h, Dense(3, name="g")(h)], name="sum") + 1, name="m")
    report = measure(model)
    assert [(row.name, row.class_name, row.output_shape, row.num_params, row.inputs) for row in report.rows] == [
        ("x", "InputLayer", (None, 4), 0, []),
        ("h", "Dense", (None, 3), 15, ["x"]),
        ("g", "Dense", (None, 3), 12, ["h"]),
        ("sum", "Add", (None, 3), 0, ["h", "g"]),
        ("add", "add", (None, 3), 0, ["sum"]),
    ]
    assert (report.name, report.class_name, report.total_params, report.params_bytes) == ("m", "Functional", 27, 108)


def test_a_sequential_leaves_its_input_out():
    report = measure(Sequential([Input((4,)), Dense(3), torch.nn.Linear(3, 2)]))
    assert [(row.name, row.class_name, row.output_shape) for row in report.rows] == [
        ("dense", "Dense", (None, 3)),
        ("linear", "Linear", (None, 2)),
    ]


def test_a_subclass_shows_shapes_also_of_torch_modules():
    report = measure(built())
    assert shapes(report) == {
        "first": (None, 3), "block_0": (None, 3), "block_1": (None, 3), "linear": (None, 2), "batch_norm1d": (None, 2),
        "tail": (None, 1), "unused": None, "net": None,
    }  # fmt: skip
    assert [row.class_name for row in report.rows][3:5] == ["Linear", "BatchNorm1d"]
    assert (report.rows[-1].class_name, report.rows[-1].num_params) == ("own weights", 2)


def test_a_subclass_called_on_data_shows_shapes_too():
    net = Net()
    net(torch.ones(2, 4))
    assert shapes(measure(net))["linear"] == (None, 2)


def test_a_model_of_whole_numbers_shows_shapes():
    class Text(Model):
        def __init__(self):
            super().__init__()
            self.table, self.words, self.dense = torch.nn.Embedding(9, 4), Embedding(9, 4), Dense(2)

        def call(self, x):
            return self.dense(self.table(x) + self.words(x))

    net = Text()
    net.build((None, 7))
    assert shapes(measure(net)) == {"embedding": (None, 7, 4), "embedding_1": (None, 7, 4), "dense": (None, 7, 2)}


MODELS = {
    "functional": lambda: Model(
        x := Input((4,)), [Dense(3)(x), Dense(2)(Dense(3)(x)) * torch.nn.Parameter(torch.ones(2))]
    ),
    "sequential": lambda: Sequential([Input((4,)), Dense(3), torch.nn.BatchNorm1d(3)]),
    "subclass": built,
    "nested": lambda: Sequential([Input((4,)), Sequential([Dense(3), Dense(2)], name="inside"), Dense(1)]),
}


@pytest.mark.parametrize("kind", MODELS)
def test_totals_are_the_sums_of_the_rows_and_of_torchs_count(kind):
    model = MODELS[kind]()
    report = measure(model)
    assert report.total_params == sum(row.num_params for row in report.rows) == model.count_params()
    assert report.total_params == report.trainable_params + report.non_trainable_params
    assert report.trainable_params == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert report.params_bytes == 4 * report.total_params
    model.trainable = False
    frozen = measure(model)
    assert frozen.trainable_params == 0 and not any(row.trainable for row in frozen.rows if row.num_params)


def test_a_layer_used_twice_counts_once():
    x, shared = Input((4,)), Dense(4)
    report = measure(Model(x, shared(shared(x))))
    assert report.total_params == 20 and [row.num_params for row in report.rows] == [0, 20]


def test_models_inside_are_opened_on_request():
    inner = Sequential([Input((4,)), Dense(3, name="a"), Dense(2, name="b")], name="inner")
    model = Sequential([Input((4,)), inner, Dense(1, name="c")])
    assert [(row.name, row.depth) for row in measure(model, expand_nested=True).rows] == [
        ("inner", 0), ("a", 1), ("b", 1), ("c", 0)
    ]  # fmt: skip
    opened = measure(built(), expand_nested=True)
    assert [(row.name, row.output_shape) for row in opened.rows if row.depth] == [("dense", (None, 1))]


def test_several_outputs_have_several_shapes():
    class Two(Model):
        def __init__(self):
            super().__init__()
            self.inner = Net()

        def call(self, x):
            return self.inner(x)["y"]

    net = Two()
    net.build((None, 4))
    assert shapes(measure(net))["net"] == {"y": (None, 1), "x": (None, 3)}
    x = Input((4,))
    assert shapes(measure(Model(x, Net()(x)["y"])))["net"] == {"y": (None, 1), "x": (None, 3)}


def test_an_unbuilt_model_is_refused():
    for model in (Net(), Sequential([Dense(1)], name="s")):
        with pytest.raises(NotBuiltError, match="is not built, so there is nothing to show yet") as caught:
            measure(model)
        assert "model.build((None, ...))" in str(caught.value)


def test_measuring_changes_nothing():
    net = built()
    net.train()
    net.norm.eval()
    seen = []
    handles = [net.first.register_forward_hook(lambda *_: seen.append(1)), net.norm.register_forward_pre_hook(print)]
    modes = [module.training for module in net.modules()]
    hooks = [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in net.modules()]
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net(torch.ones(2, 4))["y"].sum().backward()
    gradients = [p.grad for p in net.parameters()]
    random = torch.get_rng_state()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    seen.clear()
    first, second = measure(net), measure(net, expand_nested=True)
    assert first.total_params == second.total_params and seen == []
    assert [module.training for module in net.modules()] == modes
    assert [(dict(m._forward_hooks), dict(m._forward_pre_hooks)) for m in net.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), random)
    assert [p.grad is before for p, before in zip(net.parameters(), gradients, strict=True)] == [True] * len(gradients)
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    for handle in handles:
        handle.remove()


def test_a_model_whose_call_needs_values_is_run_on_some():
    class Decides(Model):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def call(self, x):
            return self.dense(x) if x.sum() > 0 else self.dense(-x)

    net = Decides()
    net(torch.ones(2, 4))
    assert shapes(measure(net)) == {"dense": (None, 2)} and measure(net).total_params == 10
