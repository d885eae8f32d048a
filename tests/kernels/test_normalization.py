"""Normalization kernels against NumPy and torch.nn, and that channels-last data are not copied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.errors import ShapeError
from lamina.kernels import normalization as kernels

SHAPES_AND_AXES = [
    ((6, 3), -1),
    ((6, 3), 1),
    ((4, 5, 3), -1),
    ((4, 3, 5), 1),
    ((4, 5, 2, 3), -1),
    ((4, 3, 5, 2), 1),
    ((4, 2, 3, 5), 2),
    ((2, 3, 2, 2, 3), -1),
    ((2, 2, 2, 2, 2, 3), 5),
]


class CopiesOf(TorchDispatchMode):
    """Records the operations that move data of at least `size` numbers without computing."""

    moving = ("clone", "copy_", "_to_copy", "contiguous", "cat")

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        big = isinstance(result, Tensor) and result.numel() >= self.size
        if big and str(func.overloadpacket).split(".")[-1] in self.moving:
            self.found.append(str(func))
        return result


def numpy_norm(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def along(values: Tensor, axis: int, rank: int) -> np.ndarray:
    shape = [1] * rank
    shape[axis] = -1
    return values.numpy().reshape(shape)


@pytest.mark.parametrize(("shape", "axis"), SHAPES_AND_AXES)
def test_batch_norm_takes_mean_and_variance_over_all_other_axes(shape: tuple[int, ...], axis: int):
    x = torch.randn(shape, dtype=torch.float64) * 3 + 1
    gamma, beta = torch.rand(shape[axis], dtype=torch.float64), torch.randn(shape[axis], dtype=torch.float64)
    y, mean, inverse = kernels.batch_norm_with_own_statistics(x, gamma, beta, axis, 1e-3)
    others = tuple(a for a in range(x.ndim) if a != axis % x.ndim)
    expected = numpy_norm(x.numpy(), others, 1e-3) * along(gamma, axis, x.ndim) + along(beta, axis, x.ndim)
    np.testing.assert_allclose(y.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(mean.numpy(), x.numpy().mean(others), atol=1e-12)
    np.testing.assert_allclose(kernels.variance_of(inverse, 1e-3).numpy(), x.numpy().var(others), atol=1e-12)
    again = kernels.batch_norm(x, mean, kernels.variance_of(inverse, 1e-3), gamma, beta, axis, 1e-3)
    np.testing.assert_allclose(again.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("shape", "axis"), SHAPES_AND_AXES)
def test_batch_norm_gradients_are_those_of_finite_differences(shape: tuple[int, ...], axis: int):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    gamma, beta = torch.rand(2, shape[axis], dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x, g, b: kernels.batch_norm_with_own_statistics(x, g, b, axis, 1e-3)[0], (x, gamma, beta)
    )


def test_a_batch_of_one_has_variance_zero():
    y, mean, inverse = kernels.batch_norm_with_own_statistics(torch.tensor([[3.0]]), None, None, -1, 1e-3)
    assert y.item() == pytest.approx(0.0, abs=1e-5) and mean.item() == 3.0
    assert kernels.variance_of(inverse, 1e-3).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("shape", [(64, 16), (8, 8, 16), (2, 8, 4, 16), (2, 2, 4, 4, 16), (2, 2, 2, 2, 4, 16)])
@pytest.mark.parametrize(
    "kernel",
    [
        lambda x: kernels.batch_norm_with_own_statistics(x, None, None, -1, 1e-3)[0],
        lambda x: kernels.batch_norm(x, x.new_zeros(16), x.new_ones(16), None, None, -1, 1e-3),
        lambda x: kernels.layer_norm(x, (x.ndim - 1,), None, None, 1e-3),
    ],
    ids=["training", "inference", "layer_norm"],
)
def test_channels_last_data_are_not_copied(kernel: Callable[[Tensor], Tensor], shape: tuple[int, ...]):
    x = torch.randn(shape, requires_grad=True)
    with CopiesOf(x.numel()) as copies:
        y = kernel(x)
        y.backward(torch.ones(shape))
    assert copies.found == []
    assert y.is_contiguous() and x.grad is not None and x.grad.is_contiguous()


def test_the_search_for_copies_finds_one():
    x = torch.randn(4, 8)
    with CopiesOf(x.numel()) as copies:
        x.t().contiguous()
    assert copies.found == ["aten.clone.default"]


@pytest.mark.parametrize(("gamma", "beta"), [(torch.ones(3), None), (None, torch.ones(3))])
def test_weights_for_another_number_of_channels_are_refused(gamma: Tensor | None, beta: Tensor | None):
    with pytest.raises(ShapeError, match=r"another number of channels(.|\n)*3 on axis -1(.|\n)*shape \(4, 5\)"):
        kernels.batch_norm_with_own_statistics(torch.ones(4, 5), gamma, beta, -1, 1e-3)
    with pytest.raises(RuntimeError, match="should contain 5 elements not 3"):
        kernels.batch_norm(torch.ones(4, 5), torch.zeros(5), torch.ones(5), gamma, beta, -1, 1e-3)


def test_masked_moments_are_those_of_the_kept_numbers():
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    mask = torch.rand(4, 5) > 0.4
    mean, variance = kernels.masked_moments(x, mask[..., None], -1, 0.0)
    kept = x.numpy()[mask.numpy()]
    np.testing.assert_allclose(mean.numpy().ravel(), kept.mean(0), atol=1e-12)
    np.testing.assert_allclose(variance.numpy().ravel(), kept.var(0), atol=1e-12)


def test_a_mask_that_keeps_nothing_gives_zeros():
    mean, variance = kernels.masked_moments(torch.randn(2, 3), torch.zeros(2, 1, dtype=torch.bool), -1, 1e-7)
    assert mean.abs().sum().item() == 0.0 and variance.abs().sum().item() == 0.0


def test_renorm_correction_is_clipped_on_every_side():
    mean, stddev = torch.tensor([0.0, 9.0, -9.0]), torch.tensor([0.1, 1.0, 9.0])
    one, zero = torch.ones(3), torch.zeros(3)
    limits = {"rmin": 0.5, "rmax": 3.0, "dmax": 2.0}
    r, d = kernels.renorm_correction(mean, stddev, zero, one, 0.0, limits)
    assert r.tolist() == [0.5, 1.0, 3.0] and d.tolist() == [0.0, 2.0, -2.0]
    r, d = kernels.renorm_correction(mean, stddev, zero, zero, 0.25, {})  # never divides by less than sqrt(0.25)
    torch.testing.assert_close(r, stddev * 2)
    torch.testing.assert_close(d, mean * 2)


@pytest.mark.parametrize("axes", [(3,), (2, 3), (1, 2, 3), (1,), (1, 3), (0, 2)])
def test_layer_norm_over_any_axes_is_that_of_numpy(axes: tuple[int, ...]):
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    sizes = tuple(x.shape[axis] for axis in axes)
    gamma, beta = torch.rand(sizes, dtype=torch.float64), torch.randn(sizes, dtype=torch.float64)
    broad = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    expected = numpy_norm(x.numpy(), axes, 1e-3) * gamma.numpy().reshape(broad) + beta.numpy().reshape(broad)
    np.testing.assert_allclose(kernels.layer_norm(x, axes, gamma, beta, 1e-3).numpy(), expected, atol=1e-12)
    assert kernels.layer_norm(x, axes, None, None, 1e-3).shape == x.shape


@pytest.mark.parametrize("axes", [(2,), (1, 2), (1,), (0, 2)])
def test_variance_norm_and_rms_norm_over_any_axes_are_those_of_numpy(axes: tuple[int, ...]):
    x = torch.randn(3, 4, 5, dtype=torch.float64)
    values = x.numpy()
    scale = torch.rand([x.shape[axis] for axis in axes], dtype=torch.float64)
    broad = scale.numpy().reshape([size if axis in axes else 1 for axis, size in enumerate(x.shape)])
    by_variance = values / np.sqrt(values.var(axes, keepdims=True) + 0.1) * broad
    by_square = values / np.sqrt((values**2).mean(axes, keepdims=True) + 0.1) * broad
    np.testing.assert_allclose(kernels.variance_norm(x, axes, scale, 0.1).numpy(), by_variance, atol=1e-12)
    np.testing.assert_allclose(kernels.rms_norm(x, axes, scale, 0.1).numpy(), by_square, atol=1e-12)
    assert not torch.equal(kernels.variance_norm(x, axes, None, 0.1), kernels.rms_norm(x, axes, None, 0.1))


@pytest.mark.parametrize(("shape", "axis"), [((4, 6), -1), ((4, 5, 6), -1), ((4, 6, 5), 1), ((2, 3, 4, 6), -1)])
@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm_is_that_of_torch_nn(shape: tuple[int, ...], axis: int, groups: int):
    x = torch.randn(shape)
    module = torch.nn.GroupNorm(groups, 6, eps=1e-3)
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    expected = module(x.movedim(axis, 1)).movedim(1, axis)
    torch.testing.assert_close(kernels.group_norm(x, groups, module.weight, module.bias, axis, 1e-3), expected)


@pytest.mark.parametrize("axis", [-1, 1])
def test_scale_and_shift_are_optional(axis: int):
    x, gamma, beta = torch.randn(2, 3, 3), torch.rand(3), torch.rand(3)
    g, b = torch.from_numpy(along(gamma, axis, 3)), torch.from_numpy(along(beta, axis, 3))
    torch.testing.assert_close(kernels.scale_and_shift(x, gamma, beta, axis), x * g + b)
    torch.testing.assert_close(kernels.scale_and_shift(x, None, beta, axis), x + b)
    assert kernels.scale_and_shift(x, None, None, axis) is x


@pytest.mark.parametrize("shape, axis", [((4, 3, 3, 8), -1), ((4, 5, 8), -1), ((4, 8, 3, 3), 1), ((4, 8), -1)])
def test_group_norm_has_gradients_where_its_weights_alone_want_them(shape, axis):
    """Torch's own kernel crashes then: the process ends with a segmentation fault."""
    torch.manual_seed(0)
    x, gamma, beta = torch.randn(shape), torch.randn(8, requires_grad=True), torch.randn(8, requires_grad=True)
    weight = torch.randn(shape)
    (kernels.group_norm(x, 2, gamma, beta, axis, 1e-3) * weight).sum().backward()
    again = [t.detach().double().requires_grad_() for t in (gamma, beta)]
    moved = x.double().movedim(axis, 1).contiguous().requires_grad_()
    y = torch.nn.functional.group_norm(moved, 2, *again, 1e-3).movedim(1, axis)
    (y * weight).sum().backward()
    for found, expected in zip((gamma, beta), again, strict=True):
        torch.testing.assert_close(found.grad, expected.grad.float(), rtol=1e-4, atol=1e-4)
