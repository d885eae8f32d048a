"""Several calls of a graph become one in the code, and nowhere else."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn.modules import module as torch_module

from lamina import dtypes
from lamina.engine import precision
from lamina.engine.graph import Graph
from lamina.engine.masking import set_mask
from lamina.engine.rewrite import Found, FusedCall, Readers, Rewritten, hooked, unwatched
from lamina.layers import Add, BatchNormalization, Concatenate, Conv2D, Dense, Dropout, Input, Lambda, ReLU
from lamina.models import Model, Sequential


def fork():
    """A graph whose first layer is read by two, of which the second is an output."""
    x = Input((4,), name="x")
    h = Dense(4, name="first")(x)
    a, b = ReLU(name="left")(h), Dense(4, name="right")(h)
    return Graph(x, [Add(name="sum")([a, b]), b])


def call_of(graph, name):
    return next(node for node in graph.nodes if getattr(node.op, "name", None) == name)


def names(nodes):
    return [node.op.name for node in nodes]


class TestReaders:
    def test_every_reader_is_found_in_order(self):
        graph = fork()
        readers = Readers(graph)
        assert sorted(names(readers.of(call_of(graph, "first").output_list[0]))) == ["left", "right"]
        assert names(readers.of(call_of(graph, "left").output_list[0])) == ["sum"]

    def test_an_output_may_be_read_by_anybody(self):
        graph = fork()
        assert Readers(graph).of(call_of(graph, "right").output_list[0]) == []
        assert Readers(graph).of(call_of(graph, "sum").output_list[0]) == []

    def test_there_is_an_only_reader_or_none(self):
        graph = fork()
        only = Readers(graph).only
        assert only(call_of(graph, "left")) is call_of(graph, "sum")
        assert only(call_of(graph, "first")) is only(call_of(graph, "right")) is only(call_of(graph, "sum")) is None

    def test_a_reader_that_takes_a_tensor_twice_is_one(self):
        x = Input((4,), name="x")
        graph = Graph(x, Add(name="sum")([h := ReLU(name="act")(x), h]))
        assert Readers(graph).only(call_of(graph, "act")) is call_of(graph, "sum")

    def test_a_reader_that_is_taken_does_not_count(self):
        graph = fork()
        readers = Readers(graph)
        readers.taken.add(id(call_of(graph, "sum")))
        assert readers.only(call_of(graph, "left")) is None

    def test_a_call_with_two_results_has_no_only_reader(self):
        x = Input((4,), name="x")
        low, high = Lambda(lambda z: (z - 1, z + 1), name="both")(x)
        graph = Graph(x, Add(name="sum")([low, high]))
        assert Readers(graph).only(call_of(graph, "both")) is None


def pairs(name, run=None):
    """A finder of two layers in a row, the first of which is a `Dense`."""

    def find(node, readers):
        following = readers.only(node) if isinstance(node.op, Dense) else None
        if following is None or len(following.inputs) != 1:
            return None
        return Found(name, [node, following], [node.op, following.op], [node.inputs[0]], run or (lambda layers, x: x))

    return find


def chain(count=4):
    x = y = Input((4,), name="x")
    for number in range(count):
        y = Dense(4, name=f"d{number}")(y)
    return Graph(x, y)


class TestRewritten:
    def test_what_was_found_stands_where_its_last_call_stood(self):
        graph = chain(3)
        before = list(graph.nodes)
        found = Rewritten(graph, [pairs("pair")])
        call, last = found.nodes[1:]
        assert isinstance(call, FusedCall) and call.op.name == "pair"
        assert [layer.name for layer in call.op.layers] == ["d0", "d1"]
        assert last is before[-1] and found.nodes[0] is before[0]
        assert call.inputs == [before[1].inputs[0]] and call.output_list is before[2].output_list

    def test_the_graph_itself_stays_as_it_was(self):
        graph = chain()
        before = (list(graph.nodes), list(graph.ops), graph.inputs, graph.outputs)
        found = Rewritten(graph, [pairs("pair")])
        assert (graph.nodes, graph.ops, graph.inputs, graph.outputs) == before
        assert found.ops == graph.ops and len(found.nodes) == 3 and len(graph.nodes) == 5

    def test_no_call_is_taken_twice_and_the_first_finder_has_the_first_choice(self):
        found = Rewritten(chain(), [lambda node, readers: None, pairs("one"), pairs("two")])
        assert [node.op.name for node in found.nodes] == ["x", "one", "one"]
        assert [[layer.name for layer in n.op.layers] for n in found.nodes[1:]] == [["d0", "d1"], ["d2", "d3"]]

    def test_without_finders_every_call_stays(self):
        graph = fork()
        assert Rewritten(graph, []).nodes == graph.nodes

    def test_what_a_rewrite_needs_is_computed_before_it(self):
        """The other part of a sum may stand between a block's first call and its last."""
        x = Input((4,))
        left = BatchNormalization(name="bn")(x)
        right = Dense(4, name="late")(ReLU(name="later")(x))
        model = Model(x, ReLU(name="act")(Add(name="sum")([left, right])))
        lines = model.code.splitlines()
        assert next(i for i, line in enumerate(lines) if "late'" in line) < next(
            i for i, line in enumerate(lines) if "block_" in line
        )
        data = torch.randn(3, 4)
        expected = model.get_layer("bn")(data) + model.get_layer("late")(torch.relu(data))
        torch.testing.assert_close(model(data), torch.relu(expected), rtol=1e-5, atol=1e-5)


