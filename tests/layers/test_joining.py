"""Concatenate and Dot: values, masks, shapes and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.input import Input
from lamina.layers.joining import Concatenate, Dot, concatenate, dot
from lamina.models import Model


def steps(mask: list[bool], features: int = 2) -> torch.Tensor:
    return set_mask(torch.randn(1, len(mask), features), torch.tensor([mask]))


# Concatenate


@pytest.mark.parametrize("axis", [-1, 1, 2, -2, 0])
def test_concatenate_is_that_of_numpy(axis: int):
    shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    for grow, shape in enumerate(shapes):
        shape[axis] += grow
    xs = [torch.randn(shape) for shape in shapes]
    expected = np.concatenate([x.numpy() for x in xs], axis)
    np.testing.assert_array_equal(Concatenate(axis)(xs).numpy(), expected)
    if axis:
        symbolic = Concatenate(axis)([Input(shape[1:]) for shape in shapes])
        assert symbolic.shape == (None, *expected.shape[1:])


def test_sizes_that_are_not_known_join_to_one_that_is_not_known():
    assert Concatenate(1)([Input((None, 4)), Input((3, 4))]).shape == (None, None, 4)
    assert Concatenate()([Input((None, 4)), Input((3, 4))]).shape == (None, 3, 8)


def test_masks_are_joined_along_the_axis_of_steps():
    y = Concatenate(1)([steps([True, False]), steps([False, True, True])])
    assert get_mask(y).tolist() == [[True, False, False, True, True]]
    y = Concatenate(1)([steps([True, False]), torch.ones(1, 2, 2)])
    assert get_mask(y).tolist() == [[True, False, True, True]]


def test_along_features_a_step_counts_where_any_input_counts_it():
    y = Concatenate()([steps([True, False, False]), steps([False, True, False])])
    assert get_mask(y).tolist() == [[True, True, False]]
    y = Concatenate()([steps([True, False]), torch.ones(1, 2, 3)])
    assert get_mask(y).tolist() == [[True, True]]
    assert get_mask(Concatenate()([torch.ones(1, 2), torch.ones(1, 2)])) is None


@pytest.mark.parametrize(
    ("axis", "shapes"), [(-1, [(2, 3, 4), (2, 5, 4)]), (1, [(2, 3), (2, 3, 4)]), (3, [(2, 3), (2, 3)])]
)
def test_concatenate_names_the_shapes_that_it_cannot_join(axis: int, shapes: Any):
    with pytest.raises(ShapeError, match="Concatenate cannot join these shapes") as caught:
        Concatenate(axis)([torch.ones(shape) for shape in shapes])
    assert f"{shapes[0]} and {shapes[1]}" in str(caught.value)


@pytest.mark.parametrize("inputs", [torch.ones(2, 3), []])
def test_concatenate_takes_a_list(inputs: Any):
    with pytest.raises(ShapeError, match="Concatenate takes one list of tensors"):
        Concatenate()(inputs)


# Dot


@pytest.mark.parametrize(
    ("first", "second", "axes", "formula"),
    [
        ((2, 3), (2, 3), 1, "bi,bi->b"),
        ((2, 3), (2, 3), -1, "bi,bi->b"),
        ((2, 3, 5), (2, 10, 3), (1, 2), "bik,bji->bkj"),
        ((2, 4, 5), (2, 6, 5), 2, "bik,bjk->bij"),
        ((2, 4, 5), (2, 4, 6), 1, "bik,bij->bkj"),
        ((2, 4, 5), (2, 5), (2, 1), "bik,bk->bi"),
        ((2, 5), (2, 4, 5), (-1, -1), "bk,bik->bi"),
        ((2, 3, 4, 5), (2, 6, 4), (2, 2), "bijk,bmj->bikm"),
        ((2, 3, 4, 5), (2, 5, 6, 7), (3, 1), "bijk,bkmn->bijmn"),
    ],
)
@pytest.mark.parametrize("normalize", [False, True])
def test_dot_is_that_of_einsum(first: Any, second: Any, axes: Any, formula: str, normalize: bool):
    x, y = torch.randn(first), torch.randn(second)
    a, b = axes if isinstance(axes, tuple) else (axes, axes)
    unit = [t / t.norm(dim=axis, keepdim=True) if normalize else t for t, axis in ((x, a), (y, b))]
    expected = torch.einsum(formula, *unit)
    expected = expected[:, None] if expected.ndim == 1 else expected
    torch.testing.assert_close(Dot(axes, normalize)([x, y]), expected)
    assert Dot(axes)([Input(first[1:]), Input(second[1:])]).shape == (None, *expected.shape[1:])


def test_dot_has_a_gradient_also_at_zero():
    x = torch.zeros(2, 3, requires_grad=True)
    Dot(1, normalize=True)([x, torch.ones(2, 3)]).sum().backward()
    assert bool(x.grad.isfinite().all())


def test_dot_hands_no_mask_on():
    assert get_mask(Dot(2)([steps([True, False]), steps([True, True])])) is None


@pytest.mark.parametrize("axes", [0, (0, 1), (1, 2, 3), "1", (1.0, 2), None, True])
def test_dot_refuses_axes_that_are_none(axes: Any):
    with pytest.raises(ArgumentError, match="Dot needs the axis to sum along"):
        Dot(axes)


@pytest.mark.parametrize(
    ("first", "second", "axes"),
    [
        ((2, 3), (2, 4), 1),
        ((2, 3), (3, 3), 1),
        ((2, 3), (2, 3), 2),
        ((2, 3, 4), (2, 3, 4), (1, 2)),
        ((2, 3), (2, 3), -2),
    ],
)
def test_dot_names_the_shapes_that_do_not_fit(first: Any, second: Any, axes: Any):
    words = f"Dot cannot sum these shapes along axes {axes}".replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ShapeError, match=words) as caught:
        Dot(axes)([torch.ones(first), torch.ones(second)])
    assert f"{first} and {second}" in str(caught.value)


@pytest.mark.parametrize("count", [1, 3])
def test_dot_takes_exactly_two(count: int):
    with pytest.raises(ShapeError, match="Dot takes a list of exactly 2 tensors"):
        Dot(1)([torch.ones(2, 3)] * count)


# Functions


def test_the_functions_are_new_layers():
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(concatenate([a, b], axis=1), torch.cat([a, b], 1))
    assert torch.equal(dot([a, b], axes=1, normalize=True), Dot(1, normalize=True)([a, b]))
    x, y = Input((3,)), Input((3,))
    merged = concatenate([dot([x, y], axes=1), x], name="joined")
    assert merged.node.op.name == "joined" and merged.shape == (None, 4)
    assert Model([x, y], merged)([a, b]).shape == (2, 4)
