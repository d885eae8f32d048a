"""A call builds once, converts what comes, resolves the mode, hands masks on, and says where an error happened."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from lamina.engine.layer import Layer
from lamina.engine.masking import get_mask, set_mask
from lamina.errors import DtypeError, GraphError, ShapeError
from lamina.layers import Activation, Dense, Embedding, Identity, Input, Lambda, Masking
from lamina.models import Model, Sequential


# ---------------------------------------------------------------------- building
class Counts(Layer):
    """Notes each build and the shape that it was given."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.__dict__["shapes"] = []

    def build(self, input_shape):
        self.shapes.append(input_shape)

    def call(self, x):
        return x if not isinstance(x, (list, dict)) else next(iter(x.values() if isinstance(x, dict) else x))


def test_a_layer_is_built_by_its_first_call_and_only_then():
    layer = Counts()
    assert not layer.built
    for size in (2, 3):
        layer(torch.ones(size, 4))
    assert layer.built and layer.shapes == [(2, 4)]


def test_a_symbolic_call_builds_with_unknown_sizes():
    layer = Counts()
    layer(Input((None, 4)))
    layer(torch.ones(2, 3, 4))
    assert layer.shapes == [(None, None, 4)]


def test_shapes_of_nests_come_as_nests():
    listed, named = Counts(), Counts()
    listed([torch.ones(2, 3), torch.ones(2, 4)])
    named({"a": torch.ones(2, 3), "b": torch.ones(2, 4)})
    assert listed.shapes == [[(2, 3), (2, 4)]]
    assert named.shapes == [{"a": (2, 3), "b": (2, 4)}]


def test_build_may_take_the_shape_of_every_argument():
    class Attends(Layer):
        def build(self, query_shape, value_shape, key_shape=None):
            self.__dict__["shapes"] = (query_shape, value_shape, key_shape)

        def call(self, query, value, key=None):
            return query + value

    layer = Attends()
    layer(torch.ones(2, 3), torch.ones(2, 1))
    assert layer.shapes == ((2, 3), (2, 1), None)
    layer = Attends()
    layer(torch.ones(2, 3), value=torch.ones(2, 1), key=torch.ones(2, 5))
    assert layer.shapes == ((2, 3), (2, 1), (2, 5))


def test_a_layer_built_by_hand_keeps_its_weights_when_called():
    layer = Dense(2)
    layer.build((None, 3))
    assert layer.built
    kernel = layer.kernel
    layer(torch.ones(1, 3))
    layer(Input((3,)))
    assert layer.kernel is kernel


def test_a_layer_may_build_the_layers_inside_by_hand():
    class Outer(Layer):
        def __init__(self):
            super().__init__()
            self.dense = Dense(2)

        def build(self, input_shape):
            self.dense.build(input_shape)
            self.__dict__["kernel_then"] = self.dense.kernel

        def call(self, x):
            return self.dense(x)

    layer = Outer()
    layer(torch.ones(1, 3))
    assert layer.dense.built and layer.kernel_then is layer.dense.kernel


def test_building_through_super_is_finished_by_the_outermost_class():
    class Wide(Dense):
        def build(self, input_shape):
            super().build(input_shape)
            self.extra = self.add_weight((1,), name="extra")

    layer = Wide(2)
    layer.build((None, 3))
    assert [name for name, _ in layer.named_parameters()] == ["kernel", "bias", "extra"]


def test_a_shape_that_does_not_fit_stops_the_build():
    layer = Dense(2)
    with pytest.raises(ShapeError, match="Dense cannot take this input") as caught:
        layer.build((3,))
    assert "at least 2 axes" in str(caught.value) and not layer.built


def test_what_is_no_tensor_is_refused_by_a_layer_that_needs_shapes():
    for value, text in ((None, "nothing"), ([[1.0, 2.0]], "of type list"), ("abc", "'abc' of type str")):
        with pytest.raises(DtypeError, match="Dense takes tensors") as caught:
            Dense(2)(value)
        assert text in str(caught.value) and "np.array(x)" in str(caught.value)


