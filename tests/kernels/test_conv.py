"""Convolutions against torch.nn.functional and NumPy, and what they copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from lamina.engine.weights import in_memory_order
from lamina.kernels import native
from lamina.kernels.conv import conv, conv_transpose, depthwise_conv
from lamina.kernels.windows import extent, same_padding

SIZES = {1: (9,), 2: (9, 8), 3: (5, 6, 7)}
COPIES = ("copy", "clone", "contiguous", "constant_pad")


class Dispatched(TorchDispatchMode):
    """Keeps the name of every operation that runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def copies_in(function: Callable[[], torch.Tensor]) -> list[str]:
    """The operations of `function` that copy, those inside torch's own kernels included."""
    function()
    with Dispatched() as dispatched:
        function()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        function()
    names = dispatched.names + [event.name for event in profiler.events()]
    assert any("conv" in name for name in names)
    return [name for name in names if any(word in name for word in COPIES)]


def kernel_of(*shape: int, first: int = -1) -> torch.Tensor:
    """A kernel in the order in memory that a layer gives it: axis `first`, then the others."""
    first %= len(shape)
    return in_memory_order(torch.randn(*shape), (first, *(a for a in range(len(shape)) if a != first)))


def by_definition(
    x: np.ndarray, kernel: np.ndarray, strides: Sequence[int], room: Sequence[tuple[int, int]], dilation: Sequence[int]
) -> np.ndarray:
    """A channels-last convolution, one member of the window after the other."""
    rank = kernel.ndim - 2
    x = np.pad(x, [(0, 0), *room, (0, 0)])
    counts = [(x.shape[i + 1] - extent(kernel.shape[i], dilation[i])) // strides[i] + 1 for i in range(rank)]
    y = np.zeros((x.shape[0], *counts, kernel.shape[-1]))
    for member in np.ndindex(kernel.shape[:rank]):
        cut = tuple(
            slice(m * d, m * d + (n - 1) * s + 1, s)
            for m, d, n, s in zip(member, dilation, counts, strides, strict=True)
        )
        y += x[(slice(None), *cut)] @ kernel[member]
    return y


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)])
@pytest.mark.parametrize("padding", ["valid", "same", "causal"])
def test_a_convolution_is_its_definition(rank: int, window: int, stride: int, dilation: int, padding: str):
    sizes = tuple(size + 5 for size in SIZES[rank])
    x, kernel = torch.randn(2, *sizes, 3), torch.randn(*(window,) * rank, 3, 4)
    room = {
        "valid": [(0, 0)] * rank,
        "same": [same_padding(size, window, stride, dilation) for size in sizes],
        "causal": [(extent(window, dilation) - 1, 0)] * rank,
    }[padding]
    expected = by_definition(x.numpy(), kernel.numpy(), (stride,) * rank, room, (dilation,) * rank)
    found = conv(x, kernel, None, (stride,) * rank, padding, dilation_rate=(dilation,) * rank)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-5)
    first = conv(x.movedim(-1, 1), kernel, None, (stride,) * rank, padding, "channels_first", (dilation,) * rank)
    np.testing.assert_allclose(first.movedim(1, -1).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_a_grouped_convolution_is_that_of_torch(rank: int, groups: int):
    x, kernel, bias = torch.randn(2, *SIZES[rank], 8), torch.randn(*(3,) * rank, 8 // groups, 12), torch.randn(12)
    function = (F.conv1d, F.conv2d, F.conv3d)[rank - 1]
    weight = kernel.permute(-1, -2, *range(rank))
    expected = function(x.movedim(-1, 1), weight, bias, padding=1, groups=groups).movedim(1, -1)
    found = conv(x, kernel, bias, (1,) * rank, "same", groups=groups)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [1, 2])
def test_a_depthwise_convolution_has_the_kernels_of_a_channel_side_by_side(rank: int):
    x, kernel, bias = torch.randn(2, *SIZES[rank], 3), torch.randn(*(3,) * rank, 3, 2), torch.randn(6)
    apart = [
        conv(x[..., c : c + 1], kernel[..., c : c + 1, :], bias[2 * c : 2 * c + 2], (2,) * rank, "same")
        for c in range(3)
    ]
    found = depthwise_conv(x, kernel, bias, (2,) * rank, "same")
    torch.testing.assert_close(found, torch.cat(apart, dim=-1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("window", [(1, 1), (2, 3), (3, 3), (4, 2), (5, 5)])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2), (4, 4)])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_transposed_convolution_is_the_gradient_of_the_plain_one(
    window: tuple[int, int], strides: tuple[int, int], padding: str
):
    kernel, x = torch.randn(*window, 4, 3), torch.randn(2, 3, 4, 3)
    y = conv_transpose(x, kernel, None, strides, padding)
    large = torch.zeros_like(y, requires_grad=True)
    small = conv(large, kernel, None, strides, padding)
    assert small.shape == x.shape
    (expected,) = torch.autograd.grad(small, large, x)
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_nothing_of_channels_last_data_is_copied_and_the_result_is_contiguous(rank: int, stride: int, groups: int):
    x, bias = torch.randn(2, *(9,) * rank, 8), torch.randn(16)
    kernel = kernel_of(*(3,) * rank, 8 // groups, 16)

    def run() -> torch.Tensor:
        return conv(x, kernel, bias, (stride,) * rank, "same", groups=groups)

    assert copies_in(run) == []
    assert run().is_contiguous()


@pytest.mark.parametrize("rank", [1, 2])
def test_nothing_is_copied_for_depthwise_and_pointwise_convolutions(rank: int):
    x, depthwise, pointwise = (
        torch.randn(2, *(9,) * rank, 8),
        in_memory_order(torch.randn(*(3,) * rank, 8, 2), (rank, rank + 1, *range(rank))),
        kernel_of(*(1,) * rank, 16, 4),
    )

    def run() -> torch.Tensor:
        y = depthwise_conv(x, depthwise, None, (2,) * rank, "same")
        return conv(y, pointwise, None, (1,) * rank, "valid")

    assert copies_in(run) == []
    assert run().is_contiguous()


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 1, "same"), (4, 2, "same"), (3, 2, "valid")])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_nothing_is_copied_for_a_transposed_convolution(rank: int, window: int, stride: int, padding: str):
    x, kernel = torch.randn(2, *(5,) * rank, 8), kernel_of(*(window,) * rank, 16, 8)

    def run() -> torch.Tensor:
        return conv_transpose(x, kernel, None, (stride,) * rank, padding)

    assert copies_in(run) == []
    assert run().is_contiguous() == (padding == "valid" or window != 3 or stride != 2)


def test_unequal_padding_costs_torch_one_copy_and_our_own_kernel_none():
    kernel = kernel_of(3, 3, 8, 16)

    def padded(size: int) -> list[str]:
        return copies_in(lambda: conv(torch.ones(1, size, size, 8), kernel, None, (2, 2), "same"))

    if native.library("convolution"):
        assert padded(9) == padded(8) == []
    with native.switched_off():
        assert padded(9) == []
        assert any("constant_pad_nd" in name for name in padded(8))


def test_the_gradient_of_the_kernel_has_its_order_in_memory():
    kernel = kernel_of(3, 3, 4, 8).requires_grad_()
    conv(torch.randn(2, 6, 6, 4), kernel, None, (1, 1), "same").square().sum().backward()
    assert kernel.grad is not None
    assert kernel.grad.stride() == kernel.stride()
