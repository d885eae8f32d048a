"""Models of every form in `.keras` files and JSON: ours in real Keras, Keras's here, with the same predictions."""

from __future__ import annotations

import json
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import lamina
from lamina import layers as L
from lamina.engine import nest
from lamina.models import Functional, Model, Sequential, model_from_json
from lamina.saving import load_model
from lamina.saving.operations.lookup import known_operations

K = keras.layers
rng = np.random.default_rng(0)
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def spread(model: Any) -> None:
    """Weights between 0.1 and 0.9, no two of them alike, and the same in either library."""
    values = [
        (0.5 + 0.4 * np.sin(1.0 + np.arange(w.size) * (place + 1))).reshape(w.shape).astype(w.dtype)
        for place, w in enumerate(model.get_weights())
    ]
    model.set_weights(values)


def ours(model: Any, data: Any) -> list[np.ndarray]:
    given = nest.map_nest(torch.from_numpy, data)
    return [t.detach().float().numpy() for t in in_order(model(given))]


def in_order(found: Any) -> list[Any]:
    """Outputs one by one, those of a dict by their keys."""
    return [found[key] for key in sorted(found)] if isinstance(found, dict) else nest.flatten(found)


def theirs(model: Any, data: Any) -> list[np.ndarray]:
    given = nest.map_nest(keras.ops.convert_to_tensor, data)
    return [keras.ops.convert_to_numpy(keras.ops.cast(t, "float32")) for t in in_order(model(given))]


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray], **tolerance: float) -> None:
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, **(tolerance or CLOSE))


def numbers(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype("float32")


def there_and_back(model: Any, data: Any, path: Any, **tolerance: float) -> tuple[Any, Any]:
    """A model of ours in Keras, and what Keras writes of it here."""
    wanted = ours(model, data)
    model.save(path / "ours.keras")
    assert_equal(ours(load_model(path / "ours.keras"), data), wanted, **tolerance)
    other = keras.models.load_model(path / "ours.keras")
    assert_equal(theirs(other, data), wanted, **tolerance)
    other.save(path / "theirs.keras")
    again = load_model(path / "theirs.keras")
    assert_equal(ours(again, data), wanted, **tolerance)
    return other, again


def from_keras(model: Any, data: Any, path: Any, back: bool = True, **tolerance: float) -> Any:
    """A model of Keras's here, and what we write of it in Keras."""
    spread(model)
    wanted = theirs(model, data)
    model.save(path / "theirs.keras")
    mine = load_model(path / "theirs.keras")
    assert_equal(ours(mine, data), wanted, **tolerance)
    assert [tuple(w.shape) for w in mine.weights] == [tuple(w.shape) for w in model.weights]
    if not back:
        return mine
    mine.save(path / "ours.keras")
    assert_equal(theirs(keras.models.load_model(path / "ours.keras"), data), wanted, **tolerance)
    return mine


# ---------------------------------------------------------------------- forms of functional models
def shared_and_nested(library: Any) -> Any:
    """A layer called three times, a model called twice, one inside another, a Sequential among them."""
    layers = library.layers
    i = library.Input((4,), name="i")
    inner = library.Model(i, layers.Dense(4, "tanh", name="d")(i), name="inner")
    row = library.Sequential([layers.Dense(4, name="r")], name="row")
    j = library.Input((4,), name="j")
    outer = library.Model(j, inner(row(inner(j))), name="outer")
    x = library.Input((4,), name="x")
    shared = layers.Dense(4, name="shared")
    h = shared(shared(x))
    k = library.Input((4,), name="k")
    other = library.Model(k, layers.Dense(4, "tanh", name="t")(k), name="other")
    return library.Model(x, [outer(other(h)), other(shared(h))], name="whole")


def several_inputs(library: Any) -> Any:
    layers = library.layers
    a, b = library.Input((4,), name="a"), library.Input((3,), name="b")
    h = layers.Concatenate(name="join")([layers.Dense(4, name="da")(a), b])
    return library.Model([a, b], [h, layers.Dense(2, name="out")(h)])


def dicts(library: Any) -> Any:
    layers = library.layers
    a, b = library.Input((4,), name="a"), library.Input((3,), name="b")
    h = layers.Dense(3, name="da")(a)
    return library.Model({"a": a, "b": b}, {"sum": layers.Add(name="sum")([h, b]), "b": layers.Dense(1, name="q")(b)})


def heads(library: Any) -> Any:
    """Outputs alike but for their names, in a dict whose keys are not in order."""
    x = library.Input((4,), name="x")
    h = library.layers.Dense(4, "tanh", name="h")(x)
    return library.Model(x, {name: library.layers.Dense(2, name=f"to_{name}")(h) for name in ("z", "a", "m")})


def masked(library: Any) -> Any:
    """A mask that travels from an Embedding through recurrent layers."""
    layers = library.layers
    x = library.Input((6,), dtype="int32", name="x")
    h = layers.Embedding(9, 4, mask_zero=True, name="e")(x)
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True), name="b")(h)
    return library.Model(x, layers.Dense(2, name="o")(layers.GRU(3, name="g")(h)))


