"""Every layer in a `.keras` file: ours in real Keras, Keras's here, with the same numbers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina.engine import nest
from lamina.models import Model
from lamina.registry import LAYERS
from lamina.saving import load_model


def _load_cases() -> ModuleType:
    """The battery's cases, which no import finds: a folder of tests is not on the path."""
    path = Path(__file__).parents[1] / "battery" / "layer_cases.py"
    spec = importlib.util.spec_from_file_location("layer_cases_of_archives", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layer_cases = _load_cases()

# Layers that real Keras cannot be given, and why.
NOT_IN_KERAS = {
    "TorchModule": "Keras keeps a torch module as a pickle",
    "Model": "the case is a class of the test's",
    "Wrapper": "the case is a class of the test's",
    "InputLayer": "Keras calls none; each model here begins with one",
}
# Keras's torch backend counts the padding of "same" in its averages; the layers themselves differ.
OTHER_NUMBERS = {f"AveragePooling{rank}D" for rank in (1, 2, 3)}
CUSTOM = {
    "Net": layer_cases.Net,
    "Twice": layer_cases.Twice,
    "doubled": layer_cases.doubled,
    "torch.nn.modules.linear.Linear": torch.nn.Linear,
    "BatchNorm1d": torch.nn.BatchNorm1d,
}
CLOSE: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-5}


def halved_twice(x: Any) -> Any:
    return x * 2


def in_a_model(name: str, case: Any) -> tuple[Any, Any]:
    """A model around the case's layer with weights that are not zero, and data for it."""
    layer, symbols = case.make(), case.symbols(free=True)
    inputs, data = nest.flatten(symbols), nest.flatten(case.arguments())
    model = layer if name == "Model" else Model(inputs if len(inputs) > 1 else inputs[0], layer(*symbols))
    data = data if len(data) > 1 else data[0]
    model(data)
    with torch.no_grad():
        for weight in model.weights:
            if weight.is_floating_point():
                weight.uniform_(0.1, 0.6)
    return model, data


def ours(model: Any, data: Any) -> list[np.ndarray]:
    return [t.detach().numpy() for t in nest.flatten(model(data))]


def theirs(model: Any, data: Any) -> list[np.ndarray]:
    given = [keras.ops.convert_to_tensor(t.numpy()) for t in nest.flatten(data)]
    return [keras.ops.convert_to_numpy(t) for t in nest.flatten(model(given if len(given) > 1 else given[0]))]


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)


CASES = [
    pytest.param(name, case, id=f"{name}-{case.note or at}")
    for name, cases in layer_cases.CASES.items()
    for at, case in enumerate(cases)
]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_layer_travels_to_keras_and_back(name, case, tmp_path):
    model, data = in_a_model(name, case)
    wanted = ours(model, data)
    model.save(tmp_path / "ours.keras")
    assert_equal(ours(load_model(tmp_path / "ours.keras", CUSTOM), data), wanted)
    if name in NOT_IN_KERAS:
        return
    other = keras.models.load_model(tmp_path / "ours.keras", custom_objects={"doubled": halved_twice})
    if not (name in OTHER_NUMBERS and "same" in case.note):
        assert_equal(theirs(other, data), wanted)
    assert [tuple(w.shape) for w in other.weights] == [tuple(w.shape) for w in model.weights]
    other.save(tmp_path / "theirs.keras")
    again = load_model(tmp_path / "theirs.keras", {"halved_twice": layer_cases.doubled})
    assert_equal(ours(again, data), wanted)
    assert type(again.layers[-1]) is type(model.layers[-1])


def test_every_registered_layer_is_tried_and_keras_has_those_that_it_should():
    assert set(layer_cases.CASES) == layer_cases.registered()
    lacking = {name for name in layer_cases.registered() if not hasattr(keras.layers, name)}
    assert lacking == {"TorchModule", "Model", "Functional", "Sequential"}
    assert set(NOT_IN_KERAS) <= set(LAYERS)
