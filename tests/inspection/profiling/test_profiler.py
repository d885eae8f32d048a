"""Profiles: whose time is whose, forward and back, and that looking changes nothing."""

from __future__ import annotations

import copy
import random
import threading

import numpy as np
import pytest
import torch
from museum import MUSEUM, differences, fingerprint
from slow_modules import Slow, SlowLayer, taking
from torch import nn

from lamina import dtypes
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, LaminaError, NotBuiltError
from lamina.inspection import profile
from lamina.inspection.profiling import counting
from lamina.layers import (
    LSTM,
    Activation,
    Add,
    BatchNormalization,
    Bidirectional,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    Lambda,
    ReLU,
    blocks,
)  # fmt: skip
from lamina.models import Model, Sequential


def times(found):
    """By name forward and backward milliseconds, to the microsecond."""
    return {row.name: (round(row.forward_ms, 3), round(row.backward_ms, 3)) for row in found.rows}


def names(found):
    return {row.name for row in found.rows}


# ---------------------------------------------------------------------- whose time
def test_each_module_has_its_own_time_and_the_slowest_comes_first(clock):
    model = nn.Sequential(Slow(clock, 0.001, 0.002), Slow(clock, 0.003, 0.010), Slow(clock, 0.005))
    found = profile(model, (4,), batch_size=2, steps=2)
    assert times(found) == {"1": (3, 10), "2": (5, 0), "0": (1, 2), "outside layers": (0, 0)}
    assert [row.name for row in found.rows] == ["1", "2", "0", "outside layers"]
    assert (found.total_ms, found.forward_ms, found.backward_ms) == pytest.approx((21, 9, 12))
    assert found.step_ms == pytest.approx(21) and found.difference == pytest.approx(0)


def test_inference_has_no_way_back(clock):
    found = profile(nn.Sequential(Slow(clock, 0.001, 0.5)), (4,), train=False, steps=2)
    assert times(found)["0"] == (1, 0) and found.step_ms == pytest.approx(1) and not found.train


def test_a_layer_of_a_graph_has_its_own_time(clock):
    x = Input((4,), name="x")
    a = SlowLayer(clock, 0.001, 0.002, name="a")(x)
    b = SlowLayer(clock, 0.003, 0.001, name="b")(torch.relu(a))
    model = Model(x, Add(name="sum")([a, SlowLayer(clock, 0.002, 0.004, name="c")(b)]))
    found = profile(model, batch_size=2, steps=2)
    assert {name: ms for name, ms in times(found).items() if ms != (0, 0)} == {"a": (1, 2), "b": (3, 1), "c": (2, 4)}
    assert names(found) == {"a", "relu", "b", "c", "sum", "outside layers"}
    assert found.step_ms == pytest.approx(found.total_ms) == pytest.approx(13)


def test_what_no_layer_does_is_a_row_of_its_own(clock):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Slow(clock, 0.001, 0.001)

        def forward(self, x):
            return taking(self.inner(x), clock, 0.004, 0.006)

    assert times(profile(Net(), (3,), steps=1)) == {"outside layers": (4, 6), "inner": (1, 1)}


def test_a_module_that_is_called_twice_is_one_row(clock):
    shared = Slow(clock, 0.001, 0.002)
    found = profile(nn.Sequential(shared, nn.ReLU(), shared), (4,), steps=1)
    assert times(found)["0"] == (2, 4) and found.find("0").calls == 2
    layer = SlowLayer(clock, 0.001, 0.002, name="shared")
    x = Input((4,), name="x")
    found = profile(Model(x, layer(layer(x) + 1)), steps=1)
    assert times(found)["shared"] == (2, 4) and found.find("shared").calls == 2
    assert found.find("shared").num_params == 1