# ---------------------------------------------------------------------- arguments
def test_arrays_become_tensors_of_the_layers_dtype_where_its_weights_are():
    layer = Dense(2, kernel_initializer="ones")
    for array in (np.ones((2, 3)), np.ones((2, 3), "float32"), np.ones((2, 3), "int64"), np.ones((2, 3), "uint8")):
        y = layer(array)
        assert y.dtype is torch.float32 and y.tolist() == [[3.0, 3.0]] * 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_tensors_of_another_dtype_are_taken(dtype):
    layer, x = Dense(2, kernel_initializer="ones"), torch.ones(2, 3, dtype=dtype)
    for _ in range(2):  # the call that builds, and one after it
        assert layer(x).dtype is torch.float32


def test_a_layer_without_autocast_takes_tensors_as_they_are():
    class Same(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight((), "ones")

        def call(self, x):
            return x

    assert Same(autocast=False)(torch.ones(1, dtype=torch.float64)).dtype is torch.float64
    assert Same()(torch.ones(1, dtype=torch.float64)).dtype is torch.float32


def test_nests_are_converted_member_by_member():
    layer = Lambda(lambda x: x["a"] + x["b"][0])
    y = layer({"a": np.ones(2), "b": [np.full(2, 2.0)]})
    assert isinstance(y, torch.Tensor) and y.dtype is torch.float32 and y.tolist() == [3.0, 3.0]


class Weighted(Layer):
    """Takes a list, and has a weight."""

    def build(self, input_shape):
        self.scale = self.add_weight((), "ones")

    def call(self, x):
        return self.scale * x[0] + x[1]


def test_a_list_for_a_layer_with_weights_is_converted_too():
    layer, x = Weighted(), torch.ones(2, dtype=torch.float64)
    for _ in range(2):
        assert layer([x, x]).dtype is torch.float32


def test_arguments_may_be_given_by_name():
    layer = Dense(2, kernel_initializer="ones")
    assert layer(inputs=torch.ones(1, 3)).tolist() == [[3.0, 3.0]]
    assert layer(inputs=Input((3,))).shape == (None, 2)


def test_an_unknown_argument_is_a_type_error_that_names_the_layer():
    with pytest.raises(TypeError, match="unexpected keyword argument 'foo'") as caught:
        Dense(2, name="head")(torch.ones(1, 3), foo=1)
    assert "In layer 'head' (Dense)" in "".join(getattr(caught.value, "__notes__", caught.value.args))


# ---------------------------------------------------------------------- mode
class ByArgument(Layer):
    def call(self, x, training=None):
        return x + (10 if training else 0)


class ByArgumentFalse(Layer):
    def call(self, x, training=False):
        return x + (10 if training else 0)


class ByArgumentRequired(Layer):
    def call(self, x, *, training):
        return x + (10 if training else 0)


class ByFlag(Layer):
    def call(self, x):
        return x + (10 if self.training else 0)


class ByOddSelf(Layer):
    def call(this, x, training=None):
        return x + (10 if training else 0)


class ByModule(torch.nn.Module):
    def forward(self, x):
        return x + (10 if self.training else 0)


LEAVES = [ByArgument, ByArgumentFalse, ByArgumentRequired, ByFlag, ByOddSelf]


@pytest.mark.parametrize(("leaf", "mode", "asked"), [*itertools.product(LEAVES, (False, True), (None, False, True))])
def test_the_mode_is_the_arguments_and_else_the_layers_own(leaf, mode, asked):
    layer = leaf().train(mode)
    x = torch.zeros(1)
    wanted = 10.0 if (mode if asked is None else asked) else 0.0
    calls = [lambda: layer(x, training=asked)] if asked is not None else [lambda: layer(x)]
    if asked is not None and leaf not in (ByFlag, ByArgumentRequired):
        calls.append(lambda: layer(x, asked))
    for call in calls:
        assert call().item() == wanted
        assert layer.training is mode


class Outer(Layer):
    """One of each inside, called with what a test says."""

    def __init__(self, **inner):
        super().__init__()
        self.layers_inside = [leaf() for leaf in LEAVES]
        self.module = ByModule()
        self.inner = inner

    def call(self, x):
        ours = [layer(x, **self.inner) for layer in self.layers_inside]
        return torch.stack([*ours, self.module(x)])


class OuterWithArgument(Outer):
    def call(self, x, training=False):
        return super().call(x)


@pytest.mark.parametrize("outer", [Outer, OuterWithArgument])
@pytest.mark.parametrize(("mode", "asked"), [*itertools.product((False, True), (None, False, True))])
def test_an_explicit_mode_reaches_everything_inside_and_is_put_back(outer, mode, asked):
    layer, x = outer().train(mode), torch.zeros(1)
    y = layer(x) if asked is None else layer(x, training=asked)
    wanted = mode if asked is None else asked
    assert y.unique().tolist() == [10.0 if wanted else 0.0]
    assert {module.training for module in layer.modules()} == {mode}


@pytest.mark.parametrize(("asked", "inner"), [*itertools.product((None, False, True), (False, True))])
def test_an_inner_layers_own_argument_wins_over_the_enclosing_call(asked, inner):
    layer, x = Outer(training=inner), torch.zeros(1)
    y = layer(x) if asked is None else layer(x, training=asked)
    *ours, module = y.flatten().tolist()
    assert set(ours) == {10.0 if inner else 0.0}
    assert module == (10.0 if asked else 0.0)


def test_modes_that_differ_inside_are_put_back_each_to_its_own():
    layer = Outer()
    layer.layers_inside[1].train()
    layer.module.train()
    before = [module.training for module in layer.modules()]
    layer(torch.zeros(1), training=True)
    layer(torch.zeros(1), training=False)
    assert [module.training for module in layer.modules()] == before and sum(before) == 2


def test_modes_are_put_back_after_an_error():
    class Fails(Layer):
        def __init__(self):
            super().__init__()
            self.drop = torch.nn.Dropout(0.5)

        def call(self, x):
            raise KeyError("no")

    layer = Fails()
    with pytest.raises(KeyError):
        layer(torch.ones(1), training=True)
    assert not layer.training and not layer.drop.training


def test_torch_dropout_and_batch_norm_inside_follow_the_call():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.drop, self.norm = torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4)

        def call(self, x):
            return self.norm(self.drop(x))

    net, x = Net(), torch.randn(64, 4) + 3
    assert torch.equal(net(x), net(x)) and net.norm.num_batches_tracked == 0
    assert not torch.equal(net(x, training=True), net(x, training=True)) and net.norm.num_batches_tracked == 2
    net.train()
    assert abs(net(x).mean().item()) < 1e-5
    assert torch.equal(net(x, training=False), net(x, training=False)) and net.training


