"""Layers that follow each other, run as one: they give what they give when they are called one by one."""

from __future__ import annotations

import copy
import itertools
import re

import pytest
import torch

from lamina import dtypes
from lamina.engine.masking import get_mask
from lamina.errors import ShapeError
from lamina.kernels import native
from lamina.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Embedding,
    Input,
    Masking,
    MaxPooling2D,
    ReLU,
    ZeroPadding2D,
)
from lamina.models import Model, Sequential

ACTIVATIONS = ["relu", "sigmoid", "tanh", "ReLU"]


def activation(name):
    return ReLU(name="act") if name == "ReLU" else Activation(name, name="act")


def chain(*, pad=False, conv=True, bn=False, add=None, act=None, pool=False, bias=True, padding="valid", strides=1):
    """A functional model of a block, with whatever stands before and behind the sum, if there is one.

    The sum's other part is an input of its own; `add` says where it stands: "first" or "second".
    """
    x = y = Input((9, 8, 3), name="x")
    if pad:
        y = ZeroPadding2D(((1, 2), (0, 1)), name="pad")(y)
    if conv:
        y = Conv2D(4, 3, strides, padding, use_bias=bias, bias_initializer="random_normal", name="conv")(y)
    if bn:
        y = BatchNormalization(momentum=0.7, name="bn")(y)
    inputs = [x]
    if add:
        inputs.append(Input(y.shape[1:], name="other"))
        y = Add(name="add")([inputs[1], y] if add == "first" else [y, inputs[1]])
    if act:
        y = activation(act)(y)
    if pool:
        y = MaxPooling2D(2, name="pool")(y)
    return Model(inputs if add else x, y), add


def disturbed(model):
    """The model with weights and averages that are neither 0 nor 1."""
    for weight in [*model.parameters(), *model.buffers()]:
        if weight.ndim == 1:
            weight.data.uniform_(0.4, 1.6)
    return model


def one_by_one(model, inputs, add=None):
    """The layers called by hand."""
    y, *other = inputs
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        y = layer(([*other, y] if add == "first" else [y, *other]) if isinstance(layer, Add) else y)
    return y


def data_of(model):
    return [torch.randn(2, *t.shape[1:]) for t in model.inputs]


def given(inputs):
    return inputs if len(inputs) > 1 else inputs[0]


def assert_same(model, add=None, tolerance=1e-5):
    """A block and its layers one by one: outputs and gradients of training, moving averages, outputs at inference."""
    disturbed(model)
    twin = copy.deepcopy(model)
    near = {"rtol": tolerance, "atol": tolerance}
    for _ in range(2):  # steps
        data = data_of(model)
        seen = []
        for which, run in [(model, lambda m, d: m(given(d))), (twin, lambda m, d: one_by_one(m, d, add))]:
            which.train()
            inputs = [d.clone().requires_grad_() for d in data]
            y = run(which, inputs)
            factor = torch.linspace(-1, 1, y.numel()).view(y.shape)
            (y * factor).sum().backward()
            gradients = {name: p.grad for name, p in which.named_parameters()}
            assert all(g is not None for g in gradients.values())
            seen.append([y, [d.grad for d in inputs], gradients, dict(which.named_buffers())])
        torch.testing.assert_close(*seen, **near)
        for which in (model, twin):
            for p in which.parameters():
                p.data -= 0.01 * p.grad
                p.grad = None
    model.eval(), twin.eval()
    data = data_of(model)
    with torch.no_grad():
        expected = one_by_one(twin, data, add)
        torch.testing.assert_close(model(given(data)), expected, **near)
        torch.testing.assert_close(torch.from_numpy(model.predict(given(data), verbose=0)), expected.float(), **near)
    inputs, others = [d.clone().requires_grad_() for d in data], [d.clone().requires_grad_() for d in data]
    (model(given(inputs)).sum() + 0).backward(), (one_by_one(twin, others, add).sum() + 0).backward()
    torch.testing.assert_close([d.grad for d in inputs], [d.grad for d in others], **near)


def blocks_of(model):
    """The names of the layers of each block in the code."""
    return [re.findall(r"layer\['(\w+)'\]", line) for line in model.code.splitlines() if "= block_" in line]


COMBINATIONS = [
    {"pad": pad, "bn": bn, "add": add, "act": act, "pool": pool}
    for pad, bn, add, act, pool in itertools.product(
        [False, True], [False, True], [None, "first", "second"], [None, *ACTIVATIONS], [False, True]
    )
    if not (add and (not bn or pool or act in ("sigmoid", "ReLU"))) and not (bn and pool)
]