HOOKS = {
    "forward": lambda m: m.register_forward_hook(lambda *_: None),
    "forward pre": lambda m: m.register_forward_pre_hook(lambda *_: None),
    "backward": lambda m: m.register_full_backward_hook(lambda *_: None),
    "backward pre": lambda m: m.register_full_backward_pre_hook(lambda *_: None),
}
GLOBAL = {
    "forward": lambda: torch_module.register_module_forward_hook(lambda *_: None),
    "forward pre": lambda: torch_module.register_module_forward_pre_hook(lambda *_: None),
    "backward": lambda: torch_module.register_module_full_backward_hook(lambda *_: None),
    "backward pre": lambda: torch_module.register_module_full_backward_pre_hook(lambda *_: None),
}


class TestWatching:
    @pytest.mark.parametrize("register", HOOKS.values(), ids=HOOKS.keys())
    def test_a_hook_is_seen_while_it_is_there(self, register):
        layers = [ReLU(), ReLU()]
        assert not hooked(layers)
        handle = register(layers[1])
        assert hooked(layers) and not hooked(layers[:1])
        handle.remove()
        assert not hooked(layers)

    @pytest.mark.parametrize("register", GLOBAL.values(), ids=GLOBAL.keys())
    def test_a_hook_on_all_modules_is_seen(self, register):
        handle = register()
        try:
            assert hooked([ReLU()])
        finally:
            handle.remove()
        assert not hooked([ReLU()])

    def built(self, layer):
        layer.build((None, 4))
        return layer

    def test_layers_that_are_called_simply_are_unwatched(self):
        layer, x = self.built(Dense(4)), torch.zeros(2, 4)
        assert unwatched([layer], x) and unwatched([layer], x, x)
        layer.register_forward_hook(lambda *_: None)
        assert not unwatched([layer], x)

    def test_a_mask_or_what_is_no_tensor_is_watched(self):
        layer, x = self.built(Dense(4)), torch.zeros(2, 4)
        assert not unwatched([layer], x, set_mask(torch.zeros(2, 4), torch.ones(2, dtype=torch.bool)))
        assert not unwatched([layer], [x])

    def test_a_layer_with_more_to_do_than_its_call_is_watched(self):
        x = torch.zeros(2, 4)
        assert not unwatched([self.built(Dense(4)), self.built(Dense(4, activity_regularizer="l2"))], x)
        assert not unwatched([self.built(Dense(4, dtype="mixed_bfloat16"))], x)

    def test_a_layer_that_would_convert_its_input_is_watched(self):
        x = torch.zeros(2, 4)
        assert not unwatched([self.built(Dense(4))], x.double())
        assert not unwatched([self.built(Dense(4)), self.built(Dense(4, dtype="float64"))], x)
        assert unwatched([self.built(ReLU())], x.double())

    def test_mixed_layers_are_unwatched_in_their_region(self):
        layer, x = self.built(Dense(4, dtype="mixed_bfloat16")), torch.zeros(2, 4)
        with precision.region(torch.bfloat16, "cpu"):
            assert unwatched([layer], x) and not unwatched([self.built(Dense(4))], x)