class Subclassed(Model):
    """A class that holds a graph, torch modules in a list, and a layer of its user with layers inside."""

    def __init__(self, clock):
        super().__init__()
        self.clock, x = clock, Input((4,), name="x")
        self.back = Model(x, SlowLayer(clock, 0.002, 0.003, name="in")(x), name="back")
        self.parts = [nn.Sequential(Slow(clock, 0.001, 0.001)), Slow(clock, 0.004)]
        self.block = Block(clock, name="block")

    def call(self, x):
        x = taking(x, self.clock, 0.25, 0.0)
        return self.block(self.parts[1](self.parts[0](self.back(x))))


class Block(Layer):
    """A user's layer with a layer inside."""

    def __init__(self, clock, **kwargs):
        super().__init__(**kwargs)
        self.clock = clock
        self.inner = SlowLayer(clock, 0.007, 0.009, name="deep")

    def call(self, x):
        return taking(self.inner(x), self.clock, 0.0005, 0.0)


def test_a_subclassed_model_is_looked_into(clock):
    model = Subclassed(clock)
    model.build((None, 4))
    torch_names = [layer.name for layer in model.layers][1:3]
    found = times(profile(model, batch_size=2, steps=2))
    assert found == {
        "back/in": (2, 3), f"{torch_names[0]}.0": (1, 1), torch_names[1]: (4, 0), "block/deep": (7, 9),
        "outside layers": (250.5, 0),
    }  # fmt: skip


def test_a_users_layer_may_keep_its_layers_in_a_list_of_that_name(clock):
    class Stack(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.layers = [SlowLayer(clock, 0.001, name="one"), SlowLayer(clock, 0.002, name="two")]
            self.unused = Dense(3)

        def call(self, x):
            return self.layers[1](self.layers[0](x))

    x = Input((4,), name="x")
    model = Model(x, Stack(name="stack")(x))
    found = times(profile(model, steps=1))
    assert sorted(found.values()) == [(0, 0), (1, 0), (2, 0)] and len(found) == 3


def test_models_inside_a_graph_are_looked_into(clock):
    model = Subclassed(clock)
    model.build((None, 4))
    x = Input((4,), name="x")
    y = nn.Sequential(nn.Linear(4, 4), Slow(clock, 0.006, 0.006))(model(x))
    outer = Model(x, SlowLayer(clock, 0.001, name="last")(y))
    found = profile(outer, steps=1)
    assert times(found)["last"] == (1, 0)
    assert times(found)[f"{model.name}/back/in"] == (2, 3) and times(found)[f"{model.name}/block/deep"] == (7, 9)
    assert [row.forward_ms for row in found.rows if row.name.endswith(".1")] == pytest.approx([6])
    assert found.total_ms == pytest.approx(found.step_ms)


def test_a_module_that_does_without_those_inside_has_its_own_row():
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert [row.class_name for row in profile(encoder, (5, 8), train=False, steps=1).rows if row.class_name] == [
        "TransformerEncoderLayer"  # torch's short way, which it leaves as soon as there is a hook
    ]
    found = profile(encoder, (5, 8), steps=1)
    assert {"self_attn", "linear1", "norm2", "outside layers"} <= names(found)
    assert found.find("self_attn").num_params == sum(p.numel() for p in encoder.self_attn.parameters())
    assert found.num_params == sum(p.numel() for p in encoder.parameters())


def test_scripted_and_compiled_modules_are_one_row():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.ReLU()))
    found = profile(nn.Sequential(scripted, nn.Linear(4, 2)), (4,), steps=1)
    assert names(found) == {"0", "1", "outside layers"} and found.find("0").num_params == 20
    compiled = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend="eager")
    assert names(profile(nn.Sequential(compiled, nn.Linear(4, 2)), (4,), steps=1)) == {"0", "1", "outside layers"}


def test_a_gradient_is_added_in_the_row_of_its_parameter(clock):
    """The first module uses the weight of the second, so that the sum of both gradients is made behind it."""

    class User(nn.Module):
        def __init__(self, weight):
            super().__init__()
            self.borrowed = [weight]

        def forward(self, x):
            return taking(x * self.borrowed[0], clock, 0.0, 0.001)

    slow = Slow(clock, 0.0, 0.004)
    slow.weight.register_post_accumulate_grad_hook(lambda _: setattr(clock, "now", clock.now + 0.002))
    found = profile(nn.Sequential(User(slow.weight), slow), (4,), steps=1)
    assert times(found) == {"0": (0, 1), "1": (0, 6), "outside layers": (0, 0)}


