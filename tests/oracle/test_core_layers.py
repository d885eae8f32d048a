"""Dense, Embedding, Masking and Activation give Keras's outputs, gradients, masks, shapes and configs."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
import torch

from lamina import layers
from lamina.engine.masking import get_mask

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def both(name, arguments, data):
    """The two layers, built for `data`, with the weights of Keras's."""
    theirs, ours = getattr(keras.layers, name)(**arguments), getattr(layers, name)(**arguments)
    theirs.build(data.shape)
    ours.build(data.shape)
    ours.set_weights([np.asarray(w) for w in theirs.get_weights()])
    assert [tuple(w.shape) for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    return theirs, ours


def outputs_and_gradients(layer, x, weights, training=False):
    """The output, and the gradients of its square with respect to the input and to the weights."""
    x = torch.from_numpy(x)
    if x.is_floating_point():
        x.requires_grad_()
    y = layer(x, training=training)
    sources = [*([x] if x.requires_grad else []), *weights]
    gradients = torch.autograd.grad(y.square().sum(), sources) if sources else []
    return [y.detach(), *gradients]


def assert_equal(theirs, ours, data):
    wanted = outputs_and_gradients(theirs, data, [w.value for w in theirs.trainable_weights])
    found = outputs_and_gradients(ours, data, ours.trainable_weights)
    assert len(found) == len(wanted)
    for mine, its in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, its, **TOLERANCE)


DENSE = [
    {"units": 5},
    {"units": 5, "use_bias": False},
    {"units": 1, "activation": "sigmoid"},
    {"units": 4, "activation": "softmax", "bias_initializer": "ones"},
    {"units": 5, "activation": "relu", "kernel_initializer": "he_normal", "bias_initializer": "random_normal"},
]


@pytest.mark.parametrize(("arguments", "shape"), list(itertools.product(DENSE, [(3, 4), (2, 3, 4), (2, 2, 3, 4)])))
def test_dense(arguments, shape):
    data = np.random.default_rng(0).normal(size=shape).astype("float32")
    theirs, ours = both("Dense", arguments, data)
    assert_equal(theirs, ours, data)
    assert ours.compute_output_shape((None, *shape[1:])) == theirs.compute_output_shape((None, *shape[1:]))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_the_penalties_of_dense(shape):
    arguments = {"units": 5, "kernel_regularizer": "l1", "bias_regularizer": "l2", "activity_regularizer": "l2"}
    data = np.random.default_rng(0).normal(size=shape).astype("float32")
    theirs, ours = both("Dense", {**arguments, "bias_initializer": "ones"}, data)
    theirs(data), ours(data)
    wanted = sorted(float(loss.detach()) for loss in theirs.losses)
    np.testing.assert_allclose(sorted(float(loss.detach()) for loss in ours.losses), wanted, rtol=1e-5)
    assert len(wanted) == 3


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_embedding(shape, dtype):
    data = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    theirs, ours = both("Embedding", {"input_dim": 9, "output_dim": 4}, data)
    wanted = outputs_and_gradients(theirs, data.astype("int64"), [w.value for w in theirs.trainable_weights])
    found = outputs_and_gradients(ours, data.astype("int64"), ours.trainable_weights)
    for mine, its in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, its, **TOLERANCE)
    torch.testing.assert_close(ours(data), theirs(data), **TOLERANCE)


def test_the_mask_of_embedding():
    data = np.array([[1, 0, 2], [0, 0, 3]])
    theirs, ours = both("Embedding", {"input_dim": 4, "output_dim": 2, "mask_zero": True}, data)
    np.testing.assert_array_equal(get_mask(ours(data)), theirs.compute_mask(torch.from_numpy(data)))


@pytest.mark.parametrize("mask_value", [0.0, 2.0, -1])
def test_masking(mask_value):
    data = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    data[0, 1], data[2, 2:], data[1, 0, 0] = mask_value, mask_value, mask_value
    theirs, ours = both("Masking", {"mask_value": mask_value}, data)
    assert_equal(theirs, ours, data)
    np.testing.assert_array_equal(get_mask(ours(data)), theirs.compute_mask(torch.from_numpy(data)))


@pytest.mark.parametrize("name", ["linear", "relu", "tanh", "sigmoid", "softmax", "elu", "gelu", "swish", "softplus"])
def test_activation(name):
    data = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
    theirs, ours = both("Activation", {"activation": name}, data)
    assert_equal(theirs, ours, data)


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_dense_in_another_dtype(dtype):
    data = np.random.default_rng(0).normal(size=(3, 4)).astype(dtype)
    theirs, ours = both("Dense", {"units": 5, "dtype": dtype}, data)
    found, wanted = ours(data), theirs(data)
    assert found.dtype is wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=1e-2 if dtype == "float16" else 1e-7, atol=1e-3)


ARGUMENTS = {
    "Dense": {"units": 3, "activation": "relu", "use_bias": False, "kernel_regularizer": "l2", "name": "d"},
    "Embedding": {"input_dim": 9, "output_dim": 4, "mask_zero": True, "name": "e"},
    "Masking": {"mask_value": 2.0, "name": "m"},
    "Activation": {"activation": "relu", "name": "a"},
    "Identity": {"name": "i"},
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_the_arguments_are_those_of_keras(name):
    theirs = getattr(keras.layers, name)(**ARGUMENTS[name]).get_config()
    ours = getattr(layers, name)(**ARGUMENTS[name]).get_config()
    given = {key for key, value in theirs.items() if value is not None}
    assert given <= set(ours)
    plain = {key: value for key, value in theirs.items() if isinstance(value, (int, float, str, bool)) and key in ours}
    assert {key: ours[key] for key in plain} == plain


def test_names_and_defaults_of_input():
    theirs, ours = keras.layers.InputLayer((4,), name="x"), layers.InputLayer((4,), name="x")
    wanted = theirs.get_config()
    found = ours.get_config()
    assert tuple(wanted["batch_shape"]) == found["batch_shape"] and wanted["dtype"] == found["dtype"]