def states_and_arguments(library: Any) -> Any:
    """Several arguments, several outputs, keyword arguments."""
    layers = library.layers
    x = library.Input((5, 3), name="x")
    y, h, c = layers.LSTM(4, return_sequences=True, return_state=True, name="first")(x)
    z = layers.LSTM(4, name="second")(y, initial_state=[h, c])
    return library.Model(x, [z, layers.Dropout(0.5, name="drop")(h, training=False)])


def frozen(library: Any) -> Any:
    layers = library.layers
    x = library.Input((4,), name="x")
    body = library.Sequential([library.Input((4,)), layers.Dense(4), layers.BatchNormalization()], name="body")
    body.trainable = False
    return library.Model(x, layers.Dense(2, name="head")(body(x)))


def cells(library: Any) -> Any:
    layers = library.layers
    x = library.Input((5, 3), name="x")
    stack = layers.StackedRNNCells([layers.GRUCell(3, reset_after=False), layers.LSTMCell(2), layers.SimpleRNNCell(4)])
    y = layers.RNN(stack, return_sequences=True, name="stack")(x)
    y = layers.TimeDistributed(layers.Dense(3, "relu"), name="each")(y)
    return library.Model(x, layers.RNN(layers.LSTMCell(2), go_backwards=True, name="alone")(y))