# ---------------------------------------------------------------------- layers that run as one
def residual():
    x = Input((8, 8, 3), name="x")
    h = ReLU(name="relu1")(BatchNormalization(name="bn1")(Conv2D(4, 3, padding="same", name="conv1")(x)))
    y = BatchNormalization(name="bn2")(Conv2D(4, 3, padding="same", name="conv2")(h))
    y = Activation("relu", name="relu2")(Add(name="sum")([y, h]))
    return Model(x, Dense(2, name="out")(GlobalAveragePooling2D(name="pool")(y)))


ROWS = {"conv1 + bn1 + relu1", "conv2 + bn2 + sum + relu2", "pool", "out", "outside layers"}


@pytest.mark.parametrize("train", [True, False])
def test_layers_that_run_as_one_are_one_row(clock, monkeypatch, train):
    taken, as_one = [], blocks._as_one

    def counted(parts, x, other):
        result = as_one(parts, x, other)
        taken.append(result is not None)
        clock.now += 0.004
        return result

    model = residual()
    monkeypatch.setattr(blocks, "_as_one", counted)
    found = profile(model, batch_size=2, train=train, steps=2)
    assert names(found) == ROWS and taken and all(taken)
    assert times(found)["conv1 + bn1 + relu1"] == times(found)["conv2 + bn2 + sum + relu2"] == (4, 0)
    row = found.find("bn2")
    assert row.layers == ("conv2", "bn2", "sum", "relu2")
    assert row.class_name == "Conv2D + BatchNormalization + Add + Activation"
    assert row.num_params == 4 * 4 * 9 + 4 + 16 and row.output_bytes == 2 * 8 * 8 * 4 * 4
    assert found.num_params == model.count_params()


def test_layers_that_somebody_watches_run_one_by_one_as_they_do_without_a_profile(clock):
    model, called = residual(), []
    model.get_layer("bn1").register_forward_hook(lambda *args: called.append(1))
    assert names(profile(model, batch_size=2, steps=1)) == ROWS
    assert called, "what the user hung onto the model belongs to its step"


def test_a_graph_inside_a_class_keeps_its_fused_layers():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.inner = residual()

        def call(self, x):
            return self.inner(x)

    net = Net()
    net.build((None, 8, 8, 3))
    inner = net.inner.name
    assert f"{inner}/conv1 + {inner}/bn1 + {inner}/relu1" in names(profile(net, batch_size=2, steps=1))


def test_grouped_convolutions_are_one_row_with_many_layers():
    x = Input((6, 6, 8), name="x")
    parts = [Conv2D(2, 3, name=f"conv{i}")(Lambda(lambda t, i=i: t[..., 2 * i : 2 * i + 2], name=f"cut{i}")(x))
             for i in range(4)]  # fmt: skip
    model = Model(x, Flatten(name="flat")(Concatenate(name="join")(parts)))
    found = profile(model, batch_size=2, steps=1)
    row = found.find("conv2")
    assert len(row.layers) == 9 and {"conv0", "conv3", "join", "cut1"} <= set(row.layers)
    assert row.flops == pytest.approx(3 * 2 * 4 * (2 * 4 * 4 * 2 * 2 * 9))


# ---------------------------------------------------------------------- figures
def test_operations_are_those_of_the_batch_and_twice_as_many_on_the_way_back():
    model = Sequential([Input((8,)), Dense(4, name="a"), Dense(2, name="b")])
    for train, times_ in ((True, 3), (False, 1)):
        found = profile(model, batch_size=5, train=train, steps=1)
        assert found.find("a").flops == times_ * 5 * 2 * 8 * 4 and found.find("b").flops == times_ * 5 * 2 * 4 * 2
    found = profile(nn.Sequential(nn.Linear(8, 4), nn.ReLU()), (8,), batch_size=5, steps=1)
    assert found.find("0").flops == 3 * 5 * 2 * 8 * 4 and found.find("1").flops == 0


