"""The code of a model is what a person would write by hand: one line a call, variables used again, nothing kept."""

from __future__ import annotations

import gc
import linecache
import traceback
import weakref
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F

from lamina.engine.layer import Layer
from lamina.layers import Activation, Dense, Input, add, concatenate
from lamina.models import Model, Sequential


def body(model):
    """The calls, without the lines that unpack and check the inputs."""
    lines = [line.strip() for line in model.code.splitlines()[1:]]
    return [line for line in lines if not line.startswith("if ") and line != "layer = self._modules"]


def test_the_whole_code_of_a_chain():
    x = Input((3,))
    model = Model(x, Dense(2, name="second")(torch.relu(Dense(4, name="first")(x))))
    assert model.code == (
        "def forward(self, inputs):\n"
        "    layer = self._modules\n"
        "    if not isinstance(inputs, torch.Tensor): inputs = self.arrange_inputs(inputs)\n"
        "    x = inputs\n"
        "    if x.dtype is not torch.float32 or x.shape[1:] != (3,): x = self.fit_input(0, x)\n"
        "    x = layer['first'](x)  # (None, 4)\n"
        "    x = torch.relu(x)  # (None, 4)\n"
        "    x = layer['second'](x)  # (None, 2)\n"
        "    return x\n"
    )


def test_a_shortcut_takes_one_more_variable_which_is_deleted():
    x = Input((4,))
    h = Dense(4, name="a")(x)
    model = Model(x, Activation("relu", name="c")(add([h, Dense(4, name="b")(h)], name="sum")))
    assert body(model) == [
        "x = inputs",
        "x = layer['a'](x)  # (None, 4)",
        "x_1 = layer['b'](x)  # (None, 4)",
        "x = layer['sum']([x, x_1]); del x_1  # (None, 4)",
        "x = layer['c'](x)  # (None, 4)",
        "return x",
    ]


def test_several_inputs_and_outputs_by_list():
    a, b = Input((2,)), Input((3,))
    model = Model([a, b], (concatenate([a, b], name="both"), b * 2))
    assert model.code.splitlines()[2:] == [
        "    if not isinstance(inputs, (list, tuple)) or len(inputs) != 2: inputs = self.arrange_inputs(inputs)",
        "    x, x_1, = inputs",
        "    if x.dtype is not torch.float32 or x.shape[1:] != (2,): x = self.fit_input(0, x)",
        "    if x_1.dtype is not torch.float32 or x_1.shape[1:] != (3,): x_1 = self.fit_input(1, x_1)",
        "    x = layer['both']([x, x_1])  # (None, 5)",
        "    x_1 = x_1 * 2  # (None, 3)",
        "    return (x, x_1)",
    ]


def test_inputs_and_outputs_by_dict():
    a, b = Input((2,), dtype="int64"), Input((None, 3))
    model = Model({"one": a, "two": b}, {"sum": b.sum(dim=1), "same": a})
    assert model.code.splitlines()[2:] == [
        (
            "    if not isinstance(inputs, dict) or not inputs.keys() >= {'one', 'two'}: "
            "inputs = self.arrange_inputs(inputs)"
        ),
        "    x = inputs['one']",
        "    x_1 = inputs['two']",
        "    if x.dtype is not torch.int64 or x.shape[1:] != (2,): x = self.fit_input(0, x)",
        "    if x_1.dtype is not torch.float32 or x_1.dim() != 3 or x_1.shape[2] != 3: x_1 = self.fit_input(1, x_1)",
        "    x_1 = x_1.sum(dim=1)  # (None, 3)",
        "    return {'sum': x_1, 'same': x}",
    ]


def test_nests_in_nests():
    a, b, c = Input((2,)), Input((2,)), Input((2,))
    model = Model({"pair": [a, b], "one": c}, {"all": [a + b, {"deep": (c,)}]})
    assert body(model) == [
        "x, x_1, x_2, = self.flatten_inputs(inputs)",
        "x = x + x_1; del x_1  # (None, 2)",
        "return {'all': [x, {'deep': (x_2,)}]}",
    ]


def test_a_fixed_batch_and_a_scalar_sample_are_checked_whole():
    x, y = Input((2,), batch_size=4), Input(())
    lines = Model([x, y], [x + 1, y + 1]).code.splitlines()
    assert "    if x.dtype is not torch.float32 or x.shape != (4, 2): x = self.fit_input(0, x)" in lines
    assert "    if x_1.dtype is not torch.float32 or x_1.shape[1:] != (): x_1 = self.fit_input(1, x_1)" in lines


