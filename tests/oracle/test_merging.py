"""Merging layers against Keras: outputs, gradients, masks, shapes, configs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch

from lamina.engine.masking import get_mask, set_mask
from lamina.layers import joining, merging

ELEMENTWISE = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"]
Shapes = list[tuple[Any, ...]]

CASES: list[tuple[str, dict[str, Any], Shapes]] = []
for _name in ELEMENTWISE:
    CASES += [
        (_name, {}, [(4, 3), (4, 3)]),
        (_name, {}, [(4, 5, 3), (4, 5, 3)]),
        (_name, {}, [(4, 5, 1), (4, 1, 3)]),
        (_name, {}, [(4, 3), (4, 5, 3)]),
        (_name, {}, [(4, 2, 5, 3), (4, 3)]),
        (_name, {}, [(4,), (4, 3)]),
    ]
    if _name != "Subtract":
        CASES += [(_name, {}, [(4, 3)] * 4), (_name, {}, [(4, 3)]), (_name, {}, [(4, 5, 3), (4, 1), (4, 1, 3)])]
CASES += [
    ("Concatenate", {}, [(4, 5, 3), (4, 5, 2), (4, 5, 1)]),
    ("Concatenate", {"axis": 1}, [(4, 5, 3), (4, 2, 3)]),
    ("Concatenate", {"axis": -2}, [(4, 5, 3), (4, 2, 3)]),
    ("Concatenate", {}, [(4, 3)]),
    ("Dot", {"axes": 1}, [(4, 3), (4, 3)]),
    ("Dot", {"axes": -1}, [(4, 3), (4, 3)]),
    ("Dot", {"axes": 1, "normalize": True}, [(4, 3), (4, 3)]),
    ("Dot", {"axes": (1, 2)}, [(4, 3, 5), (4, 6, 3)]),
    ("Dot", {"axes": [2, 1]}, [(4, 3, 5), (4, 5, 6)]),
    ("Dot", {"axes": 2, "normalize": True}, [(4, 3, 5), (4, 6, 5)]),
    ("Dot", {"axes": (2, 1)}, [(4, 3, 5), (4, 5)]),
    ("Dot", {"axes": (1, 2)}, [(4, 5), (4, 3, 5)]),
    ("Dot", {"axes": (2, 3)}, [(4, 3, 5, 2), (4, 6, 7, 5)]),
    ("Dot", {"axes": (-1, 1)}, [(4, 3, 2, 5), (4, 5, 6, 7)]),
]
MASK_CASES = [(name, {}) for name in ELEMENTWISE] + [
    ("Concatenate", {}),
    ("Concatenate", {"axis": 1}),
    ("Dot", {"axes": 2}),
]


def pair(name: str, kwargs: dict[str, Any]) -> tuple[Any, Any]:
    module = merging if hasattr(merging, name) else joining
    return getattr(module, name)(**kwargs), getattr(keras.layers, name)(**kwargs)


def arrays(shapes: Shapes) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def gradients(layer: Any, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The output, then the gradient of each input."""
    tensors = [torch.tensor(x, requires_grad=True) for x in inputs]
    y = layer(tensors)
    found = torch.autograd.grad((y * torch.linspace(-1, 1, y.numel()).reshape(y.shape)).sum(), tensors)
    return [t.detach().numpy() for t in (y, *found)]


@pytest.mark.parametrize(("name", "kwargs", "shapes"), CASES)
def test_a_merge_and_its_gradients_are_those_of_keras(name: str, kwargs: dict[str, Any], shapes: Shapes):
    ours, theirs = pair(name, kwargs)
    inputs = arrays(shapes)
    for mine, its in zip(gradients(ours, inputs), gradients(theirs, inputs), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "kwargs", "shapes"), CASES)
@pytest.mark.parametrize("unknown", ["nothing", "batch", "first batch", "everything"])
def test_merged_shapes_are_those_of_keras(name: str, kwargs: dict[str, Any], shapes: Shapes, unknown: str):
    ours, theirs = pair(name, kwargs)
    if unknown == "everything":
        shapes = [(None,) * len(shape) for shape in shapes]
    elif unknown != "nothing":
        hidden = [(None, *shape[1:]) for shape in shapes]
        shapes = [hidden[0], *(hidden if unknown == "batch" else shapes)[1:]]
    if unknown == "first batch" and name in ("Concatenate", "Dot"):
        return  # Keras takes the first shape's batch size though it is None; ours takes the one that is known
    assert ours.compute_output_shape(shapes) == tuple(theirs.compute_output_shape(shapes))


@pytest.mark.parametrize(("name", "kwargs"), MASK_CASES)
@pytest.mark.parametrize("masked", ["both", "first", "second", "neither"])
def test_masks_and_what_they_do_to_values_are_those_of_keras(name: str, kwargs: dict[str, Any], masked: str):
    ours, theirs = pair(name, kwargs)
    inputs = arrays([(4, 6, 3), (4, 6, 3)])
    masks = np.random.default_rng(1).random((2, 4, 6)) > 0.5
    given = [
        torch.from_numpy(mask) if masked in ("both", which) else None
        for mask, which in zip(masks, ("first", "second"), strict=True)
    ]
    mine = ours([set_mask(torch.tensor(x), mask) for x, mask in zip(inputs, given, strict=True)])
    tensors = [torch.tensor(x) for x in inputs]
    for tensor, mask in zip(tensors, given, strict=True):
        if mask is not None:
            keras.src.backend.set_keras_mask(tensor, mask)
    its = theirs(tensors)
    np.testing.assert_allclose(mine.numpy(), its.numpy(), rtol=1e-5, atol=1e-5)
    expected = keras.src.backend.get_keras_mask(its)
    assert (get_mask(mine) is None) == (expected is None)
    if expected is not None:
        np.testing.assert_array_equal(get_mask(mine).numpy(), expected.numpy())


@pytest.mark.parametrize("name", [*(name.lower() for name in ELEMENTWISE), "concatenate", "dot"])
def test_the_functions_are_those_of_keras(name: str):
    inputs = arrays([(4, 3), (4, 3)])
    ours = getattr(merging if hasattr(merging, name) else joining, name)([torch.tensor(x) for x in inputs])
    theirs = getattr(keras.layers, name)([torch.tensor(x) for x in inputs])
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "kwargs"), MASK_CASES)
def test_the_config_is_that_of_keras(name: str, kwargs: dict[str, Any]):
    ours, theirs = pair(name, kwargs)
    plain = {"activity_regularizer": None, "autocast": True}  # Keras leaves them out
    assert {**plain, **ours.get_config()} == {**plain, **theirs.get_config(), "dtype": "float32", "name": ours.name}
    assert type(ours).from_config(ours.get_config()).get_config() == ours.get_config()