def test_operations_are_counted_where_torch_does_not_run_while_others_look_on(monkeypatch):
    x = Input((8,), name="x")
    model = Model(x, nn.Sequential(nn.Linear(8, 2), nn.ReLU())(Dense(8, name="a")(x)))
    found = profile(model, batch_size=5, train=False, steps=1)
    assert found.find("a").flops == 5 * 2 * 8 * 8 and found.flops == 5 * 2 * 8 * (8 + 2)

    def refuse(self):
        raise RuntimeError("on purpose")

    monkeypatch.setattr(counting._Counter, "stamp", refuse)
    found = profile(model, batch_size=5, train=False, steps=1)
    assert found.find("a").flops == 5 * 2 * 8 * 8 == found.flops


def test_speed_is_operations_over_time_and_over_the_peak(clock):
    class Product(Slow):
        def forward(self, x):
            return super().forward(x @ torch.ones(1000, 100))

    row = profile(nn.Sequential(Product(clock, 0.001, 0.002)), (1000,), batch_size=50, steps=1).find("0")
    assert row.flops == 3 * 2 * 50 * 1000 * 100 and row.ms == pytest.approx(3)
    assert row.gflops == pytest.approx(10) and row.of_peak == pytest.approx(0.1)


def test_weights_are_counted_once_and_those_of_no_layer_are_outside():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = nn.Parameter(torch.ones(7))
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.unused = nn.Linear(10, 10)

        def forward(self, x):
            return self.b(self.a(x)) + self.own.sum()

    model = Net()
    found = profile(model, (3,), steps=1)
    assert {row.name: row.num_params for row in found.rows} == {"a": 12, "b": 3, "outside layers": 117}
    assert found.num_params == sum(p.numel() for p in model.parameters())
    assert found.find("a").param_bytes == 48


# ---------------------------------------------------------------------- inputs
@pytest.mark.parametrize("size", [(3,), 3, (None, 3), [(3,)], [3]])
def test_the_size_of_the_input_may_be_given_in_several_ways(size):
    found = profile(nn.Sequential(nn.Linear(3, 2)), size, batch_size=6, steps=1)
    assert found.batch_size == 6 and found.input_shapes == [(6, 3)]


def test_several_inputs_and_dicts_are_arguments_of_a_torch_module():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 4), nn.Linear(3, 4)

        def forward(self, left, right):
            return self.a(left) + self.b(right)

    assert profile(Two(), [(2,), (3,)], batch_size=5, steps=1).input_shapes == [(5, 2), (5, 3)]
    data = {"right": np.ones((7, 3), "float32"), "left": torch.ones(7, 2)}
    assert profile(Two(), input_data=data, steps=1).batch_size == 7
    assert profile(Two(), input_data=[torch.ones(7, 2), torch.ones(7, 3)], steps=1).batch_size == 7


def test_models_of_lamina_know_their_inputs():
    a, b = Input((2,), name="a"), Input((3,), name="b")
    layers = [Dense(4, name="left")(a), Dense(4, name="right")(b)]
    for form in ([a, b], {"a": a, "b": b}):
        found = profile(Model(form, Add(name="sum")(layers)), batch_size=4, steps=1)
        assert found.input_shapes == [(4, 2), (4, 3)]
    words = Sequential([Input((6,), dtype="int64"), Embedding(5, 4), Bidirectional(LSTM(3))])
    assert profile(words, batch_size=4, steps=1).input_shapes == [(4, 6)]
    fixed = Sequential([Input(batch_shape=(3, 4)), Dense(2)])
    assert profile(fixed, batch_size=32, steps=1).batch_size == 3