@pytest.mark.parametrize("parts", COMBINATIONS, ids=lambda parts: "-".join(f"{k}={v}" for k, v in parts.items() if v))
def test_every_block_with_a_convolution_gives_what_its_layers_give(parts):
    for bias, padding, strides in [(True, "valid", 1), (False, "same", 2)]:
        if parts["pad"] and padding == "same":
            padding = "valid"
        model, add = chain(**parts, bias=bias, padding=padding, strides=strides)
        names = [n for n in ("pad", "conv", "bn", "add", "act", "pool") if parts.get(n, n == "conv")]
        assert blocks_of(model) == ([names] if len(names) > 1 else [])
        assert_same(model, add)


@pytest.mark.parametrize("add", [None, "first", "second"])
@pytest.mark.parametrize("act", [None, *ACTIVATIONS])
def test_every_block_that_begins_with_a_normalization_gives_what_its_layers_give(add, act):
    model, add = chain(conv=False, bn=True, add=add, act=act)
    names = ["bn", *(["add"] if add else []), *(["act"] if act else [])]
    assert blocks_of(model) == ([names] if len(names) > 1 else [])
    assert_same(model, add)


SAMPLES = [
    {"pad": True, "bn": True, "act": "relu"},
    {"bn": True, "add": "first", "act": "relu"},
    {"act": "tanh", "pool": True, "padding": "same"},
    {"conv": False, "bn": True, "add": "second", "act": "ReLU"},
]


@pytest.mark.parametrize("parts", SAMPLES)
def test_blocks_are_right_without_native_kernels(parts):
    with native.switched_off():
        assert_same(*chain(**parts))


@pytest.mark.parametrize("parts", SAMPLES)
def test_blocks_are_near_in_bfloat16(parts):
    dtypes.set_global_policy("mixed_bfloat16")
    model, add = chain(**parts)
    disturbed(model)
    twin, data = copy.deepcopy(model), data_of(model)
    twin.layers[-1].register_forward_hook(lambda *_: None)  # one by one, but inside the model's region
    for training in (True, False):
        model.train(training), twin.train(training)
        with torch.set_grad_enabled(training):
            y, expected = model(given(data)), twin(given(data))
        assert y.dtype is expected.dtype is (torch.float32 if add else torch.bfloat16)  # as is what is added
        torch.testing.assert_close(y, expected, rtol=0.1, atol=0.15)
        if training:
            y.float().square().mean().backward(), expected.float().square().mean().backward()
            for p, q in zip(model.parameters(), twin.parameters(), strict=True):
                assert (p.grad - q.grad).norm() <= 0.1 * q.grad.norm() + 1e-2
    torch.testing.assert_close(dict(model.named_buffers()), dict(twin.named_buffers()), rtol=0.05, atol=0.05)


def test_a_convolution_behind_a_sum_is_computed_and_not_taken_for_its_activation():
    x = Input((5, 5, 4))
    y = BatchNormalization(name="bn")(Conv2D(4, 1, name="conv")(x))
    model = Model(x, Conv2D(3, 1, name="next")(Add(name="add")([x, y])))
    data = torch.rand(2, 5, 5, 4)
    with torch.no_grad():
        expected = model.get_layer("next")(data + model.get_layer("bn")(model.get_layer("conv")(data)))
        torch.testing.assert_close(model.eval()(data), expected)


def test_the_code_hands_the_layers_to_the_block():
    model, _ = chain(bn=True, add="first", act="relu")
    line = (
        "    x = block_0([layer['conv'], layer['bn'], layer['add'], layer['act']], x, x_1); del x_1  # (None, 7, 6, 4)"
    )
    assert line in model.code.splitlines()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("parts", SAMPLES)
