"""Initializers against Keras: names, arguments, configs, fixed values, seeded values and distributions."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.initializers.random_initializers import compute_fans

from lamina import initializers

CLASSES = sorted(
    name
    for name, found in inspect.getmembers(keras.initializers, inspect.isclass)
    if name[0].isupper() and not name.startswith("STFT") and name != "Initializer"
)
SHAPES = [(300, 200), (3, 3, 40, 60), (5, 30, 50), (1000,)]

CONFIGS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in CLASSES]
CONFIGS += [
    ("Constant", {"value": 3}),
    ("Identity", {"gain": 0.5}),
    ("RandomNormal", {"mean": 1.0, "stddev": 0.2, "seed": 3}),
    ("TruncatedNormal", {"mean": 1.0, "stddev": 0.2, "seed": 3}),
    ("RandomUniform", {"minval": -1.0, "maxval": 2.0, "seed": 3}),
    ("RandomUniform", {"minval": 1.0, "maxval": -2.0, "seed": 3}),
    ("Orthogonal", {"gain": 0.5, "seed": 3}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "normal", "seed": 3}),
    ("VarianceScaling", {"mode": "fan_avg", "distribution": "Uniform", "input_axes": [0], "output_axes": [1]}),
    ("HeNormal", {"seed": 3, "input_axes": [0, 1], "output_axes": [-1]}),
]


def both(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """What lamina and what Keras makes of the same arguments."""
    ours = getattr(initializers, name)(**kwargs)(
        shape, dtype="float32", device=keras.src.backend.torch.core.get_device()
    )
    theirs = getattr(keras.initializers, name)(**kwargs)(shape, dtype="float32")
    return ours.cpu().numpy(), keras.ops.convert_to_numpy(theirs)


@pytest.mark.parametrize("name", CLASSES)
def test_an_initializer_has_the_arguments_and_defaults_of_keras(name: str):
    theirs = inspect.signature(getattr(keras.initializers, name)).parameters.values()
    ours = inspect.signature(getattr(initializers, name)).parameters.values()
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


@pytest.mark.parametrize(("name", "kwargs"), CONFIGS)
def test_the_config_is_that_of_keras_and_is_read_from_what_keras_wrote(name: str, kwargs: dict[str, Any]):
    ours, theirs = getattr(initializers, name)(**kwargs), getattr(keras.initializers, name)(**kwargs)
    config = theirs.get_config()
    if name.startswith("Identity"):  # Keras 3.15 forgets the gain
        config = {"gain": kwargs.get("gain", 1.0)}
    assert ours.get_config() == config
    written = keras.initializers.serialize(theirs)
    assert initializers.deserialize({**written, "config": config}).get_config() == config
    assert type(initializers.deserialize(written)) is type(ours)


def test_every_name_that_keras_knows_stands_for_the_same_class():
    known = keras.src.initializers.ALL_OBJECTS_DICT
    for name, kind in known.items():
        if "stft" not in name.lower() and kind is not keras.initializers.Initializer:
            assert type(initializers.get(name)).__name__ == kind.__name__
    for name in dir(keras.initializers):
        if name.islower() and "stft" not in name and not name.startswith("_"):
            assert hasattr(initializers, name)


def test_a_constant_array_that_keras_wrote_is_read():
    written = keras.initializers.serialize(keras.initializers.Constant(np.array([1.0, 2.0])))
    assert initializers.deserialize(written)((2,), device="cpu").tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "kwargs", "shape"),
    [
        ("Zeros", {}, (3, 2)),
        ("Ones", {}, (3, 2)),
        ("Constant", {"value": 0.3}, (3, 2)),
        ("Constant", {"value": [1.0, 2.0]}, (3, 2)),
        ("Constant", {"value": 2}, ()),
        ("Identity", {"gain": 2.0}, (3, 5)),
        ("Identity", {}, (5, 3)),
    ],
)
def test_fixed_values_are_those_of_keras(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]):
    ours, theirs = both(name, kwargs, shape)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("RandomNormal", {"mean": 0.3, "stddev": 0.2}),
        ("RandomUniform", {"minval": -0.5, "maxval": 2.0}),
        ("VarianceScaling", {"scale": 2.0, "distribution": "uniform"}),
        ("VarianceScaling", {"mode": "fan_avg", "distribution": "untruncated_normal"}),
        ("VarianceScaling", {"mode": "fan_out", "distribution": "uniform", "input_axes": [0], "output_axes": [1]}),
        ("GlorotUniform", {}),
        ("LecunUniform", {}),
        ("HeUniform", {}),
        ("Orthogonal", {"gain": 1.5}),
    ],
)
@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (24, 24), (3, 3, 4, 6), (5, 7, 3)])
def test_with_an_integer_seed_the_values_are_those_of_keras(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]):
    ours, theirs = both(name, {**kwargs, "seed": 7}, shape)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["TruncatedNormal", "VarianceScaling", "GlorotNormal", "LecunNormal", "HeNormal"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_truncated_normal_has_the_moments_bounds_and_quantiles_of_keras(name: str, shape: tuple[int, ...]):
    # Keras's way to draw one needs four times the random numbers, so these agree in distribution only.
    draws = [both(name, {"seed": seed}, shape) for seed in range(60_000 // int(np.prod(shape)) + 1)]
    ours, theirs = (np.concatenate([d[i].ravel() for d in draws]) for i in (0, 1))
    unit = theirs.std()
    assert abs(ours.mean()) < 0.02 * unit
    assert ours.std() == pytest.approx(unit, rel=0.02)
    assert np.abs(ours).max() == pytest.approx(2 * unit / 0.8796256610342398, rel=0.02)
    levels = np.linspace(0.02, 0.98, 25)
    np.testing.assert_allclose(np.quantile(ours, levels) / unit, np.quantile(theirs, levels) / unit, atol=0.04)


@pytest.mark.parametrize(
    "name", ["GlorotNormal", "LecunNormal", "HeNormal", "GlorotUniform", "LecunUniform", "HeUniform"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_standard_deviation_is_that_of_theory(name: str, shape: tuple[int, ...]):
    fan_in, fan_out = compute_fans(shape)
    expected = {"Glorot": 2 / (fan_in + fan_out), "Lecun": 1 / fan_in, "He": 2 / fan_in}
    variance = next(value for prefix, value in expected.items() if name.startswith(prefix))
    initializer = getattr(initializers, name)()
    values = torch.cat([initializer(shape, device="cpu").flatten() for _ in range(40 if len(shape) == 1 else 1)])
    assert values.std().item() == pytest.approx(variance**0.5, rel=0.02)
    assert abs(values.mean().item()) < 0.02 * variance**0.5


@pytest.mark.parametrize("shape", [(), (7,), (7, 8), (2, 7, 8), (3, 3, 7, 8), (2, 3, 4, 5, 6)])
def test_the_fans_are_those_of_keras(shape: tuple[int, ...]):
    assert initializers.compute_fans(shape) == compute_fans(shape)
    if len(shape) > 1:
        axes = ([0], [-1, 0])
        assert initializers.compute_fans(shape, *axes) == compute_fans(shape, *axes)
        assert initializers.compute_fans(shape, axes[0]) == compute_fans(shape, axes[0])


def test_a_tensor_or_array_is_taken_as_keras_takes_it():
    value = np.arange(6.0).reshape(2, 3)
    ours = initializers.get(value)((2, 3), dtype="float32", device="cpu")
    theirs = keras.initializers.get(value)((2, 3), dtype="float32")
    np.testing.assert_array_equal(ours.numpy(), keras.ops.convert_to_numpy(theirs))