def test_a_layer_called_twice_and_a_model_inside():
    x = Input((4,))
    inner = Model(x, Dense(4, name="d")(x), name="inner")
    y = Input((4,))
    assert body(Model(y, inner(inner(y)))) == [
        "x = inputs",
        "x = layer['inner'](x)  # (None, 4)",
        "x = layer['inner'](x)  # (None, 4)",
        "return x",
    ]


Pair = namedtuple("Pair", "low high")


class Spread(Layer):
    """Several outputs in the form that was asked for."""

    def __init__(self, form, **kwargs):
        super().__init__(**kwargs)
        self.form = form

    def call(self, x):
        low, high = x - 1, x + 1
        forms = {"tuple": (low, high), "dict": {"a b": low, "c": [high]}, "named": Pair(low, high), "one": (low,)}
        return forms[self.form]


def test_a_layer_with_several_outputs_is_unpacked():
    x = Input((2,))
    low, high = Spread("tuple", name="s")(x)
    assert body(Model(x, high - low))[1:] == [
        "x, x_1 = layer['s'](x)  # (None, 2), (None, 2)",
        "x = x_1 - x; del x_1  # (None, 2)",
        "return x",
    ]


def test_an_output_that_nobody_reads_is_not_kept():
    x = Input((2,))
    low, _ = Spread("tuple", name="s")(x)
    assert body(Model(x, low))[1:] == ["x, x_1 = layer['s'](x); del x_1  # (None, 2), (None, 2)", "return x"]


def test_a_tuple_of_one_is_unpacked():
    x = Input((2,))
    (low,) = Spread("one", name="s")(x)
    assert body(Model(x, low))[1] == "x, = layer['s'](x)  # (None, 2)"


def test_a_nest_of_outputs_is_taken_apart_by_its_keys():
    x = Input((2,))
    found = Spread("dict", name="s")(x)
    model = Model(x, found["a b"] * found["c"][0])
    assert body(model)[1:] == [
        "result = layer['s'](x)  # (None, 2), (None, 2)",
        "x = result['a b']; x_1 = result['c'][0]; del result",
        "x = x * x_1; del x_1  # (None, 2)",
        "return x",
    ]
    data = torch.randn(3, 2)
    torch.testing.assert_close(model(data), (data - 1) * (data + 1))


def test_named_tuples_come_in_and_go_out():
    x = Input((2,))
    found = Spread("named")(x)
    assert isinstance(found, Pair)
    model = Model(x, Pair(found.high, found.low))
    data = torch.randn(3, 2)
    outputs = model(data)
    assert isinstance(outputs, Pair)
    assert torch.equal(outputs.low, data + 1) and torch.equal(outputs.high, data - 1)


def test_keyword_arguments_and_constants_without_a_literal_form():
    x = Input((4,))
    y = F.pad(x, (1, 1), value=float("inf")).to(torch.device("cpu"), dtype=torch.float64)
    model = Model(x, Dense(2, name="d")(y.clone(memory_format=torch.contiguous_format), training=True))
    assert body(model)[1:] == [
        "x = torch.nn.functional.pad(x, (1, 1), mode='constant', value=object_0)  # (None, 6)",
        "x = x.to(object_1, dtype=torch.float64)  # (None, 6)",
        "x = x.clone(memory_format=torch.contiguous_format)  # (None, 6)",
        "x = layer['d'](x, training=True)  # (None, 2)",
        "return x",
    ]


def test_operators_and_indices_look_as_they_were_written():
    x = Input((4, 6))
    y = -(x[:, 1:3, ::2, None] ** -1) + 1.5
    assert body(Model(x, [y, x[..., 0], x[:, [0, 1]], x[(0, 1),], x.mT, x > 0]))[1:-1] == [
        "x_1 = x[:, 1:3, ::2, None]  # (None, 2, 3, 1)",
        "x_1 = x_1 ** (-1)  # (None, 2, 3, 1)",
        "x_1 = -x_1  # (None, 2, 3, 1)",
        "x_1 = x_1 + 1.5  # (None, 2, 3, 1)",
        "x_2 = x[..., 0]  # (None, 4)",
        "x_3 = x[:, [0, 1]]  # (None, 2, 6)",
        "x_4 = x[(0, 1),]  # (2, 4, 6)",
        "x_5 = x.mT  # (None, 6, 4)",
        "x = x > 0  # (None, 4, 6)",
    ]


NAMES = ["a.b", "it's", 'say "x"', "back\\slash", "卷积层", "new\nline", "output", "training", "train", "a b", "class"]


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_may_have_any_name(name):
    x = Input((3,))
    model = Model(x, Dense(2, name=name)(x))
    data = torch.randn(4, 3)
    kernel, bias = model.get_layer(name).get_weights()
    torch.testing.assert_close(model(data), data @ torch.from_numpy(kernel) + torch.from_numpy(bias))
    paths = dict(model.named_parameters())
    assert len(paths) == 2
    swapped = torch.func.functional_call(model, {path: torch.zeros_like(p) for path, p in paths.items()}, (data,))
    assert swapped.abs().max() == 0
    other = Model(x, Dense(2, name=name)(x))
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(other(data), model(data))


