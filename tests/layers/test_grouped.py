"""A grouped convolution written out as slices, convolutions and a concatenation runs as one convolution in groups."""

from __future__ import annotations

import copy
import re

import pytest
import torch

from lamina.kernels import native
from lamina.layers import Activation, BatchNormalization, Concatenate, Conv2D, Input, Lambda, ReLU
from lamina.models import Model

CHANNELS, COUNT, FILTERS = 6, 3, 4
WIDTH = CHANNELS // COUNT


def cut(x, begin, end, how, number):
    """The channels from `begin` to `end`, in one of the ways in which people write it."""
    ways = {
        "dots": lambda: x[..., begin:end],
        "colons": lambda: x[:, :, :, begin:end],
        "a lambda with dots": lambda: Lambda(lambda z: z[..., begin:end], name=f"cut{number}")(x),
        "a lambda with colons": lambda: Lambda(lambda z: z[:, :, :, begin:end], name=f"cut{number}")(x),
    }
    if how == "mixed":
        how = ["a lambda with dots", "colons", "a lambda with colons"][number]
    return ways[how]()


WAYS = ["dots", "colons", "a lambda with dots", "a lambda with colons", "mixed"]


def written_out(how="dots", tail=False, **options):
    x = Input((7, 6, CHANNELS), name="x")
    pieces = [cut(x, WIDTH * i, WIDTH * (i + 1), how, i) for i in range(COUNT)]
    options = {"bias_initializer": "random_normal", **options}
    y = Concatenate(name="join")([Conv2D(FILTERS, 3, name=f"conv{i}", **options)(p) for i, p in enumerate(pieces)])
    if tail:
        y = ReLU(name="act")(BatchNormalization(momentum=0.7, name="bn")(y))
    model = Model(x, y)
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        if name.startswith("bn"):
            weight.data.uniform_(0.4, 1.6)
    return model


def by_hand(model, x):
    """The layers called one by one."""
    convolutions = [model.get_layer(f"conv{i}") for i in range(COUNT)]
    pieces = x.split(WIDTH, dim=-1)
    y = torch.cat([layer(piece) for layer, piece in zip(convolutions, pieces, strict=True)], dim=-1)
    for name in ("bn", "act"):
        if name in {layer.name for layer in model.layers}:
            y = model.get_layer(name)(y)
    return y


def members(model):
    """The layers that the code hands to the grouped convolution, for each of those."""
    return [re.findall(r"layer\['(\w+)'\]", line) for line in model.code.splitlines() if "= groups_" in line]


def assert_same(model, run=by_hand):
    """Outputs and gradients of training, moving averages, and outputs at inference are those of `run`."""
    near = {"rtol": 1e-5, "atol": 1e-5}
    twin, seen = copy.deepcopy(model), []
    data = torch.randn(2, *model.input_shape[1:])
    for which, call in [(model, model), (twin, lambda x: run(twin, x))]:
        which.train()
        x = data.clone().requires_grad_()
        y = call(x)
        (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
        gradients = {name: p.grad for name, p in which.named_parameters()}
        assert None not in gradients.values()
        seen.append([y, x.grad, gradients, dict(which.named_buffers())])
    torch.testing.assert_close(*seen, **near)
    model.eval(), twin.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(data), run(twin, data), **near)
    torch.testing.assert_close(model(data), run(twin, data), **near)


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("how", WAYS)
def test_slices_convolutions_and_a_concatenation_become_one_call(how, tail):
    model = written_out(how, tail)
    cuts = {"mixed": ["cut0", "cut2"]}.get(how, [f"cut{i}" for i in range(COUNT)] if "lambda" in how else [])
    convolutions = [f"conv{i}" for i in range(COUNT)]
    assert members(model) == [[*cuts, *convolutions, "join", *(["bn", "act"] if tail else [])]]
    assert_same(model)


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": False},
        {"activation": "relu"},
        {"activation": "gelu", "use_bias": False},
        {"padding": "same", "strides": 2},
        {"dilation_rate": 2},
    ],
    ids=str,
)
def test_options_that_the_convolutions_share_do_not_matter(options, tail):
    model = written_out(tail=tail, **options)
    assert len(members(model)) == 1
    assert_same(model)


@pytest.mark.parametrize("tail", [False, True])
def test_it_is_right_without_native_kernels(tail):
    with native.switched_off():
        assert_same(written_out(tail=tail))


def test_a_normalization_with_another_activation_follows():
    x = Input((7, 6, 4))
    y = Concatenate()([Conv2D(3, 3, name=f"conv{i}")(x[..., 2 * i : 2 * i + 2]) for i in range(2)])
    model = Model(x, Activation("tanh", name="act")(BatchNormalization(name="bn")(y)))
    assert len(members(model)[0]) == 5

    def run(twin, data):
        y = torch.cat([twin.get_layer(f"conv{i}")(data[..., 2 * i : 2 * i + 2]) for i in range(2)], -1)
        return twin.get_layer("act")(twin.get_layer("bn")(y))

    assert_same(model, run)