def test_a_fixed_mode_in_a_functional_model_stays():
    x = Input((3,))
    model = Model(x, [ByArgument()(x, training=True), ByArgument()(x)])
    for mode in (False, True):
        fixed, free = model(torch.zeros(1, 3), training=mode)
        assert fixed.unique().tolist() == [10.0] and free.unique().tolist() == [10.0 * mode]


# ---------------------------------------------------------------------- masks
STEPS = torch.tensor([[1, 2, 0, 0], [3, 0, 0, 0]])
MASK = STEPS != 0


class TakesMask(Layer):
    def call(self, x, mask=None):
        self.__dict__["found"] = mask
        return x * 1.0


def test_a_mask_rides_through_layers_that_support_it_and_into_those_that_take_it():
    takes = TakesMask()
    model = Sequential([Embedding(5, 3, mask_zero=True), Dense(2), Activation("relu"), Identity(), takes])
    y = model(STEPS)
    assert torch.equal(takes.found, MASK)
    assert get_mask(y) is None  # a layer that does not support masks drops it


def test_functional_and_subclassed_models_hand_masks_on_alike():
    embed, dense, takes = Embedding(5, 3, mask_zero=True), Dense(2), TakesMask()

    class Net(Model):
        def __init__(self):
            super().__init__()
            self.parts = [embed, dense, takes]

        def call(self, x):
            for part in self.parts:
                x = part(x)
            return x

    x = Input((4,), dtype="int64")
    for model in (Model(x, takes(dense(embed(x)))), Net()):
        takes.__dict__["found"] = None
        model(STEPS)
        assert torch.equal(takes.found, MASK)


def test_a_torch_function_between_two_layers_drops_the_mask():
    takes = TakesMask()
    x = Input((4,), dtype="int64")
    Model(x, takes(Embedding(5, 3, mask_zero=True)(x) * 2))(STEPS)
    assert takes.found is None


