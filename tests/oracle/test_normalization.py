"""Normalization layers against Keras and torch.nn: outputs, gradients, moving statistics, configs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina.layers import normalization, sample_normalization
from lamina.layers.normalization import BatchNormalization

TOLERANCE: dict[str, float] = {"rtol": 1e-5, "atol": 1e-5}
RENORM = {"renorm": True, "renorm_clipping": {"rmin": 0.3, "rmax": 3.0, "dmax": 2.0}, "renorm_momentum": 0.8}

BATCH_CASES: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({}, (8, 5)),
    ({}, (4, 6, 5)),
    ({}, (4, 3, 2, 5)),
    ({}, (2, 3, 2, 2, 5)),
    ({"axis": 1}, (4, 5, 3, 2)),
    ({"axis": 1}, (4, 5, 3)),
    ({"axis": 2}, (4, 3, 5, 2)),
    ({"axis": -2}, (4, 3, 5, 2)),
    ({"momentum": 0.5, "epsilon": 0.1}, (4, 6, 5)),
    ({"center": False}, (4, 6, 5)),
    ({"scale": False}, (4, 6, 5)),
    ({"center": False, "scale": False}, (4, 3, 2, 5)),
    (RENORM, (4, 6, 5)),
    ({**RENORM, "renorm_clipping": None}, (4, 6, 5)),
    ({**RENORM, "center": False}, (4, 6, 5)),
    ({**RENORM, "scale": False, "axis": 1}, (4, 5, 6)),
]
SAMPLE_CASES: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("LayerNormalization", {}, (4, 5)),
    ("LayerNormalization", {}, (4, 6, 5)),
    ("LayerNormalization", {"axis": [1, 2]}, (4, 6, 5)),
    ("LayerNormalization", {"axis": (-2, -1)}, (4, 2, 6, 5)),
    ("LayerNormalization", {"axis": [1, 3]}, (4, 2, 6, 5)),
    ("LayerNormalization", {"epsilon": 0.1, "center": False}, (4, 6, 5)),
    ("LayerNormalization", {"scale": False}, (4, 6, 5)),
    ("LayerNormalization", {"center": False, "scale": False}, (4, 6, 5)),
    ("LayerNormalization", {"rms_scaling": True}, (4, 6, 5)),
    ("LayerNormalization", {"rms_scaling": True, "axis": 1}, (4, 6, 5)),
    ("RMSNormalization", {}, (4, 6, 5)),
    ("RMSNormalization", {"epsilon": 0.1}, (4, 5)),
    ("RMSNormalization", {"axis": (-2, -1)}, (4, 2, 6, 5)),
    ("UnitNormalization", {}, (4, 6, 5)),
    ("UnitNormalization", {"axis": 1}, (4, 6, 5)),
    ("UnitNormalization", {"axis": [1, 2]}, (4, 6, 5)),
    ("GroupNormalization", {"groups": 3}, (4, 6)),
    ("GroupNormalization", {"groups": 3}, (4, 5, 6)),
    ("GroupNormalization", {"groups": 2, "epsilon": 0.1}, (4, 3, 2, 6)),
    ("GroupNormalization", {"groups": 2, "axis": 1}, (4, 6, 3, 2)),
    ("GroupNormalization", {"groups": -1, "center": False}, (4, 3, 2, 6)),
    ("GroupNormalization", {"groups": 1, "scale": False}, (4, 5, 6)),
]


def pair(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    """The layer of ours and that of Keras, with the same random weights."""
    module = normalization if hasattr(normalization, name) else sample_normalization
    ours, theirs = getattr(module, name)(**kwargs), getattr(keras.layers, name)(**kwargs)
    ours.build(shape), theirs.build(shape)
    rng = np.random.default_rng(1)
    weights = [rng.uniform(0.5, 1.5, size=w.shape).astype("float32") for w in theirs.get_weights()]
    assert [w.shape for w in ours.get_weights()] == [w.shape for w in weights]
    ours.set_weights(weights), theirs.set_weights(weights)
    return ours, theirs


def gradients(layer: Any, x: np.ndarray, **kwargs: Any) -> list[np.ndarray]:
    """The output, then the gradients of the input and of each trainable weight."""
    tensor = torch.tensor(x, requires_grad=True)
    y = layer(tensor, **kwargs)
    weights = [getattr(w, "value", w) for w in layer.trainable_weights]
    along = torch.linspace(-1, 1, y.numel()).reshape(y.shape)
    found = torch.autograd.grad((y * along).sum(), [tensor, *weights])
    return [t.detach().numpy() for t in (y, *found)]


def assert_same(ours: list[Any], theirs: list[Any]) -> None:
    assert len(ours) == len(theirs) > 0
    for mine, its in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, its, **TOLERANCE)


def data(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * 1.5 + 0.5).astype("float32")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("kwargs", "shape"), BATCH_CASES)
def test_batch_normalization_is_that_of_keras(kwargs: dict[str, Any], shape: tuple[int, ...], training: bool):
    ours, theirs = pair("BatchNormalization", kwargs, shape)
    assert_same(gradients(ours, data(shape), training=training), gradients(theirs, data(shape), training=training))
    assert_same(ours.get_weights(), theirs.get_weights())


@pytest.mark.parametrize(("kwargs", "shape"), BATCH_CASES)
def test_moving_statistics_after_several_steps_are_those_of_keras(kwargs: dict[str, Any], shape: tuple[int, ...]):
    ours, theirs = pair("BatchNormalization", kwargs, shape)
    before = ours.get_weights()
    for step in range(5):
        x = torch.from_numpy(data(shape, step))
        ours(x, training=True), theirs(x, training=True)
    assert_same(ours.get_weights(), theirs.get_weights())
    assert not np.allclose(before[-1], ours.get_weights()[-1], atol=1e-3)
    x = torch.from_numpy(data(shape, 9))
    assert_same([ours(x).detach().numpy()], [theirs(x, training=False).detach().numpy()])


@pytest.mark.parametrize("kwargs", [{}, {"center": False, "scale": False}, {"momentum": 0.5}, RENORM])
@pytest.mark.parametrize("keep", ["some", "all", "none"])
def test_masked_batch_normalization_is_that_of_keras(kwargs: dict[str, Any], keep: str):
    shape = (4, 6, 5)
    ours, theirs = pair("BatchNormalization", kwargs, shape)
    mask = np.random.default_rng(2).random(shape[:2]) > {"some": 0.4, "all": -1.0, "none": 2.0}[keep]
    arguments = {"training": True, "mask": torch.from_numpy(mask)}
    assert_same(gradients(ours, data(shape), **arguments), gradients(theirs, data(shape), **arguments))
    for step in range(3):
        x = torch.from_numpy(data(shape, step))
        ours(x, **arguments), theirs(x, **arguments)
    assert_same(ours.get_weights(), theirs.get_weights())


def test_masked_images_are_those_of_keras():
    shape = (3, 4, 2, 5)
    ours, theirs = pair("BatchNormalization", {}, shape)
    arguments = {"training": True, "mask": torch.from_numpy(np.random.default_rng(2).random(shape[:3]) > 0.5)}
    assert_same(gradients(ours, data(shape), **arguments), gradients(theirs, data(shape), **arguments))


def test_a_frozen_layer_is_that_of_keras():
    ours, theirs = pair("BatchNormalization", {}, (8, 5))
    ours.trainable = theirs.trainable = False
    x = torch.from_numpy(data((8, 5)))
    assert_same([ours(x, training=True).detach().numpy()], [theirs(x, training=True).detach().numpy()])
    assert_same(ours.get_weights(), theirs.get_weights())


@pytest.mark.parametrize(("kind", "shape"), [(torch.nn.BatchNorm1d, (8, 5)), (torch.nn.BatchNorm2d, (4, 3, 2, 5))])
def test_batch_normalization_is_that_of_torch_nn_but_for_the_unbiased_variance(kind: Any, shape: tuple[int, ...]):
    module = kind(5, eps=1e-3, momentum=0.01)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    layer = BatchNormalization()
    layer.build(shape)
    layer.set_weights([module.weight.detach(), module.bias.detach(), np.zeros(5), np.ones(5)])
    x = torch.from_numpy(data(shape))
    torch.testing.assert_close(layer(x, training=True), module(x.movedim(-1, 1)).movedim(1, -1))
    torch.testing.assert_close(layer.moving_mean, module.running_mean)
    count = x.numel() // 5
    unbiased = 0.99 + (layer.moving_variance - 0.99) * count / (count - 1)
    torch.testing.assert_close(unbiased, module.running_var)


@pytest.mark.filterwarnings("ignore:You passed `rms_scaling")  # Keras, which calls it deprecated
@pytest.mark.parametrize(("name", "kwargs", "shape"), SAMPLE_CASES)
def test_normalization_of_samples_is_that_of_keras(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]):
    ours, theirs = pair(name, kwargs, shape)
    x = data(shape)
    assert_same(gradients(ours, x), gradients(theirs, x))


@pytest.mark.parametrize(
    "name",
    ["BatchNormalization", "LayerNormalization", "RMSNormalization", "UnitNormalization", "GroupNormalization"],
)
def test_the_config_has_the_keys_and_the_defaults_of_keras(name: str):
    module = normalization if hasattr(normalization, name) else sample_normalization
    ours, theirs = getattr(module, name)().get_config(), getattr(keras.layers, name)().get_config()
    assert set(ours) == set(theirs)
    for key in theirs.keys() - {"name", "dtype"}:
        value = theirs[key]
        expected = value["class_name"] if isinstance(value, dict) else value
        found = ours[key]["class_name"] if isinstance(ours[key], dict) else ours[key]
        assert found == expected, key