def test_a_hook_on_any_member_is_called_once_and_sees_its_own_tensors(parts, training):
    model, add = chain(**parts)
    disturbed(model).train(training)
    data = data_of(model)
    members = [layer for layer in model.layers if type(layer).__name__ != "InputLayer"]
    for watched in members:
        twin, seen = copy.deepcopy(model), []
        handle = watched.register_forward_hook(lambda _, x, y, seen=seen: seen.append(y.detach().clone()))
        with torch.set_grad_enabled(training):
            y = model(given(data))
        handle.remove()
        assert len(seen) == 1
        until, expected = [layer.name for layer in members].index(watched.name) + 1, [*data]
        with torch.no_grad():
            for layer in [twin.get_layer(m.name) for m in members[:until]]:
                is_sum, (h, *other) = isinstance(layer, Add), expected
                expected[0] = layer(([*other, h] if add == "first" else [h, *other]) if is_sum else h)
        torch.testing.assert_close(seen[0], expected[0], rtol=1e-5, atol=1e-5)
        assert y.shape[1:] == model.output_shape[1:]


@pytest.mark.parametrize("add", ["first", "second"])
def test_a_hook_on_the_sum_sees_its_parts_in_their_order(add):
    model, _ = chain(conv=False, bn=True, add=add, act="relu")
    seen, data = [], data_of(model)
    model.get_layer("add").register_forward_pre_hook(lambda _, x: seen.extend(x[0]))
    model(data)
    assert torch.equal(seen[0 if add == "first" else 1], data[1])


def test_a_hook_may_change_what_goes_on():
    model, _ = chain(bn=True, act="relu")
    model.get_layer("bn").register_forward_hook(lambda _, x, y: torch.full_like(y, 3.0))
    with torch.no_grad():
        assert (model(data_of(model)[0]) == 3.0).all()


@pytest.mark.parametrize("training", [True, False])
def test_a_frozen_normalization_keeps_its_averages(training):
    model, _ = chain(bn=True, act="relu")
    disturbed(model).get_layer("bn").trainable = False
    twin, data = copy.deepcopy(model), data_of(model)
    before = {name: b.clone() for name, b in model.named_buffers()}
    model.train(training), twin.train(training)
    y, expected = model(data[0]), one_by_one(twin, data)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dict(model.named_buffers()), before, rtol=0, atol=0)
    y.sum().backward(), expected.sum().backward()
    conv, other = model.get_layer("conv"), twin.get_layer("conv")
    torch.testing.assert_close(conv.kernel.grad, other.kernel.grad, rtol=1e-4, atol=1e-4)
    assert model.get_layer("bn").gamma.grad is None


@pytest.mark.parametrize("mode", [True, False])
def test_the_argument_training_outweighs_the_mode_of_the_model(mode):
    model, _ = chain(bn=True, act="relu")
    disturbed(model).train(mode)
    data = data_of(model)[0]
    conv, bn = model.get_layer("conv"), model.get_layer("bn")
    with torch.no_grad():
        inference = torch.relu(bn(conv(data), training=False))
        torch.testing.assert_close(model(data, training=False), inference, rtol=1e-5, atol=1e-5)
        h = conv(data)
        mean, variance = h.mean((0, 1, 2)), h.var((0, 1, 2), unbiased=False)
        expected = torch.relu((h - mean) * torch.rsqrt(variance + bn.epsilon) * bn.gamma + bn.beta)
        torch.testing.assert_close(model(data, training=True), expected, rtol=1e-5, atol=1e-5)


def test_layers_that_are_called_twice_get_both_gradients():
    x = Input((9, 8, 4))
    conv, act = Conv2D(4, 3, padding="same", name="conv"), ReLU(name="act")
    model = Model(x, act(conv(act(conv(x)))))
    assert blocks_of(model) == [["conv", "act"]] * 2
    data = torch.randn(2, 9, 8, 4)
    y = model(data)
    y.square().sum().backward()
    gradient, conv.kernel.grad = conv.kernel.grad, None
    expected = act(conv(act(conv(data))))
    expected.square().sum().backward()
    torch.testing.assert_close([y, gradient], [expected, conv.kernel.grad], rtol=1e-5, atol=1e-4)


def test_a_tensor_that_is_an_output_too_is_not_swallowed():
    x = Input((9, 8, 3))
    h = Conv2D(4, 3, name="conv")(x)
    model = Model(x, [h, ReLU(name="act")(h)])
    data = torch.randn(2, 9, 8, 3)
    first, second = model(data)
    assert blocks_of(model) == []
    torch.testing.assert_close(first, model.get_layer("conv")(data))
    assert torch.equal(second, torch.relu(first)) and first.min() < 0


def test_a_tensor_that_is_read_twice_is_not_swallowed():
    x = Input((9, 8, 3))
    h = Conv2D(4, 3, name="conv")(x)
    model = Model(x, ReLU(name="act")(h) - h)
    data = torch.randn(2, 9, 8, 3)
    assert blocks_of(model) == []
    torch.testing.assert_close(model(data), torch.relu(-model.get_layer("conv")(data)))