def test_an_explicit_mask_wins_by_name_and_by_place():
    takes, x = TakesMask(), set_mask(torch.ones(2, 4, 3), MASK)
    takes(x)
    assert torch.equal(takes.found, MASK)
    takes(x, mask=~MASK)
    assert torch.equal(takes.found, ~MASK)
    takes(x, ~MASK)
    assert torch.equal(takes.found, ~MASK)
    takes(x, mask=(~MASK).numpy())
    assert torch.equal(takes.found, ~MASK)


def test_an_explicit_mask_for_a_layer_that_takes_none_reaches_its_output_and_not_the_input():
    x = torch.ones(2, 4, 3)
    y = Dense(2)(x, mask=MASK)
    assert torch.equal(get_mask(y), MASK) and get_mask(x) is None
    takes = TakesMask()
    Sequential([Dense(2), takes])(x, mask=MASK)
    assert torch.equal(takes.found, MASK) and get_mask(x) is None
    assert Dense(2)(x, mask=None).shape == (2, 4, 2)


def test_a_layer_that_returns_its_input_does_not_mark_the_users_tensor():
    x = torch.ones(2, 4, 3)
    y = Lambda(lambda t: t, mask=lambda t, mask: MASK)(x)
    assert torch.equal(get_mask(y), MASK) and get_mask(x) is None


def test_masks_of_lists_go_member_by_member():
    class Joins(Layer):
        supports_masking = True

        def call(self, x, mask=None):
            self.__dict__["found"] = mask
            return x[0] + x[1]

        def compute_mask(self, inputs, previous_mask=None):
            return previous_mask[0]

    joins = Joins()
    a, b = set_mask(torch.ones(2, 4), MASK), torch.ones(2, 4)
    y = joins([a, b])
    assert joins.found[0] is MASK and joins.found[1] is None and get_mask(y) is MASK
    assert get_mask(joins([b, b])) is None and joins.found is None


def test_compute_mask_of_a_users_layer_is_asked_also_without_a_mask():
    class Starts(Layer):
        def call(self, x):
            return x + 1

        def compute_mask(self, inputs, previous_mask=None):
            return inputs > 0

    y = Starts()(torch.tensor([[0.0, 1.0]]))
    assert get_mask(y).tolist() == [[False, True]]


def test_a_cast_keeps_the_mask():
    x = set_mask(torch.ones(2, 4, 3, dtype=torch.float64), MASK)
    assert get_mask(Dense(2)(x)) is MASK


def test_masking_inside_a_model_inside_a_model():
    takes = TakesMask()
    inner = Sequential([Masking(), Dense(2)])
    x = Input((4, 3))
    Model(x, takes(inner(x)))(MASK[..., None] * torch.ones(2, 4, 3))
    assert torch.equal(takes.found, MASK)


# ---------------------------------------------------------------------- precision
def test_a_mixed_layer_computes_in_the_short_type_over_float32_weights():
    for name, kind in (("mixed_bfloat16", torch.bfloat16), ("mixed_float16", torch.float16)):
        layer = Dense(2, dtype=name)
        for dtype in (torch.float32, torch.float64, torch.int64, torch.bfloat16):
            assert layer(torch.ones(1, 3, dtype=dtype)).dtype is kind
        assert layer.kernel.dtype is torch.float32 and layer.compute_dtype == name.removeprefix("mixed_")
        assert layer(Input((3,))).dtype is kind


def test_a_float32_layer_inside_a_mixed_model_computes_in_float32():
    seen = []

    class Sees(Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], 2))

        def call(self, x):
            seen.append((x.dtype, (x @ self.kernel).dtype))
            return x @ self.kernel

    mixed = "mixed_bfloat16"
    x = Input((3,))
    h = Sees(dtype="float32")(Dense(4, dtype=mixed)(x))
    model = Model(x, Activation("softmax", dtype="float32")(Dense(4, dtype=mixed)(h)), dtype=mixed)
    seen.clear()
    y = model(torch.ones(1, 3))
    assert seen == [(torch.float32, torch.float32)] and y.dtype is torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_a_float64_model_takes_float32_data():
    x = Input((3,), dtype="float64")
    model = Model(x, Dense(2, dtype="float64")(x))
    assert model(torch.ones(1, 3)).dtype is torch.float64
    assert Sequential([Dense(2, dtype="float64")])(np.ones((1, 3), "float32")).dtype is torch.float64