def conv(name, filters=4, **options):
    return Conv2D(filters, 3, name=name, **options)


def pair(x, first, second, a=None, b=None, join=None):
    """Two pieces, a convolution of each, and the concatenation."""
    pieces = [a or conv("a"), b or conv("b")]
    return (join or Concatenate())([layer(piece) for layer, piece in zip(pieces, (first, second), strict=True)])


def one_lambda(x, function):
    return pair(x, Lambda(function)(x), Lambda(lambda z: z[..., 2:])(x))


def shared(x):
    layer = conv("a")
    return pair(x, x[..., :2], x[..., 2:], layer, layer)


def read_twice(x):
    piece = x[..., :2]
    return [pair(x, piece, x[..., 2:]), piece.sum()]


def also_an_output(x):
    h = conv("a")(x[..., :2])
    return [Concatenate()([h, conv("b")(x[..., 2:])]), h]


OTHERWISE = {
    "out of order": lambda x: pair(x, x[..., 2:], x[..., :2]),
    "overlapping": lambda x: pair(x, x[..., :3], x[..., 1:]),
    "the same twice": lambda x: pair(x, x[..., :2], x[..., :2]),
    "incomplete": lambda x: pair(x, x[..., :1], x[..., 1:2]),
    "not from the beginning": lambda x: pair(x, x[..., 2:3], x[..., 3:]),
    "of unequal width": lambda x: pair(x, x[..., :1], x[..., 1:]),
    "with steps": lambda x: pair(x, x[..., :4:2], x[..., 1:4:2]),
    "with steps that leave channels out": lambda x: pair(x, x[..., 0:2:2], x[..., 2:4:2]),
    "of a width that is as large as the channels": lambda x: pair(
        h := x[:, :, :4], h[:, :, :2], h[:, :, 2:], *(conv(name, padding="same") for name in "ab")
    ),
    "of another axis too": lambda x: pair(x, x[:, :4, :, :2], x[:, :4, :, 2:]),
    "of the width": lambda x: pair(x, x[:, :, :3], x[:, :, 3:]),
    "filters differ": lambda x: pair(x, x[..., :2], x[..., 2:], b=conv("b", 5)),
    "a bias differs": lambda x: pair(x, x[..., :2], x[..., 2:], b=conv("b", use_bias=False)),
    "an activation differs": lambda x: pair(x, x[..., :2], x[..., 2:], b=conv("b", activation="relu")),
    "dilation differs": lambda x: pair(
        x, x[..., :2], x[..., 2:], *(conv(f"d{rate}", padding="same", dilation_rate=rate) for rate in (1, 2))
    ),
    "groups inside": lambda x: pair(x, x[..., :2], x[..., 2:], conv("a", groups=2), conv("b", groups=2)),
    "a shared convolution": shared,
    "a piece that is read twice": read_twice,
    "a result that is an output": also_an_output,
    "a function that multiplies": lambda x: one_lambda(x, lambda z: z[..., :2] * 1),
    "a function that multiplies first": lambda x: one_lambda(x, lambda z: (2 * z)[..., :2]),
    "a function of torch": lambda x: one_lambda(x, lambda z: torch.relu(z[..., :2])),
    "a function that cuts twice": lambda x: one_lambda(x, lambda z: z[..., :3][..., :2]),
    "joined along the width": lambda x: pair(x, x[..., :2], x[..., 2:], join=Concatenate(axis=2)),
    "a single piece": lambda x: Concatenate()([conv("a")(x[..., :]), conv("b")(x * 2)]),
    "all in one piece": lambda x: Concatenate()([conv("a")(x[..., :])]),
    "channels first": lambda x: pair(
        x, x[..., :2], x[..., 2:], *(Conv2D(4, 2, data_format="channels_first", name=name) for name in "ab")
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", OTHERWISE.values(), ids=OTHERWISE.keys())
def test_what_is_no_grouped_convolution_is_left_as_it_is(make):
    x = Input((6, 6, 4))
    model = Model(x, make(x))
    assert members(model) == []
    data = torch.randn(2, 6, 6, 4)
    with torch.no_grad():
        found = model(data)
    assert torch.isfinite(found[0] if isinstance(found, (list, tuple)) else found).all()


def test_pieces_of_two_inputs_are_left_as_they_are():
    x, y = Input((6, 6, 4)), Input((6, 6, 4))
    model = Model([x, y], pair(x, x[..., :2], y[..., 2:]))
    data = [torch.randn(2, 6, 6, 4), torch.randn(2, 6, 6, 4)]
    expected = [model.get_layer("a")(data[0][..., :2]), model.get_layer("b")(data[1][..., 2:])]
    torch.testing.assert_close(model(data), torch.cat(expected, -1))
    assert members(model) == []


def test_a_function_of_a_number_can_be_in_a_model():
    x = Input((3,))
    assert Model(x, x.sum() * 2)(torch.ones(2, 3)) == 12


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize("how", ["dots", "a lambda with dots", "mixed"])
@pytest.mark.parametrize("training", [True, False])
def test_a_hook_on_any_member_is_called_once_and_sees_its_own_tensors(how, tail, training):
    model = written_out(how, tail)
    model.train(training)
    names = [layer.name for layer in model.layers if layer.name != "x"]
    for name in names:
        twin, seen, data = copy.deepcopy(model), [], torch.randn(2, 7, 6, CHANNELS)
        handle = model.get_layer(name).register_forward_hook(lambda _, x, y, seen=seen: seen.append(y))
        with torch.set_grad_enabled(training):
            y = model(data)
            expected = by_hand(twin, data)
        handle.remove()
        torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
        assert len(seen) == 1
        if name[:-1] in ("conv", "cut"):
            part = data.split(WIDTH, dim=-1)[int(name[-1])]
            torch.testing.assert_close(seen[0], twin.get_layer(name)(part) if "conv" in name else part)


class First(torch.nn.Module):
    """The first two channels, doubled."""

    def forward(self, x):
        return 2 * x[..., :2]


@pytest.mark.parametrize("name", ["act", "bn", "conv1"])
@pytest.mark.parametrize("by", [torch.nn.Identity, lambda: Lambda(lambda z: z - 7.0)])
def test_a_replaced_layer_is_the_one_that_runs(name, by):
    model = written_out("a lambda with dots", tail=True)
    model._modules[name] = by()
    data = torch.randn(2, 7, 6, CHANNELS)
    if name == "conv1":  # its result must be as large as the others'
        model._modules[name] = torch.nn.Sequential(by(), Conv2D(FILTERS, 3))
    with torch.no_grad():
        layer = model._modules
        y = torch.cat([layer[f"conv{i}"](part) for i, part in enumerate(data.split(WIDTH, -1))], -1)
        torch.testing.assert_close(model(data), layer["act"](layer["bn"](y)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("by", [First, lambda: Lambda(lambda z: 2 * z[..., :2])])
def test_a_replaced_slice_is_the_one_that_runs(by):
    model = written_out("a lambda with dots")
    data = torch.randn(2, 7, 6, CHANNELS)
    model._modules["cut0"] = by()
    torch.testing.assert_close(model(data)[..., :FILTERS], model.get_layer("conv0")(2 * data[..., :2]))


def test_a_replaced_concatenation_is_the_one_that_runs():
    model = written_out()
    model._modules["join"] = Concatenate(axis=1)
    assert model(torch.randn(2, 7, 6, CHANNELS)).shape == (2, COUNT * 5, 4, FILTERS)


def test_a_penalty_on_a_piece_is_added():
    x = Input((6, 6, 4))
    first = Lambda(lambda z: z[..., :2], activity_regularizer="l2")(x)
    model = Model(x, pair(x, first, x[..., 2:]))
    model(torch.ones(2, 6, 6, 4))
    assert len(model.losses) == 1


def test_a_frozen_member_gets_no_gradient():
    model = written_out(tail=True)
    frozen = model.get_layer("conv1")
    frozen.trainable = False
    model(torch.randn(2, 7, 6, CHANNELS), training=True).square().sum().backward()
    assert frozen.kernel.grad is None and frozen.bias.grad is None
    assert all(model.get_layer(name).kernel.grad.abs().sum() > 0 for name in ("conv0", "conv2"))


@pytest.mark.parametrize("training", [True, False])
def test_a_frozen_normalization_keeps_its_averages(training):
    model = written_out(tail=True)
    model.get_layer("bn").trainable = False
    twin, data = copy.deepcopy(model), torch.randn(2, 7, 6, CHANNELS)
    before = {name: b.clone() for name, b in model.named_buffers()}
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            y = model(data, training=training)
            torch.testing.assert_close(y, by_hand(twin.eval(), data), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dict(model.named_buffers()), before, rtol=0, atol=0)


def test_training_without_gradients_normalizes_by_the_batch():
    model, data = written_out(tail=True), torch.randn(2, 7, 6, CHANNELS)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        torch.testing.assert_close(model(data, training=True), by_hand(twin.train(), data), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dict(model.named_buffers()), dict(twin.named_buffers()))


def test_the_weights_keep_their_names_and_are_read_at_every_call():
    model = written_out(tail=True)
    expected = {f"conv{i}.{weight}" for i in range(COUNT) for weight in ("kernel", "bias")}
    expected |= {f"bn.{weight}" for weight in ("gamma", "beta", "moving_mean", "moving_variance")}
    assert set(model.state_dict()) == expected
    data = torch.randn(2, 7, 6, CHANNELS)
    model.predict(data, verbose=0)
    for weight in model.state_dict().values():
        weight.data.mul_(0.5)
    found = torch.from_numpy(model.predict(data, verbose=0))
    with torch.no_grad():
        torch.testing.assert_close(found, by_hand(model.eval(), data), rtol=1e-5, atol=1e-5)