def test_a_sum_of_three_or_with_itself_or_of_unequal_shapes_stays_a_sum():
    x = Input((4,))
    other = Input((1,))
    for make in (lambda h: [h, x, x], lambda h: [h, h], lambda h: [h, other]):
        model = Model([x, other], ReLU(name="act")(Add(name="add")(make(BatchNormalization(name="bn")(x)))))
        assert blocks_of(model) == []
        data = [torch.randn(3, 4), torch.randn(3, 1)]
        bn = model.get_layer("bn")(data[0], training=False)
        parts = [data[1] if t is other else data[0] if t is x else bn for t in make("bn")]
        with torch.no_grad():
            torch.testing.assert_close(model(data), torch.relu(sum(parts)))


@pytest.mark.parametrize(
    "replaced, by", [("act", torch.nn.Identity()), ("act", Activation("sigmoid")), ("bn", torch.nn.Identity())]
)
def test_a_replaced_layer_is_the_one_that_runs(replaced, by):
    model, _ = chain(bn=True, act="relu")
    disturbed(model)._modules[replaced] = by
    data = torch.randn(2, 9, 8, 3)
    with torch.no_grad():
        y = data
        for name in ("conv", "bn", "act"):
            y = model._modules[name](y)
        torch.testing.assert_close(model(data), y, rtol=1e-5, atol=1e-5)


def test_masks_pass_through_and_leave_masked_steps_out_of_the_statistics():
    x = Input((5, 3))
    model = Model(x, ReLU(name="act")(BatchNormalization(name="bn")(Masking(name="mask")(x))))
    assert blocks_of(model) == [["bn", "act"]]
    data = torch.randn(4, 5, 3)
    data[:, 3:] = 0.0
    twin = copy.deepcopy(model)
    y, expected = model(data, training=True), None
    h = twin.get_layer("mask")(data)
    expected = twin.get_layer("act")(twin.get_layer("bn")(h, training=True))
    torch.testing.assert_close(y, expected)
    assert get_mask(y).tolist() == get_mask(expected).tolist() == [[True] * 3 + [False] * 2] * 4
    torch.testing.assert_close(model.get_layer("bn").moving_mean, 0.01 * data[:, :3].mean((0, 1)))


def test_a_mask_of_an_embedding_reaches_the_end():
    x = Input((4,), dtype="int64")
    model = Model(x, ReLU()(BatchNormalization()(Embedding(5, 3, mask_zero=True)(x))))
    assert get_mask(model(torch.tensor([[1, 2, 0, 0]]))).tolist() == [[True, True, False, False]]