def test_inputs_may_have_any_name_too():
    x, y = Input((3,), name="inputs"), Input((3,), name="第二个")
    model = Model([x, y], x + y)
    data = torch.randn(2, 3)
    assert torch.equal(model({"第二个": data, "inputs": data}), 2 * data)


class Watched(Layer):
    """Keeps a weak reference to what it was given."""

    def call(self, x):
        self.seen = weakref.ref(x)
        return x * 1.0


class Asks(Layer):
    """Notes which of the tensors that other layers saw are still there."""

    def __init__(self, others):
        super().__init__()
        self.__dict__["others"] = others

    def call(self, x):
        gc.collect()
        self.alive = [other.seen() is not None for other in self.others]
        return x * 1.0


def test_a_chain_keeps_only_the_tensor_it_works_on():
    watched, x = [Watched() for _ in range(4)], Input((8,))
    h = x * 1.0
    for layer in watched:
        h = layer(h)
    asks = Asks(watched)
    model = Model(x, asks(h))
    with torch.no_grad():
        model(torch.ones(2, 8))
    assert asks.alive == [False] * 4


def test_branches_are_freed_as_soon_as_they_are_joined():
    x, branches = Input((8,)), [Watched() for _ in range(6)]
    joined = concatenate([branch(x * float(i)) for i, branch in enumerate(branches)])
    asks = Asks(branches)
    model = Model(x, asks(Dense(8)(joined)))
    with torch.no_grad():
        model(torch.ones(2, 8))
    assert asks.alive == [False] * 6


def test_what_a_branch_gave_is_not_held_by_a_variable_that_is_not_needed_again():
    x, first, second = Input((8,)), Watched(), Watched()
    both = first(torch.relu(x)) + second(torch.tanh(x))
    asks = Asks([first, second])
    h = asks(both)
    model = Model(x, h * 2)
    with torch.no_grad():
        model(torch.ones(2, 8))
    assert asks.alive == [False, False]
    assert "del x_1" in model.code


def test_a_traceback_shows_the_generated_line():
    class Fails(Layer):
        def call(self, x):
            if x.shape[0] == 3:
                raise RuntimeError("three")
            return x

    x = Input((2,))
    model = Model(x, Fails(name="fails")(x), name="net")
    try:
        model(torch.ones(3, 2))
    except RuntimeError as error:
        text = "".join(traceback.format_exception(error))
    assert "<lamina model net" in text
    assert "x = layer['fails'](x)  # (None, 2)" in text


def test_the_source_of_a_model_that_is_gone_is_forgotten():
    def sources():
        return {name for name in linecache.cache if name.startswith("<lamina model short_lived")}

    x = Input((2,))
    model = Model(x, x + 1, name="short_lived")
    model(torch.ones(1, 2))
    assert len(sources()) == 1
    del model, x
    gc.collect()
    assert sources() == set()


def test_a_replaced_layer_is_the_one_that_runs():
    x = Input((3,))
    model = Model(x, Dense(3, name="d")(x))
    model._modules["d"] = torch.nn.Identity()
    data = torch.randn(2, 3)
    assert torch.equal(model(data), data)


def test_the_code_of_a_sequential_without_a_stated_shape_checks_only_the_rank():
    model = Sequential([Dense(2, name="d")])
    model(torch.ones(1, 3))
    assert "    if x.dim() != 2: x = self.fit_input(0, x)" in model.code.splitlines()


def test_marks_stand_behind_the_calls_and_change_nothing_else():
    x = Input((4,))
    low, high = torch.split(Dense(4, name="a")(x), 2, dim=-1)
    model = Model(x, Dense(3, name="b")(low) + 1)
    marks = []
    marked = model._program_with(lambda number, *results: marks.append((number, [tuple(r.shape) for r in results])))
    lines = marked.text.splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("    mark(")) == model.code
    data = torch.ones(2, 4)
    assert torch.equal(marked.compile("marked")(model, data), model(data))
    nodes = [getattr(marked.graph.nodes[number].op, "name", None) for number, _ in marks]
    assert nodes == ["a", "split", "b", "add"]
    assert [shapes for _, shapes in marks] == [[(2, 4)], [(2, 2)], [(2, 3)], [(2, 3)]], "what nobody reads is gone"
    assert "mark" not in model._program.constants