def test_whole_numbers_are_tried_where_floats_fail():
    model = nn.Sequential(nn.Embedding(3, 4), nn.Flatten(), nn.Linear(20, 2))
    assert names(profile(model, (5,), steps=1)) == {"0", "1", "2", "outside layers"}


def test_a_model_without_weights_yet_is_copied():
    model = Sequential([Dense(3, name="a"), Dropout(0.5, name="b")])
    assert names(profile(model, (4,), steps=1)) == {"a", "b", "outside layers"}
    assert not model.built and not model.get_layer("a").built


def test_a_copy_takes_no_automatic_name():
    class Net(Model):
        def build(self, input_shape):
            self.dense = Dense(2)
            super().build(input_shape)

        def call(self, x):
            return self.dense(x)

    assert profile(Net(), (4,), steps=1).num_params == 10
    assert Dense(2).name == "dense"


def test_lazy_modules_are_copied_if_they_can_be():
    lazy = nn.Sequential(nn.LazyLinear(3), nn.LazyBatchNorm1d())
    assert profile(lazy, (4,), steps=1).num_params == 15 + 6
    assert torch.nn.parameter.is_lazy(lazy[0].weight)
    lazy.lock = threading.Lock()
    with pytest.raises(NotBuiltError, match="cannot be copied"):
        profile(lazy, (4,), steps=1)


@pytest.mark.parametrize("policy, dtype", [("mixed_bfloat16", "bfloat16"), ("float64", "float64")])
def test_the_precision_of_the_products_is_named(policy, dtype):
    dtypes.set_global_policy(policy)
    model = Sequential([Input((4,)), Dense(2)])
    assert profile(model, steps=1).dtype == dtype


def test_autocast_around_a_profile_counts():
    with torch.autocast("cpu", torch.bfloat16):
        assert profile(nn.Linear(3, 2), (3,), steps=1).dtype == "bfloat16"
    assert profile(nn.Linear(3, 2).double(), (3,), steps=1).dtype == "float64"


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_what_autograd_does_outside_does_not_matter(clock, around):
    model = nn.Sequential(Slow(clock, 0.001, 0.002))
    with around():
        assert times(profile(model, (4,), steps=1))["0"] == (1, 2)
        assert times(profile(model, (4,), train=False, steps=1))["0"] == (1, 0)


# ---------------------------------------------------------------------- mistakes
def test_a_model_of_which_nobody_knows_the_input_is_refused():
    with pytest.raises(ArgumentError, match="Nothing says what Linear takes") as caught:
        profile(nn.Linear(3, 2))
    assert caught.value.fix.startswith("pass input_size=")
    with pytest.raises(ArgumentError, match="Nothing says what Sequential takes"):
        profile(Sequential([Dense(2)]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input_size": "abc"}, "This is no size"),
        ({"input_size": (0, 3)}, "A size is not positive"),
        ({"input_size": (None, None, 3)}, "A size of the input is not known"),
        ({"input_size": (3,), "input_data": torch.ones(2, 3)}, "Both a size and data"),
        ({"input_data": "abc"}, "There is no tensor in input_data"),
        ({"input_size": (3,), "batch_size": 0}, "cannot be batch_size"),
        ({"input_size": (3,), "steps": True}, "cannot be steps"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, words):
    with pytest.raises(ArgumentError, match=words):
        profile(nn.Linear(3, 2), **arguments)


@pytest.mark.parametrize("model", [nn.Linear, 3, "net.py"])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(ArgumentError, match="This is no model"):
        profile(model, (3,))


def test_a_model_that_fails_is_one_error_which_names_the_layer():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(5, 2)))
    with pytest.raises(ArgumentError, match="Sequential fails at '1.1'") as caught:
        profile(model, (4,))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_has_nothing_to_train_is_refused():
    model = nn.Linear(3, 2).requires_grad_(False)
    with pytest.raises(ArgumentError, match="a weight to train, so there is no way back") as caught:
        profile(model, (3,))
    assert caught.value.received == "outputs, 0 weights to train" and caught.value.fix == "pass train=False"
    assert profile(model, (3,), train=False, steps=1).num_params == 8

    class Whole(nn.Linear):
        def forward(self, x):
            return super().forward(x).argmax(-1)

    with pytest.raises(ArgumentError, match="no tensor of floats") as caught:
        profile(Whole(3, 2), (3,))
    assert caught.value.received == "no output of floats, 2 weights to train"