REFUSED = {
    "a renormalization": lambda x: ReLU()(BatchNormalization(renorm=True)(x)),
    "channels first": lambda x: ReLU()(Conv2D(4, 3, data_format="channels_first")(x)),
    "another axis": lambda x: ReLU()(BatchNormalization(axis=1)(x)),
    "an unknown activation": lambda x: Activation("gelu")(BatchNormalization()(x)),
    "a ReLU with a ceiling": lambda x: ReLU(max_value=1.0)(BatchNormalization()(x)),
    "a ReLU with a slope": lambda x: ReLU(negative_slope=0.5)(BatchNormalization()(x)),
    "a convolution that has an activation": lambda x: ReLU()(Conv2D(4, 3, activation="tanh")(x)),
    "pooling windows that overlap": lambda x: MaxPooling2D(3, strides=2)(Conv2D(4, 3)(x)),
    "pooling over the edge": lambda x: MaxPooling2D(2, padding="same")(Conv2D(4, 3)(x)),
    "pooling of an unknown activation": lambda x: MaxPooling2D(2)(Conv2D(4, 3, activation="gelu")(x)),
    "a convolution that pads itself": lambda x: Conv2D(4, 3, padding="same")(ZeroPadding2D(1)(x)),
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_block_is_left_as_it_is(make):
    x = Input((9, 8, 3))
    model = Model(x, make(x))
    assert blocks_of(model) == []
    assert_same(model)


GENERAL = {
    "dilation": lambda x: ReLU()(BatchNormalization()(Conv2D(4, 3, dilation_rate=2)(x))),
    "groups": lambda x: ReLU()(BatchNormalization()(Conv2D(6, 3, groups=3)(x))),
    "padding and dilation": lambda x: ReLU()(Conv2D(4, 3, dilation_rate=2)(ZeroPadding2D(2)(x))),
    "pooling and groups": lambda x: MaxPooling2D(2)(ReLU()(Conv2D(6, 3, groups=3)(x))),
    "an own activation and pooling": lambda x: MaxPooling2D(2)(Conv2D(4, 3, activation="tanh")(x)),
    "padding and an unknown activation": lambda x: Conv2D(4, 3, activation="gelu")(ZeroPadding2D(1)(x)),
    "no gamma and no beta": lambda x: ReLU()(BatchNormalization(scale=False, center=False)(Conv2D(4, 3)(x))),
    "one pixel with strides": lambda x: ReLU()(BatchNormalization()(Conv2D(4, 1, strides=2)(x))),
    "the last axis by its number": lambda x: ReLU()(BatchNormalization(axis=3)(x)),
}


@pytest.mark.parametrize("make", GENERAL.values(), ids=GENERAL.keys())
def test_blocks_of_unusual_layers_give_what_the_layers_give(make):
    x = Input((9, 8, 3))
    model = Model(x, make(x))
    assert len(blocks_of(model)) == 1
    assert_same(model)


def test_a_penalty_on_the_output_of_a_member_is_added():
    x = Input((4,))
    model = Model(x, ReLU()(BatchNormalization(activity_regularizer="l2", name="bn")(x)))
    model(torch.ones(2, 4))
    assert len(model.losses) == 1 and model.losses[0] > 0


def fitted():
    x = Input((9, 8, 3))
    y = ReLU(name="act")(BatchNormalization(momentum=0.5, name="bn")(Conv2D(4, 3, name="conv")(x)))
    model = Model(x, Dense(1)(y.mean(dim=(1, 2))))
    model.compile("sgd", "mse")
    return model, torch.randn(8, 9, 8, 3), torch.randn(8, 1)


def test_evaluation_after_training_sees_the_new_weights():
    model, data, targets = fitted()
    first = model.evaluate(data, targets, verbose=0)
    model.fit(data, targets, epochs=2, verbose=0)
    with torch.no_grad():
        h = torch.relu(model.get_layer("bn")(model.get_layer("conv")(data)))
        expected = (model.layers[-1](h.mean(dim=(1, 2))) - targets).square().mean()
    second = model.evaluate(data, targets, verbose=0)
    assert abs(second - float(expected)) < 1e-5 < abs(first - second)


@pytest.mark.parametrize(
    "name", ["conv.kernel", "conv.bias", "bn.gamma", "bn.beta", "bn.moving_mean", "bn.moving_variance"]
)
def test_a_weight_that_was_changed_in_place_is_seen_at_the_next_prediction(name):
    model, data, _ = fitted()
    before = model.predict(data, verbose=0)
    layer, weight = name.split(".")
    getattr(model.get_layer(layer), weight).data.add_(0.5)
    after = torch.from_numpy(model.predict(data, verbose=0))
    with torch.no_grad():
        h = torch.relu(model.get_layer("bn")(model.get_layer("conv")(data)))
        torch.testing.assert_close(after, model.layers[-1](h.mean(dim=(1, 2))), rtol=1e-5, atol=1e-5)
    assert abs(after.numpy() - before).max() > 1e-4


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("first, size", [(BatchNormalization, (8, 8, 5)), (Conv2D, (8, 8, 5)), (Conv2D, (2, 2, 3))])
def test_data_that_the_first_layer_cannot_take_is_refused_in_its_words(first, size, training):
    model = Sequential([first(4, 3, name="it") if first is Conv2D else first(name="it"), ReLU()])
    model(torch.randn(2, 8, 8, 3))
    with torch.no_grad(), pytest.raises(ShapeError, match=f"it': {first.__name__} cannot take this input"):
        model(torch.randn(2, *size), training=training)


def test_what_a_layer_would_convert_is_converted():
    model = Sequential([Conv2D(4, 3), ReLU()])
    model(torch.randn(2, 8, 8, 3))
    assert model(torch.randn(2, 8, 8, 3).double()).dtype is torch.float32
    x = Input((8, 8, 3))
    model = Model(x, ReLU()(BatchNormalization()(Conv2D(4, 3, dtype="float64")(x))))
    assert model(torch.randn(2, 8, 8, 3)).dtype is torch.float32
