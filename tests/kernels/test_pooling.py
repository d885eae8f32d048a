"""Pooling against windows taken one by one, and what it copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from lamina.kernels.pooling import average_pool, masked_average, max_pool
from lamina.kernels.windows import same_padding, window_count

SIZES = {1: [(1,), (7,), (8,)], 2: [(7, 8), (1, 5)], 3: [(4, 5, 6)]}
WINDOWS = [(2, 2), (3, 2), (2, 1), (3, 1), (4, 3), (2, 3), (5, 4)]  # window, stride


def windows_one_by_one(x: np.ndarray, window: int, stride: int, padding: str, reduce: Callable[..., Any]) -> np.ndarray:
    """`reduce` over the positions of each window that lie on the data, `(batch, *sizes, channels)`."""
    sizes = x.shape[1:-1]
    counts = [window_count(size, window, stride, padding) for size in sizes]
    before = [same_padding(size, window, stride)[0] if padding == "same" else 0 for size in sizes]
    y = np.zeros((x.shape[0], *counts, x.shape[-1]))
    for place in np.ndindex(*counts):
        starts = [p * stride - b for p, b in zip(place, before, strict=True)]
        cut = tuple(slice(max(0, start), start + window) for start in starts)
        y[(slice(None), *place)] = reduce(x[(slice(None), *cut)], axis=tuple(range(1, len(sizes) + 1)))
    return y


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("window", "stride"), WINDOWS)
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(("pool", "reduce"), [(max_pool, np.max), (average_pool, np.mean)])
def test_pooling_is_its_definition(pool: Any, reduce: Any, rank: int, window: int, stride: int, padding: str):
    for sizes in SIZES[rank]:
        if padding == "valid" and min(sizes) < window:
            continue
        # Below zero throughout, so that a zero from beyond the edge would be the largest value.
        x = torch.randn(2, *sizes, 3) - 9
        expected = windows_one_by_one(x.numpy(), window, stride, padding, reduce)
        arguments = (window,) * rank, (stride,) * rank, padding
        np.testing.assert_allclose(pool(x, *arguments).numpy(), expected, rtol=1e-5)
        first = pool(x.movedim(-1, 1).contiguous(), *arguments, "channels_first")
        np.testing.assert_allclose(first.movedim(1, -1).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_axes_may_have_windows_and_strides_of_their_own(pool: Any):
    x = torch.randn(2, 9, 6, 3)
    apart = pool(pool(x, (3, 1), (2, 1), "same"), (1, 2), (1, 1), "same")
    torch.testing.assert_close(pool(x, (3, 2), (2, 1), "same"), apart)


def test_the_gradient_of_an_average_is_shared_by_the_positions_that_count():
    x = torch.zeros(1, 5, 1, requires_grad=True)
    average_pool(x, (2,), (2,), "same").sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.5, 0.5, 0.5, 0.5, 1.0]


def test_the_gradient_of_a_maximum_goes_to_the_largest_value():
    x = torch.tensor([1.0, 3.0, 2.0, 0.0, 5.0]).view(1, 5, 1).requires_grad_()
    max_pool(x, (3,), (2,), "same").sum().backward()
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0.0, 2.0, 0.0, 0.0, 1.0]


def test_whole_numbers_have_a_maximum():
    x = torch.tensor([-5, -7, -3], dtype=torch.int64).view(1, 3, 1)
    assert max_pool(x, (2,), (2,), "same").flatten().tolist() == [-5, -3]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("window", "stride"), [(2, 2), (3, 2), (3, 1)])
@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_nothing_of_channels_last_data_is_copied_and_the_result_is_contiguous(
    pool: Any, rank: int, window: int, stride: int, padding: str
):
    x = torch.randn(2, *(8,) * rank, 4)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        y = pool(x, (window,) * rank, (stride,) * rank, padding)
    names = [event.name for event in profiler.events()]
    assert any("pool" in name for name in names)
    assert [n for n in names if any(word in n for word in ("copy", "clone", "contiguous", "pad_nd"))] == []
    assert y.is_contiguous()


@pytest.mark.parametrize("keepdims", [False, True])
def test_a_masked_average_is_numpys_average_with_weights(keepdims: bool):
    x, mask = torch.randn(3, 5, 2), torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    expected = np.stack([np.average(a, axis=0, weights=m) for a, m in zip(x.numpy(), mask.numpy(), strict=True)])
    found = masked_average(x, mask.unsqueeze(-1), 1, keepdims).numpy()
    np.testing.assert_allclose(found, expected[:, None] if keepdims else expected, rtol=1e-5, atol=1e-6)


def test_a_masked_step_may_hold_anything():
    x = torch.tensor([[1.0, float("nan"), 3.0]])
    assert masked_average(x, torch.tensor([[True, False, True]]), 1, False).tolist() == [2.0]