def test_a_float64_input_meets_float32_layers():
    class Product(Layer):
        def build(self, input_shape):
            self.kernel = self.add_weight((input_shape[-1], 2))

        def call(self, x):
            return x @ self.kernel

    x = Input((3,), dtype="float64")
    y = Product()(x)
    assert y.dtype is torch.float32 and Model(x, y)(torch.ones(1, 3)).dtype is torch.float32


def test_whole_numbers_stay_whole_through_layers_that_only_arrange_them():
    x = Input((4,), dtype="int64")
    y = Identity()(Activation("linear")(x))
    assert y.dtype is torch.int64
    assert Model(x, torch.nn.functional.one_hot(y, 5))(STEPS).shape == (2, 4, 5)


# ---------------------------------------------------------------------- errors
def test_an_error_deep_inside_names_every_layer_on_the_way():
    class Block(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.dense = Dense(2, name="inner")

        def call(self, x):
            return self.dense(x)

    class Net(Model):
        def __init__(self):
            super().__init__(name="net")
            self.block = Block(name="block")

        def call(self, x):
            return self.block(x)

    net = Net()
    net(torch.ones(1, 3))
    with pytest.raises(ShapeError, match="Layer 'net/block/inner': Dense cannot take this input") as caught:
        net(torch.ones(1, 4))
    assert "3 on axis -1" in str(caught.value) and "shape (1, 4)" in str(caught.value)
    x = Input((4,))
    with pytest.raises(ShapeError, match="Layer 'net/block/inner': Dense cannot take this input"):
        net(x)


@pytest.mark.parametrize("error", [KeyError("boo"), RuntimeError("boo"), ValueError("boo"), StopIteration("boo")])
def test_a_foreign_error_keeps_its_type_and_gets_a_note(error):
    class Fails(Layer):
        def call(self, x):
            raise error

    for model in (Fails(name="fails"), Sequential([Fails(name="fails")], name="net")):
        with pytest.raises((type(error), GraphError)) as caught:
            model(torch.ones(2, 3))
        if isinstance(caught.value, GraphError):  # found while the model was built, without data
            assert "Layer 'net/fails': Fails cannot be called on these shapes" in str(caught.value)
        else:
            assert caught.value is error
            text = "".join(getattr(error, "__notes__", map(str, error.args)))
            assert "In layer 'fails' (Fails), called on (2, 3)." in text


def test_an_error_under_a_symbolic_call_says_what_came():
    class Fails(Layer):
        def call(self, x):
            return x @ torch.ones(5, 2)

    with pytest.raises(GraphError, match="Layer 'fails': Fails cannot be called on these shapes: .*None") as caught:
        Fails(name="fails")(Input((3,), name="x"))
    assert "shape=(None, 3), dtype=float32, name=x" in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_the_cause_of_a_translated_error_is_torchs_own():
    layer = Dense(2)
    layer(torch.ones(1, 3))
    with pytest.raises(ShapeError) as caught:
        layer(torch.ones(1, 4))
    assert isinstance(caught.value.__cause__, RuntimeError)


# ---------------------------------------------------------------------- torch's own ways
def test_hooks_run_around_a_layer():
    layer, seen = Dense(2), []
    layer(torch.ones(1, 3))
    layer.register_forward_pre_hook(lambda module, args: seen.append("before"))
    layer.register_forward_hook(lambda module, args, output: seen.append("after"))
    layer.register_full_backward_hook(lambda module, into, out: seen.append(tuple(into[0].shape)))
    layer(torch.ones(1, 3, requires_grad=True)).sum().backward()
    assert seen == ["before", "after", (1, 3)]


def test_a_hook_may_replace_the_output():
    x = Input((3,))
    model = Model(x, Dense(2, name="d")(x) + 1)
    model.get_layer("d").register_forward_hook(lambda module, args, output: output * 0)
    assert model(torch.ones(1, 3)).tolist() == [[1.0, 1.0]]