FORMS: dict[str, tuple[Any, Any]] = {
    "shared and nested": (shared_and_nested, numbers(3, 4)),
    "several inputs": (several_inputs, [numbers(3, 4), numbers(3, 3)]),
    "dicts": (dicts, {"a": numbers(3, 4), "b": numbers(3, 3)}),
    "heads": (heads, numbers(3, 4)),
    "masks": (masked, rng.integers(0, 4, (3, 6)).astype("int32")),
    "states and arguments": (states_and_arguments, numbers(3, 5, 3)),
    "frozen": (frozen, numbers(3, 4)),
    "cells": (cells, numbers(3, 5, 3)),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_functional_model(form, tmp_path):
    make, data = FORMS[form]
    model = make(lamina)
    spread(model)
    other, again = there_and_back(model, data, tmp_path)
    assert len(other.trainable_weights) == len(model.trainable_weights) == len(again.trainable_weights)
    mine = from_keras(make(keras), data, tmp_path)
    names, wanted = ([layer.name for layer in m.layers] for m in (mine, make(keras)))
    assert names == wanted or (form in ("dicts", "heads") and sorted(names) == sorted(wanted))
    assert len(mine.trainable_weights) == len(model.trainable_weights)


def test_a_layer_in_two_models_stays_one(tmp_path):
    def twice(library: Any) -> Any:
        shared = library.layers.Dense(4, name="shared")
        i, x = library.Input((4,), name="i"), library.Input((4,), name="x")
        inner = library.Model(i, shared(i), name="inner")
        return library.Model(x, inner(shared(x)), name="outer")

    data = numbers(2, 4)
    for library in (lamina, keras):
        model = twice(library)
        spread(model)
        wanted = (ours if library is lamina else theirs)(model, data)
        model.save(tmp_path / "m.keras")
        again = load_model(tmp_path / "m.keras")
        assert_equal(ours(again, data), wanted)
        assert len(again.weights) == 2
        with pytest.raises(ValueError, match="is not connected to `inputs`"):  # Keras cannot read its own file either
            keras.models.load_model(tmp_path / "m.keras")


# ---------------------------------------------------------------------- operations
OURS: dict[str, Any] = {
    "arithmetic": lambda x: -(x * 2 + 1) / (x**2 + 3) - 1,
    "from the right": lambda x: 2 - x / (1 + x * x),
    "floor and remainder": lambda x: (x // 0.5) + (x % 0.5),
    "index": lambda x: x[:, ::2, None, 1:],
    "one index": lambda x: x[:, 1],
    "first of batch": lambda x: x[..., -1],
    "relu": lambda x: torch.relu(x) + F.relu(x - 1),
    "activations": lambda x: F.gelu(x) + F.silu(x) + F.elu(x, 0.5) + F.leaky_relu(x, 0.1) + F.softplus(x),
    "more activations": lambda x: torch.sigmoid(x) + torch.tanh(x) + F.softsign(x) + F.hardsigmoid(x) + F.selu(x),
    "softmax": lambda x: torch.softmax(x, -1) + F.log_softmax(x, dim=1),
    "concatenate": lambda x: torch.cat([x, x * 2], dim=1),
    "stack": lambda x: torch.stack([x, x + 1], dim=2),
    "reshape": lambda x: x.reshape(-1, 2, 12),
    "view": lambda x: x.view(-1, 24),
    "flatten": lambda x: torch.flatten(x, 1),
    "transpose": lambda x: x.permute(0, 2, 1) + x.transpose(1, 2),
    "movedim": lambda x: torch.movedim(x, 1, 2),
    "squeeze": lambda x: x[:, :1].squeeze(1).unsqueeze(-1),
    "mean": lambda x: x.mean(dim=1) + x.sum(2).mean(1, keepdim=True),
    "sum of all": lambda x: x * x.sum(),
    "max": lambda x: torch.amax(x, dim=(1, 2), keepdim=True) - x.amin(dim=1, keepdim=True),
    "maximum": lambda x: torch.maximum(x, -x) + torch.minimum(x, x * 2),
    "variance": lambda x: x.var(dim=1, correction=0) + torch.std(x, 1, correction=0),
    "matmul": lambda x: x @ x.transpose(1, 2),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
    "exp and log": lambda x: torch.log1p(torch.exp(x)) + x.abs().sqrt() + torch.rsqrt(x.square() + 1),
    "trigonometry": lambda x: torch.sin(x) + x.cos() + torch.atan2(x, x + 5),
    "clamp": lambda x: x.clamp(-0.5, 0.5) + torch.clamp(x, min=0.1) + x.clamp(max=0.2),
    "where": lambda x: torch.where(x > 0, x, 0.5),
    "comparison": lambda x: ((x >= 0) & (x < 1)).float(),
    "casts": lambda x: x.to(torch.float64).to(dtype=torch.float32) + x.int().float(),
    "pad": lambda x: F.pad(x, (1, 2), value=2.0),
    "split": lambda x: list(torch.split(x, 2, dim=1)),
    "chunk": lambda x: torch.cat(list(reversed(torch.chunk(x, 2, dim=2))), 2),
    "unbind": lambda x: torch.unbind(x, 1)[2],
    "flip and roll": lambda x: torch.flip(x, (1,)) + torch.roll(x, 1, 2),
    "repeat": lambda x: torch.repeat_interleave(x, 2, dim=1),
    "cumsum": lambda x: torch.cumsum(x, 1),
    "logsumexp": lambda x: torch.logsumexp(x, 1),
    "topk": lambda x: torch.topk(x, 2).values,
    "argmax": lambda x: torch.argmax(x, 2).float(),
    "constant": lambda x: x * torch.arange(6.0) + torch.tensor([1.0]),
    "erf and round": lambda x: torch.erf(x) + torch.round(x) + torch.floor(x) + torch.sign(x),
    "norm": lambda x: x / torch.linalg.norm(x, dim=-1, keepdim=True),
    "tensordot": lambda x: torch.tensordot(x, torch.ones(6, 3), 1),
}


@pytest.mark.parametrize("name", OURS)
def test_an_operation_of_torch_is_one_of_keras(name, tmp_path):
    x = lamina.Input((4, 6), name="x")
    model = Model(x, OURS[name](L.Dense(6, name="d")(x)))
    other, _ = there_and_back(model, numbers(3, 4, 6), tmp_path)
    assert isinstance(other, keras.models.Model)


THEIRS: dict[str, Any] = {
    "Add": lambda x, o: x + 1.5 + x, "GetItem": lambda x, o: x[:, 1:, ::2], "Relu": lambda x, o: o.relu(x),
    "Maximum": lambda x, o: o.maximum(x, 0.2) + o.minimum(0.4, x), "Divide": lambda x, o: o.divide(x, 2.0),
    "Mean": lambda x, o: o.mean(x, axis=[1, 2], keepdims=True), "Sum": lambda x, o: o.sum(x) + x,
    "Max": lambda x, o: o.max(x, axis=1), "Var": lambda x, o: o.var(x, axis=-1), "Std": lambda x, o: o.std(x, axis=1),
    "Reshape": lambda x, o: o.reshape(x, (-1, 6, 4)), "Transpose": lambda x, o: o.transpose(x, (0, 2, 1)),
    "Concatenate": lambda x, o: o.concatenate([x, x], axis=-1), "Stack": lambda x, o: o.stack([x, x], axis=1),
    "Split": lambda x, o: o.split(x, 2, axis=1)[1], "ExpandDims": lambda x, o: o.expand_dims(x, 1),
    "Squeeze": lambda x, o: o.squeeze(x[:, :1], axis=1), "Matmul": lambda x, o: o.matmul(x, o.transpose(x, (0, 2, 1))),
    "Softmax": lambda x, o: o.softmax(x, axis=1), "Gelu": lambda x, o: o.gelu(x) + o.gelu(x, approximate=False),
    "LeakyRelu": lambda x, o: o.leaky_relu(x, 0.3) + o.elu(x, 0.5) + o.celu(x) + o.hard_tanh(x),
    "Silu": lambda x, o: o.silu(x) + o.softsign(x) + o.hard_sigmoid(x) + o.log_sigmoid(x) + o.squareplus(x),
    "Exp": lambda x, o: o.exp(x) + o.log(o.abs(x) + 1) + o.sqrt(o.square(x)) + o.rsqrt(o.square(x) + 1),
    "Sin": lambda x, o: o.sin(x) + o.arctan2(x, x + 4) + o.expm1(x) + o.sign(x) + o.floor(x),
    "Clip": lambda x, o: o.clip(x, -0.3, 0.3), "Where": lambda x, o: o.where(x > 0, x, o.zeros_like(x)),
    "Cast": lambda x, o: o.cast(o.cast(x, "int32"), "float32"), "Pad": lambda x, o: o.pad(x, [[0, 0], [1, 2], [0, 1]]),
    "Flip": lambda x, o: o.flip(x, axis=1), "Roll": lambda x, o: o.roll(x, 2, axis=1),
    "Repeat": lambda x, o: o.repeat(x, 2, axis=1), "Tile": lambda x, o: o.tile(x, [1, 2, 1]),
    "Swapaxes": lambda x, o: o.swapaxes(x, 1, 2), "Moveaxis": lambda x, o: o.moveaxis(x, 1, 2),
    "Einsum": lambda x, o: o.einsum("bij,bkj->bik", x, x),
    "Tensordot": lambda x, o: o.tensordot(x, np.ones((6, 2), "float32"), 1),
    "Dot": lambda x, o: o.dot(x, np.ones((6, 2), "float32")), "Cumsum": lambda x, o: o.cumsum(x, axis=1),
    "Argmax": lambda x, o: o.cast(o.argmax(x, axis=-1), "float32"), "Logsumexp": lambda x, o: o.logsumexp(x, axis=1),
    "Take": lambda x, o: o.take(x, np.array([2, 0]), axis=1), "Norm": lambda x, o: o.norm(x, axis=-1, keepdims=True),
    "OneHot": lambda x, o: o.one_hot(o.cast(o.relu(x), "int32"), 4), "TopK": lambda x, o: o.top_k(x, 2)[0],
    "Prod": lambda x, o: o.prod(x, axis=1), "Sort": lambda x, o: o.sort(x, axis=1),
    "OnesLike": lambda x, o: x - o.ones_like(x),
    "LogicalAnd": lambda x, o: o.cast(o.logical_and(x > 0, o.logical_not(x > 1)), "float32"),
    "Any": lambda x, o: o.cast(o.any(x > 0, axis=1), "float32") + o.cast(o.all(x > 0, axis=1), "float32"),
    "Normalize": lambda x, o: o.normalize(x, axis=-1), "Unstack": lambda x, o: o.unstack(x, axis=1)[0],
    "Power": lambda x, o: o.power(o.abs(x), 1.5) + x % 0.5 + x // 0.5, "Ravel": lambda x, o: o.mean(o.ravel(x)) + x,
    "ScaledSum": lambda x, o: x * np.float32(0.5) + o.convert_to_tensor(np.arange(6.0, dtype="float32")),
}  # fmt: skip


ONE_WAY = {"Sort": "torch's gives two tensors"}


@pytest.mark.parametrize("name", THEIRS)
def test_an_operation_of_keras_is_one_of_torch(name, tmp_path):
    x = keras.Input((4, 6), name="x")
    model = keras.Model(x, THEIRS[name](K.Dense(6, name="d")(x), keras.ops))
    from_keras(model, numbers(3, 4, 6), tmp_path, back=name not in ONE_WAY)


def test_every_operation_of_the_table_is_keras(tmp_path):
    from keras.src.ops import core, linalg, math, nn, numpy

    from lamina.saving.operations import lookup

    modules = {m.__name__: m for m in (core, linalg, math, nn, numpy)}
    for row in lookup._ROWS:
        assert hasattr(modules[row.module], row.class_name), row.class_name
    assert len(known_operations()) > 140


def test_an_operation_that_keras_lacks_stays_in_lamina(tmp_path):
    x = lamina.Input((4, 6), name="x")
    model = Model(x, torch.fft.rfft(x).real + torch.special.i0(x)[:, :, :4])
    model.save(tmp_path / "m.keras")
    data = numbers(2, 4, 6)
    assert_equal(ours(load_model(tmp_path / "m.keras"), data), ours(model, data))
    with pytest.raises(Exception, match="TorchOperation"):
        keras.models.load_model(tmp_path / "m.keras")


def test_an_operation_that_lamina_lacks_is_named(tmp_path):
    x = keras.Input((4, 6))
    keras.Model(x, keras.ops.median(x, axis=1)).save(tmp_path / "m.keras")
    with pytest.raises(lamina.errors.LoadError, match="operation 'Median' has no counterpart here") as caught:
        load_model(tmp_path / "m.keras")
    assert "custom_objects={'Median': f}" in str(caught.value)

    def median(x, axis, keepdims):
        return torch.quantile(x, 0.5, dim=axis, keepdim=keepdims)

    data = numbers(3, 4, 6)
    found = ours(load_model(tmp_path / "m.keras", {"Median": median}), data)
    np.testing.assert_allclose(found[0], np.median(data, axis=1), rtol=1e-5)


def test_parameters_of_a_graph_keep_their_values(tmp_path):
    x = lamina.Input((4,), name="x")
    scale = torch.nn.Parameter(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    model = Model(x, x * scale)
    with torch.no_grad():
        model.weights[0].mul_(2)
    data = numbers(2, 4)
    model.save(tmp_path / "m.keras")
    again = load_model(tmp_path / "m.keras")
    assert_equal(ours(again, data), [data * np.array([2, 4, 6, 8], "float32")])
    assert len(again.trainable_weights) == 1
    assert_equal(theirs(keras.models.load_model(tmp_path / "m.keras"), data), ours(model, data))
    model.save_weights(tmp_path / "w.weights.h5")
    with torch.no_grad():
        model.weights[0].zero_()
    assert model.load_weights(tmp_path / "w.weights.h5").restored and ours(model, data)[0].any()


# ---------------------------------------------------------------------- sequential models
@pytest.mark.parametrize("build", ["Input", "input_shape", "build", "data", "never"])
def test_a_sequential_model(build, tmp_path):
    def make(library: Any) -> Any:
        first = {"input_shape": (4,)} if build == "input_shape" and library is lamina else {}
        head = [library.Input((4,))] if build == "Input" or (build == "input_shape" and library is keras) else []
        rest = [library.layers.Dense(5, "relu", **first), library.layers.Dropout(0.3, seed=1), library.layers.Dense(2)]
        model = library.Sequential([*head, *rest], name="row")
        if build == "build":
            model.build((None, 4))
        if build == "data":
            model(numbers(2, 4))
        return model

    data = numbers(3, 4)
    mine, other = make(lamina), make(keras)
    if build == "never":
        mine.save(tmp_path / "m.keras")
        assert not keras.models.load_model(tmp_path / "m.keras").built and not load_model(tmp_path / "m.keras").built
        with pytest.warns(UserWarning, match="has not yet been built"):
            other.save(tmp_path / "k.keras")
        assert load_model(tmp_path / "k.keras")(torch.from_numpy(data)).shape == (3, 2)
        return
    spread(mine)
    there_and_back(mine, data, tmp_path)
    assert isinstance(from_keras(other, data, tmp_path), Sequential)


def test_a_sequential_of_whole_numbers(tmp_path):
    def make(library: Any) -> Any:
        row = [library.layers.Embedding(9, 3, mask_zero=True), library.layers.LSTM(4), library.layers.Dense(2)]
        model = library.Sequential(row)
        model(rng.integers(1, 9, (2, 5)).astype("int32"))
        return model

    data = rng.integers(1, 9, (3, 5)).astype("int32")
    model = make(lamina)
    spread(model)
    there_and_back(model, data, tmp_path)
    from_keras(make(keras), data, tmp_path)


# ---------------------------------------------------------------------- classes of the user
@lamina.saving.register_serializable("oracle")
class Net(lamina.Model):
    """A subclassed model with layers in attributes of every kind."""

    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.hidden = L.Dense(units)
        self.out = L.Dense(2)
        self.blocks = [L.Dense(4), [L.Dense(5)]]
        self._private = L.Dense(6)
        self.by_key = {"b": L.Dense(7), "a": L.Dense(8)}
        self.pair = (L.BatchNormalization(), L.Dense(9))

    def call(self, x: Any) -> Any:
        x = self._private(self.blocks[1][0](self.blocks[0](self.hidden(x))))
        return self.out(self.pair[1](self.pair[0](self.by_key["a"](self.by_key["b"](x)))))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("oracle", "Net")
class KerasNet(keras.Model):
    def __init__(self, units: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.hidden = K.Dense(units)
        self.out = K.Dense(2)
        self.blocks = [K.Dense(4), [K.Dense(5)]]
        self._private = K.Dense(6)
        self.by_key = {"b": K.Dense(7), "a": K.Dense(8)}
        self.pair = (K.BatchNormalization(), K.Dense(9))

    call = Net.call

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


def paths_in(path: Any) -> dict[str, Any]:
    """Every group and array of a file, with the shapes."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, member: found.update({name: getattr(member, "shape", None)}))
    return found


def test_a_subclassed_model_travels(tmp_path):
    data = numbers(3, 4)
    mine, other = Net(units=5), KerasNet(units=5)
    mine(torch.from_numpy(data)), other(data)
    spread(mine)
    wanted = ours(mine, data)
    mine.save(tmp_path / "ours.keras")
    there = keras.models.load_model(tmp_path / "ours.keras", custom_objects={"oracle>Net": KerasNet})
    assert isinstance(there, KerasNet) and there.units == 5
    assert_equal(theirs(there, data), wanted)
    there.save(tmp_path / "theirs.keras")
    again = load_model(tmp_path / "theirs.keras")
    assert isinstance(again, Net) and again.units == 5
    assert_equal(ours(again, data), wanted)
    mine.save_weights(tmp_path / "w.weights.h5")
    other.save_weights(tmp_path / "k.weights.h5")
    assert paths_in(tmp_path / "w.weights.h5") == paths_in(tmp_path / "k.weights.h5")
    other.load_weights(tmp_path / "w.weights.h5")
    assert_equal(theirs(other, data), wanted)
    other.save_weights(tmp_path / "k.weights.h5")
    fresh = Net(units=5)
    assert fresh.load_weights(tmp_path / "k.weights.h5").waiting
    assert_equal(ours(fresh, data), wanted)


# ---------------------------------------------------------------------- precision
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64", "bfloat16"])
def test_policies_travel(policy, tmp_path):
    def make(library: Any) -> Any:
        x = library.Input((4,), name="x")
        h = library.layers.Dense(5, "tanh", dtype=policy, name="a")(x)
        return library.Model(x, library.layers.Dense(2, dtype="float32", name="b")(h))

    model = make(lamina)
    loose = {"rtol": 1e-5, "atol": 1e-5} if policy == "float64" else {"rtol": 0.05, "atol": 0.05}
    _, again = there_and_back(model, numbers(3, 4), tmp_path, **loose)
    assert again.get_layer("a").dtype_policy.name == policy
    mine = from_keras(make(keras), numbers(3, 4), tmp_path, **loose)
    assert mine.get_layer("a").dtype_policy.name == policy
    assert mine.get_layer("a").kernel.dtype is model.get_layer("a").kernel.dtype


# ---------------------------------------------------------------------- JSON
def test_json_travels_both_ways():
    for form in ("shared and nested", "dicts", "masks"):
        make, _ = FORMS[form]
        mine, other = make(lamina), make(keras)
        there = keras.models.model_from_json(mine.to_json())
        here = model_from_json(other.to_json())
        assert [w.shape for w in there.get_weights()] == [w.shape for w in mine.get_weights()]
        assert [w.shape for w in here.get_weights()] == [w.shape for w in other.get_weights()]
        assert isinstance(here, Functional) and there.name == other.name or there.name == mine.name


def test_the_config_has_the_entries_of_keras(tmp_path):
    mine, other = several_inputs(lamina), several_inputs(keras)
    first, second = json.loads(mine.to_json()), json.loads(other.to_json())
    assert {key: first[key] for key in ("module", "class_name", "registered_name")} == {
        key: second[key] for key in ("module", "class_name", "registered_name")
    }
    assert first["config"]["input_layers"] == second["config"]["input_layers"]
    assert first["config"]["output_layers"] == second["config"]["output_layers"]
    for one, two in zip(first["config"]["layers"], second["config"]["layers"], strict=True):
        for key in ("module", "class_name", "registered_name", "name", "inbound_nodes"):
            assert one[key] == two[key]
        assert one.get("build_config") == two.get("build_config")
        assert set(one["config"]) - set(two["config"]) <= {"activity_regularizer"}, one["class_name"]
    mine.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        assert archive.namelist() == ["metadata.json", "config.json", "model.weights.h5"]
        assert json.loads(archive.read("metadata.json"))["keras_version"] == keras.__version__
