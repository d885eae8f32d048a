"""Flatten, Reshape, Permute and RepeatVector: values, shapes, dtypes, memory and errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lamina.errors import ArgumentError, ShapeError
from lamina.layers.input import Input
from lamina.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from lamina.models import Model

X = torch.arange(24.0).reshape(2, 3, 4)


def test_flatten_keeps_the_order_of_the_numbers():
    assert Flatten()(X).tolist() == [list(range(12)), list(range(12, 24))]
    assert Flatten()(torch.arange(3)).tolist() == [[0], [1], [2]]
    assert torch.equal(Flatten()(X[:, 0]), X[:, 0])


def test_flatten_of_channels_first_data_is_that_of_the_same_data_with_channels_last():
    images = torch.randn(2, 5, 4, 3)
    assert torch.equal(Flatten("channels_first")(images.movedim(-1, 1)), Flatten()(images))
    assert torch.equal(Flatten("channels_first")(X[:, 0]), X[:, 0])


def test_flatten_and_reshape_and_permute_move_no_data():
    for layer in (Flatten(), Reshape((4, 3)), Permute((2, 1)), RepeatVector(5)):
        x = X[:, 0].contiguous() if isinstance(layer, RepeatVector) else X
        assert layer(x).untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


@pytest.mark.parametrize("target", [(12,), (4, 3), (2, 3, 2), (-1,), (2, -1), (-1, 2, 3), 12, [3, 4]])
def test_reshape_is_that_of_numpy(target: Any):
    sizes = target if isinstance(target, (tuple, list)) else (target,)
    expected = torch.from_numpy(X.numpy().reshape(2, *sizes))
    assert torch.equal(Reshape(target)(X), expected)


def test_reshape_of_an_empty_batch_knows_its_sizes():
    assert Reshape((-1, 2))(torch.ones(0, 6)).shape == (0, 3, 2)


@pytest.mark.parametrize("target", [(5,), (5, -1), (0, -1), (2, 6, 2)])
def test_reshape_refuses_another_count_of_numbers(target: Any):
    with pytest.raises(ShapeError, match=r"must keep the count of numbers(.|\n)*\(3, 4\), which holds 12"):
        Reshape(target)(X)
    with pytest.raises(ShapeError, match=r"must keep the count of numbers"):
        Reshape(target)(Input((3, 4)))


@pytest.mark.parametrize("target", [(-1, -1), (-2, 3), (1.5,), "12"])
def test_reshape_refuses_what_is_no_shape(target: Any):
    with pytest.raises(ArgumentError, match="Reshape cannot make this shape"):
        Reshape(target)


def test_permute_orders_the_axes():
    assert torch.equal(Permute((2, 1))(X), X.permute(0, 2, 1))
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(Permute((3, 1, 2))(x), x.permute(0, 3, 1, 2))


@pytest.mark.parametrize("dims", [(0, 1), (1, 1), (1, 3), (2, 1, 0), 2])
def test_permute_refuses_what_is_no_order(dims: Any):
    with pytest.raises(ArgumentError, match="Permute needs each axis once"):
        Permute(dims)


def test_repeat_vector_repeats():
    assert RepeatVector(3)(torch.tensor([[1, 2]])).tolist() == [[[1, 2]] * 3]


def test_repeat_vector_adds_up_the_gradients_of_its_steps():
    x = torch.ones(2, 3, requires_grad=True)
    RepeatVector(4)(x).sum().backward()
    assert x.grad.tolist() == [[4.0] * 3] * 2


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "2"])
def test_repeat_vector_refuses_a_count_that_is_none(n: Any):
    with pytest.raises(ArgumentError, match="RepeatVector needs n above zero"):
        RepeatVector(n)


def test_another_number_of_axes_is_refused():
    with pytest.raises(ShapeError, match="Permute cannot take this input"):
        Permute((2, 1))(torch.ones(2, 3))
    with pytest.raises(ShapeError, match="RepeatVector cannot take this input"):
        RepeatVector(2)(torch.ones(2, 3, 4))


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (Flatten(), (3, 4), (None, 12)),
        (Flatten(), (None, 4), (None, None)),
        (Flatten("channels_first"), (3, 4, 5), (None, 60)),
        (Reshape((4, 3)), (3, 4), (None, 4, 3)),
        (Reshape((-1, 2)), (3, 4), (None, 6, 2)),
        (Reshape((-1, 2)), (None, 4), (None, None, 2)),
        (Permute((2, 1)), (None, 4), (None, 4, None)),
        (RepeatVector(3), (4,), (None, 3, 4)),
        (RepeatVector(3), (None,), (None, 3, None)),
    ],
)
def test_symbolic_shapes_and_dtypes_are_those_of_a_run(layer: Any, shape: tuple[Any, ...], expected: tuple[Any, ...]):
    for dtype in ("float32", "int64", "bool"):
        x = Input(shape, dtype=dtype)
        y = layer(x)
        assert y.shape == expected and y.dtype is getattr(torch, dtype)
        result = Model(x, y)(torch.ones(2, *(4 if s is None else s for s in shape)).to(y.dtype))
        assert result.dtype is y.dtype
        assert all(size in (None, real) for size, real in zip(expected, result.shape, strict=True))