# ---------------------------------------------------------------------- nothing is changed
class Stateful(nn.Module):
    """Draws random numbers of every kind, keeps statistics, and fails when it is told to."""

    def __init__(self):
        super().__init__()
        self.lin, self.norm, self.drop = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)
        self.norm.eval()
        self.calls, self.fail_at = 0, None

    def forward(self, x):
        self.calls += 1
        random.random(), np.random.rand(), torch.rand(1)
        if self.calls == self.fail_at:
            raise KeyError("broken in the middle")
        return self.drop(self.norm(self.lin(x)))


def state_of(model):
    """All that a profile might change."""
    hooks = [{name: dict(hooks) for name, hooks in vars(m).items() if name.endswith("_hooks")} for m in model.modules()]
    gradients = [(p.grad if p.grad is None else p.grad.clone(), p.requires_grad) for p in model.parameters()]
    return (
        [m.training for m in model.modules()], hooks, [sorted(vars(m)) for m in model.modules()],
        {name: value.clone() for name, value in model.state_dict().items()}, gradients,
        random.getstate(), np.random.get_state(), torch.get_rng_state(),
    )  # fmt: skip


def expect_same(before, after):
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0) if isinstance(one, torch.Tensor) else None
        if isinstance(one, dict):
            assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
        elif not isinstance(one, torch.Tensor):
            assert str(one) == str(other)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("fail_at", [None, 1, 2, 4, 8])
@pytest.mark.parametrize("mode", [True, False])
def test_looking_changes_nothing_even_if_it_fails(train, fail_at, mode):
    model = Stateful()
    model.lin.train(mode)
    model.lin.bias.requires_grad_(False)
    model.lin.weight.grad = torch.ones(4, 4)
    gradient = model.lin.weight.grad
    model.register_forward_hook(lambda *args: None)
    model.fail_at = fail_at
    before = state_of(model)
    if fail_at is None:
        profile(model, (4,), train=train, steps=2)
    else:
        with pytest.raises(Exception, match="broken in the middle"):
            profile(model, (4,), train=train, steps=5)
    expect_same(before, state_of(model))
    assert model.lin.weight.grad is gradient and "forward" not in vars(model.lin)


@pytest.mark.parametrize("train", [True, False])
def test_looking_at_a_graph_changes_nothing(train):
    model = residual()
    model.get_layer("bn1").trainable = False
    model.compile("adam", "mse")
    x, y = np.ones((4, 8, 8, 3), "float32"), np.ones((4, 2), "float32")
    model.fit(x, y, verbose=0)
    before, code, compiled, twin = state_of(model), model.code, model._compiled, copy.deepcopy(model)
    profile(model, batch_size=2, train=train, steps=2)
    expect_same(before, state_of(model))
    assert model.code == code and model._compiled is compiled
    np.testing.assert_array_equal(model.predict(x, verbose=0), twin.predict(x, verbose=0))
    model.fit(x, y, verbose=0)  # and it can go on


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("name", MUSEUM)
def test_looking_leaves_every_awkward_model_as_it_was(name, train):
    make, size, count = MUSEUM[name]
    model = make()
    before = fingerprint(model)
    try:
        found = profile(model, (5, 3) if name == "lamina stateful" else size, train, batch_size=2, steps=1)
    except LaminaError as error:
        assert (name, train) in REFUSED, error
    else:
        assert (name, train) not in REFUSED and found.num_params == count
    assert differences(before, fingerprint(model)) == []


REFUSED = {("no weights", True)}  # there is no way back


def test_a_profile_is_silent(capfd):
    profile(residual(), batch_size=2, steps=1)
    assert capfd.readouterr() == ("", "")
