"""What a layer is: its arguments, its name, its description, its shapes, and the copies that can be made of it."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch.nn.utils import prune

import lamina
from lamina import dtypes, naming, regularizers
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, GraphError, NotBuiltError
from lamina.layers import Activation, Dense, Embedding, Identity, Input, Lambda
from lamina.models import Model, Sequential


class Affine(Layer):
    """A user's layer with weights and layers of its own."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = Dense(units)

    def build(self, input_shape):
        self.scale = self.add_weight((self.units,), "ones", name="scale")
        self.late = Dense(self.units)

    def call(self, x):
        return self.late(self.inner(x)) * self.scale


# ---------------------------------------------------------------------- arguments and names
def test_a_fresh_layer_is_unbuilt_unfrozen_and_in_inference_mode():
    layer = Dense(2)
    assert (layer.built, layer.trainable, layer.training, layer.autocast) == (False, True, False, True)
    assert (layer.dtype, layer.variable_dtype, layer.compute_dtype) == ("float32",) * 3
    assert layer.weights == [] and layer.losses == [] and layer.nodes == []


def test_layers_are_numbered_by_class():
    names = [layer.name for layer in (Dense(1), Activation("relu"), Dense(1), Affine(1), Dense(1, name="mine"))]
    assert names == ["dense", "activation", "dense_1", "affine", "mine"]
    assert Affine(1).inner.name == "dense_3"


@pytest.mark.parametrize("name", ["", "a/b", 3, ["a"]])
def test_what_cannot_be_a_name_is_refused(name):
    with pytest.raises(ArgumentError, match="This cannot name a layer"):
        Dense(1, name=name)


def test_an_unknown_argument_is_refused_with_the_likely_one():
    with pytest.raises(ArgumentError, match="Dense has no argument 'activaton'") as caught:
        Dense(2, activaton="relu")
    assert "did you mean 'activation'?" in str(caught.value)
    with pytest.raises(ArgumentError, match="Affine has no argument 'zzz'") as caught:
        Affine(2, zzz=1)
    assert "leave it out" in str(caught.value) and "units, name" in str(caught.value)


def test_a_layer_without_call_says_so():
    with pytest.raises(NotImplementedError, match=r"Bare does not define call\(\)"):
        type("Bare", (Layer,), {})()(torch.ones(1))


@pytest.mark.parametrize(("given", "kept"), [((4,), (None, 4)), ([None, 3], (None, None, 3)), (5, (None, 5))])
def test_the_shape_of_the_input_may_be_an_argument(given, kept):
    assert Dense(1, input_shape=given)._input_shape == kept
    assert Dense(1, input_dim=7)._input_shape == (None, 7)
    assert Dense(1)._input_shape is None


def test_a_policy_comes_from_the_argument_or_from_the_process():
    assert Dense(1, dtype="float64").dtype == "float64"
    assert Dense(1, dtype=torch.bfloat16).compute_dtype == "bfloat16"
    assert Dense(1, dtype=np.float64).dtype == "float64"
    dtypes.set_global_policy("mixed_bfloat16")
    layer = Dense(1)
    assert (layer.dtype, layer.compute_dtype, layer.dtype_policy.name) == ("float32", "bfloat16", "mixed_bfloat16")
    dtypes.set_global_policy(None)
    lamina.config.set_floatx("float64")
    assert Dense(1).dtype == "float64"
    assert Input((2,)).dtype is torch.float64


def test_a_layer_of_float64_computes_and_keeps_its_weights_in_it():
    layer = Dense(2, dtype="float64")
    assert layer(np.ones((1, 3), "float32")).dtype is torch.float64
    assert layer.kernel.dtype is layer.bias.dtype is torch.float64


# ---------------------------------------------------------------------- counting
def test_count_params_needs_weights_that_are_there():
    layer = Dense(3)
    with pytest.raises(NotBuiltError, match="Dense 'dense' is not built, so its weights cannot be counted") as caught:
        layer.count_params()
    assert "layer.build((None, ...))" in str(caught.value)
    layer.build((None, 2))
    assert layer.count_params() == 9
    assert Activation("relu").count_params() == 0


# ---------------------------------------------------------------------- shapes without data
def test_an_output_shape_is_found_by_a_run_without_memory():
    class Pooled(Layer):
        def call(self, x):
            return torch.cat([x.mean(dim=1), x.amax(dim=1)], dim=-1), x.flatten(1)

    layer = Pooled()
    assert layer.compute_output_shape((None, 5, 3)) == ((None, 6), (None, 15))
    assert layer.compute_output_shape((2, None, 3)) == ((2, 6), (2, None))
    assert Lambda(lambda x: x["a"] @ x["b"]).compute_output_shape({"a": (None, 2, 3), "b": (None, 3, 4)}) == (
        None,
        2,
        4,
    )
    assert Lambda(lambda x: x[0] + x[1]).compute_output_shape([(None, 3), (None, 1)]) == (None, 3)


