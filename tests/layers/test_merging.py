"""Add, Subtract, Multiply, Average, Maximum, Minimum: values, masks, and their functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.engine.masking import get_mask, set_mask
from lamina.errors import ShapeError
from lamina.layers import merging
from lamina.layers.input import Input
from lamina.layers.merging import Add, Average, Maximum, Minimum, Multiply, Subtract
from lamina.models import Model

PAIRS: list[tuple[Any, Any]] = [
    (Add, np.add),
    (Subtract, np.subtract),
    (Multiply, np.multiply),
    (Average, lambda a, b: (a + b) / 2),
    (Maximum, np.maximum),
    (Minimum, np.minimum),
]
MANY = [
    (Add, lambda s: s.sum(0)),
    (Multiply, lambda s: s.prod(0)),
    (Average, lambda s: s.mean(0)),
    (Maximum, lambda s: s.max(0)),
    (Minimum, lambda s: s.min(0)),
]
M1, M2 = torch.tensor([[True, True, False, False]]), torch.tensor([[True, False, True, False]])


class Calls(TorchDispatchMode):
    """Records every operation by name."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def masked(values: list[float], mask: torch.Tensor) -> torch.Tensor:
    return set_mask(torch.tensor(values).reshape(1, 4, 1), mask)


@pytest.mark.parametrize(("layer", "function"), PAIRS)
def test_two_tensors_are_merged_as_numpy_merges_them(layer: Any, function: Any):
    a, b = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    np.testing.assert_allclose(layer()([a, b]).numpy(), function(a.numpy(), b.numpy()), rtol=1e-6)
    np.testing.assert_allclose(layer()((a, b)).numpy(), function(a.numpy(), b.numpy()), rtol=1e-6)


@pytest.mark.parametrize(("layer", "function"), MANY)
def test_several_tensors_are_merged_as_numpy_merges_them(layer: Any, function: Any):
    stack = torch.randn(5, 2, 3)
    np.testing.assert_allclose(layer()(list(stack)).numpy(), function(stack.numpy()), rtol=1e-5)


@pytest.mark.parametrize(("layer", "function"), PAIRS)
@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 3, 4), (2, 3, 1)), ((2, 1, 4), (2, 3, 1)), ((2, 4), (2, 3, 4)), ((2, 5, 3, 4), (2, 1)), ((2, 3), (2,))],
)
def test_sizes_of_one_are_repeated_and_axes_are_put_in_after_the_batch(
    layer: Any, function: Any, first: tuple[int, ...], second: tuple[int, ...]
):
    a, b = torch.randn(first), torch.randn(second)
    rank = max(a.ndim, b.ndim)
    wide = [x.numpy().reshape(len(x), *(1,) * (rank - x.ndim), *x.shape[1:]) for x in (a, b)]
    np.testing.assert_allclose(layer()([a, b]).numpy(), function(*wide), rtol=1e-6)
    x, y = Input(first[1:]), Input(second[1:])
    assert layer()([x, y]).shape == (None, *function(*wide).shape[1:])


@pytest.mark.parametrize(("layer", "function"), PAIRS)
def test_inputs_are_never_changed(layer: Any, function: Any):
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    kept = a.clone(), b.clone()
    layer()([a, b])
    layer()([set_mask(a[..., None], torch.ones(2, 3) > 0), set_mask(b[..., None], torch.zeros(2, 3) > 0)])
    assert torch.equal(a, kept[0]) and torch.equal(b, kept[1])


def test_adding_two_tensors_is_one_operation():
    layer, a, b = Add(), torch.randn(2, 3), torch.randn(2, 3)
    layer([a, b])
    with Calls() as calls:
        layer([a, b])
    assert calls.names == ["aten.add.Tensor"]


@pytest.mark.parametrize(("layer", "function"), MANY)
def test_a_list_of_one_is_its_member(layer: Any, function: Any):
    x = torch.randn(2, 3)
    assert torch.equal(layer()([x]), x)


def test_gradients_reach_every_input():
    for layer, _ in PAIRS:
        a, b = torch.randn(4, 5, requires_grad=True), torch.randn(4, 1, requires_grad=True)
        (layer()([a, b]) ** 2).sum().backward()
        assert a.grad.shape == (4, 5) and b.grad.shape == (4, 1)
        assert float(a.grad.abs().sum()) > 0 and float(b.grad.abs().sum()) > 0


# Masks


@pytest.mark.parametrize("layer", [Add, Subtract, Multiply, Average, Maximum, Minimum])
def test_a_step_counts_where_any_input_counts_it(layer: Any):
    y = layer()([masked([1.0, 2.0, 3.0, 4.0], M1), masked([5.0, 6.0, 7.0, 8.0], M2)])
    assert get_mask(y).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("layer", [Add, Subtract, Multiply, Average, Maximum, Minimum])
def test_one_input_without_a_mask_leaves_none(layer: Any):
    y = layer()([masked([1.0, 2.0, 3.0, 4.0], M1), torch.ones(1, 4, 1)])
    assert get_mask(y) is None


