"""Labels, names and dtypes against Keras's."""

from __future__ import annotations

import inspect
import random

import keras
import numpy as np
import pytest
import torch
from keras.src.utils.naming import to_snake_case

import lamina
from lamina.registry import snake_case

RNG = np.random.RandomState(0)


@pytest.mark.parametrize("shape", [(7,), (7, 1), (2, 3), (2, 3, 1)])
@pytest.mark.parametrize("count", [None, 5])
def test_one_hot_rows_are_those_of_keras(shape, count):
    x = RNG.randint(0, 4, shape)
    x.flat[0] = 3
    np.testing.assert_array_equal(lamina.utils.to_categorical(x, count), keras.utils.to_categorical(x, count))
    if count:
        theirs = keras.utils.to_categorical(torch.from_numpy(x), count)
        np.testing.assert_array_equal(lamina.utils.to_categorical(torch.from_numpy(x), count), theirs)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_normalized_vectors_are_those_of_keras(axis, order):
    x = RNG.randn(3, 4)
    x[1] = 0
    theirs = keras.utils.normalize(x, axis % 2 - 2, order)  # Keras takes axis 0 for the last one
    np.testing.assert_allclose(lamina.utils.normalize(x, axis, order), theirs, rtol=1e-12)


def test_every_class_of_keras_gets_the_snake_case_name_of_keras():
    modules = (keras.layers, keras.losses, keras.metrics, keras.optimizers, keras.callbacks, keras.initializers)
    names = {name for module in modules for name in dir(module) if inspect.isclass(getattr(module, name))}
    assert len(names) > 200
    assert {name: snake_case(name) for name in names} == {name: to_snake_case(name) for name in names}


def test_any_name_gets_the_snake_case_name_of_keras():
    draw = random.Random(0)
    names = ["".join(draw.choices("ABcd1_ -", k=draw.randint(0, 9))) for _ in range(3000)]
    assert {name: snake_case(name) for name in names} == {name: to_snake_case(name) for name in names}


def test_layers_are_numbered_as_keras_numbers_them():
    keras.utils.clear_session()
    for library in (lamina, keras):
        layers = library.layers
        made = [layers.Dense(1), layers.Conv2D(1, 1), layers.Dense(1), layers.Dense(1, name="x"), layers.LSTM(1)]
        assert [layer.name for layer in made] == ["dense", "conv2d", "dense_1", "x", "lstm"]


@pytest.mark.parametrize(
    "dtype", [None, float, bool, "float16", np.float64, np.dtype("int8"), torch.bfloat16, np.bool_]
)
def test_dtypes_have_the_names_of_keras(dtype):
    assert lamina.dtypes.standardize_dtype(dtype) == keras.backend.standardize_dtype(dtype)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
def test_policies_mean_what_they_mean_in_keras(name):
    ours, theirs = lamina.dtypes.DTypePolicy(name), keras.DTypePolicy(name)
    assert (ours.variable_dtype, ours.compute_dtype, ours.name) == (
        theirs.variable_dtype,
        theirs.compute_dtype,
        theirs.name,
    )
    assert ours.get_config() == theirs.get_config()
    described = keras.dtype_policies.serialize(theirs)
    assert lamina.dtypes.get_policy(described) == ours