def test_asking_an_unbuilt_layer_for_its_output_shape_leaves_no_trace():
    layer = Affine(4)
    before = torch.get_rng_state(), naming.auto_name("dense")
    assert layer.compute_output_shape((None, 3)) == (None, 4)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (before[1], naming.auto_name("dense")) == ("dense_1", "dense_2")
    assert not layer.built and not layer.inner.built and layer.weights == [] and not hasattr(layer, "late")


def test_a_layer_of_whole_numbers_is_asked_with_whole_numbers():
    class Table(Layer):
        def build(self, input_shape):
            self.table = self.add_weight((10, 4))

        def call(self, x):
            return torch.nn.functional.embedding(x, self.table)

    assert Table().compute_output_shape((None, 7)) == (None, 7, 4)


def test_a_stated_output_shape_is_taken_at_its_word_where_call_cannot_be_run():
    class Opaque(Layer):
        def call(self, x):
            return torch.from_numpy(np.asarray(x.detach())[:, :2])

        def compute_output_shape(self, input_shape):
            return (input_shape[0], 2)

    x = Input((5,))
    y = Opaque()(x)
    assert y.shape == (None, 2) and y.dtype is torch.float32
    assert Opaque()(Input((5,), dtype="int64")).shape == (None, 2)
    assert Model(x, y)(torch.ones(3, 5)).shape == (3, 2)


def test_an_abstract_run_draws_no_random_numbers_and_changes_no_buffers():
    class Noisy(Layer):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(3)

        def call(self, x):
            return self.norm(torch.nn.functional.dropout(x + torch.randn_like(x)))

    layer = Noisy().train()
    state, mean = torch.get_rng_state(), layer.norm.running_mean.clone()
    layer.compute_output_shape((None, 3))
    Model(x := Input((3,)), layer(x))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layer.norm.running_mean, mean) and layer.norm.num_batches_tracked == 0


# ---------------------------------------------------------------------- place in a graph
def test_input_and_output_are_those_of_the_only_call():
    layer, x = Dense(2), Input((3,))
    with pytest.raises(GraphError, match="Dense 'dense' has no single output") as caught:
        _ = layer.output
    assert "call it on an Input first" in str(caught.value)
    y = layer(x)
    assert layer.output is y and layer.input is x
    layer(x)
    with pytest.raises(GraphError, match="Dense 'dense' has no single input") as caught:
        _ = layer.input
    assert "2 calls" in str(caught.value)


# ---------------------------------------------------------------------- configs
def test_a_config_makes_an_equal_layer():
    layer = Dense(3, "relu", use_bias=False, kernel_regularizer=regularizers.L1(0.1), name="d", trainable=False)
    layer.activity_regularizer = regularizers.get("l2")
    made = Dense.from_config(layer.get_config())
    assert made.get_config() == layer.get_config()
    assert (made.name, made.units, made.use_bias, made.trainable) == ("d", 3, False, False)
    assert made.kernel_regularizer.l1 == pytest.approx(0.1) and made.activity_regularizer.l2 == pytest.approx(0.01)
    assert not made.built


def test_a_users_layer_with_keyword_arguments_goes_round():
    layer = Affine(3, name="mine", dtype="float64", trainable=False)
    config = layer.get_config()
    assert config == {"name": "mine", "trainable": False, "dtype": "float64", "units": 3}
    made = Affine.from_config(config)
    assert (made.name, made.dtype, made.trainable, made.units) == ("mine", "float64", False, 3)


def test_a_users_layer_that_takes_nothing_of_its_own_accord_goes_round_too():
    class Power(Layer):
        def __init__(this, exponent, *, scale=1.0):
            super().__init__()
            this.p = exponent  # under another name

        def call(self, x):
            return x**self.p

    layer = Power(3, scale=2.0)
    config = layer.get_config()
    assert config == {"name": "power", "trainable": True, "dtype": "float32", "exponent": 3, "scale": 2.0}
    made = Power.from_config({**config, "name": "other", "trainable": False, "dtype": "mixed_bfloat16"})
    assert (made.name, made.trainable, made.p, made.compute_dtype) == ("other", False, 3, "bfloat16")
    with pytest.raises(ArgumentError, match="This cannot name a layer"):
        Power.from_config({**config, "name": "a/b"})


def test_a_layer_among_the_arguments_is_made_again():
    class Twice(Layer):
        def __init__(self, layer, others=(), **kwargs):
            super().__init__(**kwargs)
            self.layer = layer

        def call(self, x):
            return self.layer(self.layer(x))

    made = Twice.from_config(Twice(Dense(3, name="inside"), [Dense(1)]).get_config())
    assert isinstance(made.layer, Dense) and made.layer.name == "inside" and made.layer.units == 3


def test_a_users_own_get_config_is_what_counts():
    class Own(Layer):
        def __init__(self, size, **kwargs):
            super().__init__(**kwargs)
            self.size = size

        def call(self, x):
            return x

        def get_config(self):
            return {**super().get_config(), "size": self.size * 2}

    assert Own.from_config(Own(2).get_config()).size == 4