def test_masked_steps_of_a_product_count_as_one():
    a, b = masked([2.0, 2.0, 2.0, 2.0], M1), masked([3.0, 3.0, 3.0, 3.0], M2)
    assert Multiply()([a, b]).flatten().tolist() == [6.0, 2.0, 3.0, 0.0]
    assert Multiply()([a, torch.full((1, 4, 1), 5.0)]).flatten().tolist() == [10.0, 10.0, 5.0, 5.0]


def test_masked_steps_are_neither_largest_nor_smallest():
    a, b = masked([9.0, 1.0, 9.0, 1.0], M1), masked([5.0, 5.0, 5.0, 5.0], M2)
    assert Maximum()([a, b]).flatten().tolist() == [9.0, 1.0, 5.0, 1.0]
    assert Minimum()([a, b]).flatten().tolist() == [5.0, 1.0, 5.0, 1.0]
    plain = torch.full((1, 4, 1), 4.0)
    assert Maximum()([plain, a]).flatten().tolist() == [9.0, 4.0, 4.0, 4.0]
    assert Minimum()([a, plain]).flatten().tolist() == [4.0, 1.0, 4.0, 4.0]
    assert Maximum()([a, plain, b]).flatten().tolist() == [9.0, 4.0, 5.0, 4.0]


def test_what_one_input_counts_is_not_forgotten_at_the_third():
    a, b = masked([1.0, 1.0, 9.0, 9.0], M1), masked([2.0, 9.0, 2.0, 9.0], M2)
    low = masked([0.0, 0.0, 0.0, 0.0], M1 | True)
    assert Maximum()([a, b, low]).flatten().tolist() == [2.0, 1.0, 2.0, 0.0]
    plain = torch.full((1, 4, 1), 4.0)
    assert Maximum()([plain, a, low]).flatten().tolist() == [4.0, 4.0, 4.0, 4.0]


# Dtypes and functions


def test_dtypes_are_promoted_as_torch_promotes_them():
    a, b = Input((3,), dtype="int64"), Input((3,), dtype="float32")
    assert Add()([a, a]).dtype is torch.int64 and Add()([a, b]).dtype is torch.float32
    assert Average()([a, a]).dtype is torch.float32
    assert Average()([torch.tensor([1]), torch.tensor([2])]).tolist() == [1.5]


@pytest.mark.parametrize("layer", [Add, Subtract, Multiply, Average, Maximum, Minimum])
def test_the_function_is_a_new_layer(layer: Any):
    name = layer.__name__.lower()
    a, b = torch.randn(2, 3), torch.randn(2, 3)
    assert torch.equal(getattr(merging, name)([a, b]), layer()([a, b]))
    x, y = Input((3,)), Input((3,))
    merged = getattr(merging, name)([x, y], name="merged")
    assert isinstance(merged.node.op, layer) and merged.node.op.name == "merged"
    assert torch.equal(Model([x, y], merged)([a, b]), layer()([a, b]))


# Errors


@pytest.mark.parametrize("layer", [Add, Subtract, Multiply, Average, Maximum, Minimum])
def test_shapes_that_cannot_be_merged_are_both_named(layer: Any):
    words = rf"{layer.__name__} cannot merge these shapes(.|\n)*\(2, 3\) and \(2, 4\)"
    with pytest.raises(ShapeError, match=words):
        layer()([torch.ones(2, 3), torch.ones(2, 4)])
    built = layer()
    built([torch.ones(2, 3), torch.ones(2, 3)])
    with pytest.raises(ShapeError, match=words):
        built([torch.ones(2, 3), torch.ones(2, 4)])
    with pytest.raises(ShapeError, match=r"\(None, 3\) and \(None, 4\)"):
        built([Input((3,)), Input((4,))])


def test_different_batch_sizes_are_refused_though_one_is_one():
    with pytest.raises(ShapeError, match=r"equal batch sizes(.|\n)*\(1, 3\) and \(2, 3\)"):
        Add()([torch.ones(1, 3), torch.ones(2, 3)])


@pytest.mark.parametrize("inputs", [torch.ones(2, 3), [], {"a": torch.ones(2, 3)}])
def test_an_input_that_is_no_list_is_refused(inputs: Any):
    with pytest.raises(ShapeError, match=r"Add takes one list of tensors(.|\n)*Add\(\)\(\[x, y\]\)"):
        Add()(inputs)


@pytest.mark.parametrize("count", [1, 3])
def test_subtract_takes_exactly_two(count: int):
    with pytest.raises(ShapeError, match=r"exactly 2 tensors(.|\n)*received: +" + str(count)):
        Subtract()([torch.ones(2, 3)] * count)


def test_a_tensor_without_axes_is_refused():
    with pytest.raises(ShapeError, match="Add merges tensors with a batch axis"):
        Add()([torch.tensor(1.0), torch.tensor(2.0)])