def model_with_rewrites():
    x = Input((8, 8, 4), name="x")
    y = ReLU(name="act")(BatchNormalization(name="bn")(Conv2D(4, 3, padding="same", name="conv")(x)))
    parts = [Conv2D(2, 3, name=f"part{i}")(y[..., 2 * i : 2 * i + 2]) for i in range(2)]
    return Model(x, Dropout(0.5, name="drop")(Concatenate(name="join")(parts)), name="net")


NAMES = ["x", "conv", "bn", "act", "part0", "part1", "join", "drop"]


def test_a_rewrite_is_seen_in_the_code_only(capsys):
    model = model_with_rewrites()
    assert "block_" in model.code and "groups_" in model.code
    assert [layer.name for layer in model.layers] == NAMES
    assert [n.op.name for n in model.graph.nodes if n.op.name in NAMES] == NAMES
    assert len(model.graph.nodes) == len(NAMES) + 2  # the slices
    assert list(model._modules) == NAMES
    paths = [
        "conv.kernel",
        "conv.bias",
        "bn.gamma",
        "bn.beta",
        "part0.kernel",
        "part0.bias",
        "part1.kernel",
        "part1.bias",
    ]
    assert [name for name, _ in model.named_parameters()] == paths
    config = model.get_config()
    again = Model.from_config(config)
    assert again.get_config() == config and again.code == model.code
    model.summary()
    text = capsys.readouterr().out
    assert all(name in text for name in NAMES) and "block" not in text and "groups" not in text


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_a_copy_has_rewrites_of_its_own_layers(copied):
    model = model_with_rewrites()
    data = torch.randn(2, 8, 8, 4)
    model(data, training=True)
    twin = copied(model)
    assert twin.code == model.code and twin.state_dict().keys() == model.state_dict().keys()
    expected = model.predict(data, verbose=0)
    assert (twin.predict(data, verbose=0) == expected).all()
    for p in twin.parameters():
        p.data.zero_()
    assert (twin.predict(data, verbose=0) == 0).all()
    assert (model.predict(data, verbose=0) == expected).all()


def test_a_sequential_model_is_rewritten_too():
    model = Sequential([Input((8, 8, 3)), Conv2D(4, 3, name="conv"), ReLU(name="act")])
    assert "block_0([layer['conv'], layer['act']], x)" in model.code
    data = torch.randn(2, 8, 8, 3)
    torch.testing.assert_close(model(data), torch.relu(model.get_layer("conv")(data)))


def test_mixed_precision_runs_rewrites():
    dtypes.set_global_policy("mixed_bfloat16")
    model, data = model_with_rewrites(), torch.randn(2, 8, 8, 4)
    twin = copy.deepcopy(model)
    for layer in twin.layers:
        layer.register_forward_hook(lambda *_: None)
    with torch.no_grad():
        y, expected = model(data), twin(data)
    assert y.dtype is expected.dtype is torch.bfloat16
    torch.testing.assert_close(y, expected, rtol=0.1, atol=0.05)