# ---------------------------------------------------------------------- copies and casts
def built():
    layer = Affine(3, name="block")
    layer(torch.ones(1, 2))
    return layer


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "torch.save": lambda layer: saved_and_loaded(layer),
}


def saved_and_loaded(layer):
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_computes_the_same_with_weights_of_its_own(way):
    layer, x = built(), torch.randn(4, 2)
    layer(Input((2,)))
    other = COPIES[way](layer)
    assert torch.equal(other(x), layer(x))
    assert other.name == "block" and other.built and other.nodes == []
    assert not {id(p) for p in layer.parameters()} & {id(p) for p in other.parameters()}
    assert other.late.kernel.stride() == layer.late.kernel.stride() == (1, 3)
    assert [n for n, _ in other.named_parameters()] == [n for n, _ in layer.named_parameters()]


def test_an_unbuilt_layer_can_be_copied_and_built_apart():
    layer = Affine(3)
    other = copy.deepcopy(layer)
    other(torch.ones(1, 5))
    assert other.built and not layer.built


def test_a_state_dict_goes_into_an_equal_layer_strictly():
    first, second = built(), built()
    keys = ["scale", "inner.kernel", "inner.bias", "late.kernel", "late.bias"]
    assert list(first.state_dict()) == keys
    second.load_state_dict(first.state_dict(), strict=True)
    x = torch.randn(2, 2)
    assert torch.equal(second(x), first(x))
    with pytest.raises(RuntimeError, match="Missing key.*scale"):
        second.load_state_dict({key: first.state_dict()[key] for key in keys[1:]}, strict=True)


@pytest.mark.parametrize("assign", [False, True])
def test_loading_weights_of_another_dtype(assign):
    layer = Dense(2)
    layer.build((None, 3))
    layer.load_state_dict({key: value.double() for key, value in layer.state_dict().items()}, assign=assign)
    assert layer(torch.ones(1, 3)).dtype is (torch.float64 if assign else torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_cast_layer_takes_floats_of_any_kind(dtype):
    layer = built().to(dtype)
    for given in (torch.float32, torch.float64, dtype):
        assert layer(torch.ones(1, 2, dtype=given)).dtype is dtype


def test_a_layer_on_meta_gives_shapes_and_comes_back_empty():
    layer = built()
    state = layer.state_dict()
    ghost = copy.deepcopy(layer).to("meta")
    y = ghost(torch.ones(4, 2, device="meta"))
    assert y.shape == (4, 3) and y.is_meta and ghost.late.kernel.stride() == (1, 3)
    ghost.to_empty(device="cpu").load_state_dict(state)
    x = torch.randn(4, 2)
    assert torch.equal(ghost(x), layer(x))


def test_a_layer_says_what_it_is_in_torchs_printout():
    text = repr(Sequential([Input((3,)), Dense(2, name="d")], name="s"))
    assert "(d): Dense(name=d, built=True)" in text


# ---------------------------------------------------------------------- torch's tools
def test_a_parametrized_weight_is_the_one_that_computes():
    class Symmetric(torch.nn.Module):
        def forward(self, w):
            return w.triu() + w.triu(1).mT

    layer = Dense(3)
    layer.build((None, 3))
    torch.nn.utils.parametrize.register_parametrization(layer, "kernel", Symmetric())
    x = torch.randn(2, 3)
    torch.testing.assert_close(layer(x), x @ layer.kernel)
    assert torch.equal(layer.kernel, layer.kernel.mT) and isinstance(layer, Dense)
    assert [name for name, _ in layer.named_parameters()] == ["bias", "parametrizations.kernel.original"]
    copied = copy.deepcopy(layer)
    assert torch.equal(copied(x), layer(x))


def test_a_pruned_weight_stays_pruned():
    layer = Dense(4)
    layer.build((None, 3))
    prune.ln_structured(layer, "kernel", amount=0.5, n=2, dim=1)
    layer(torch.ones(1, 3)).sum().backward()
    assert (layer.kernel == 0).all(dim=0).sum() == 2
    prune.remove(layer, "kernel")
    assert [name for name, _ in layer.named_parameters()] == ["bias", "kernel"]
    assert (layer(torch.ones(1, 3)) == layer.bias).sum() == 2


def test_weights_may_be_swapped_differentiated_and_mapped_over():
    layer, x = built(), torch.randn(5, 2)
    weights = dict(layer.named_parameters())

    def loss(weights):
        return torch.func.functional_call(layer, weights, (x,)).square().sum()

    gradients = torch.func.grad(loss)(weights)
    loss(weights).backward()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)
    many = {name: torch.stack([weight, 2 * weight]) for name, weight in weights.items()}
    both = torch.func.vmap(loss)(many)
    torch.testing.assert_close(both[0], loss(weights).detach(), check_stride=False)
    assert torch.func.vmap(layer)(torch.randn(3, 4, 2)).shape == (3, 4, 3)


def test_identity_gives_back_the_very_tensor():
    x = torch.ones(2)
    assert Identity()(x) is x
    assert Embedding(3, 2).trainable
