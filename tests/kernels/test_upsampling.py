"""Upsampling against NumPy and torch's own interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from lamina.kernels.upsampling import upsample

SIZES = {1: (5,), 2: (4, 5), 3: (2, 3, 4)}


def repeated(x: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    for axis, factor in enumerate(factors, start=1):
        x = np.repeat(x, factor, axis=axis)
    return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("factors", [(2,), (3,), (2, 3), (1, 4), (2, 1, 3)])
def test_nearest_repeats_every_value_and_keeps_the_dtype(factors: tuple[int, ...], dtype: torch.dtype):
    x = torch.randint(0, 100, (2, *SIZES[len(factors)], 3)).to(dtype)
    found = upsample(x, factors)
    assert found.dtype is dtype
    expected = repeated(x.to(torch.float32).numpy(), factors)
    np.testing.assert_array_equal(found.to(torch.float32).numpy(), expected)
    first = upsample(x.movedim(-1, 1), factors, "channels_first")
    np.testing.assert_array_equal(first.movedim(1, -1).to(torch.float32).numpy(), expected)


@pytest.mark.parametrize("factor", [3, 7, 29, 41, 47, 49])
def test_no_factor_makes_nearest_slip_to_a_neighbour(factor: int):
    x = torch.arange(1000.0).view(1, 1000, 1)
    assert torch.equal(upsample(x, (factor,)), x.repeat_interleave(factor, dim=1))


def test_the_gradient_of_nearest_is_the_sum_over_the_copies():
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    weights = torch.randn(2, 6, 12, 5)
    (upsample(x, (2, 3)) * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights.view(2, 3, 2, 4, 3, 5).sum((2, 4)))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_smooth_interpolation_is_that_of_torch(mode: str):
    x = torch.randn(2, 4, 5, 3)
    expected = F.interpolate(x.movedim(-1, 1), (8, 15), mode=mode).movedim(1, -1)
    torch.testing.assert_close(upsample(x, (2, 3), interpolation=mode), expected)


def test_whole_numbers_are_rounded_after_interpolation():
    x = torch.tensor([0, 100], dtype=torch.uint8).view(1, 1, 2, 1)
    found = upsample(x, (1, 2), interpolation="bilinear")
    assert found.dtype is torch.uint8
    assert found.flatten().tolist() == [0, 25, 75, 100]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_channels_last_data_are_not_copied_on_the_way_and_stay_contiguous(mode: str):
    x = torch.randn(2, 8, 8, 4)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        y = upsample(x, (2, 2), interpolation=mode)
    names = [event.name for event in profiler.events()]
    assert any("upsample" in name for name in names)
    assert [n for n in names if any(word in n for word in ("copy", "clone", "contiguous"))] == []
    assert y.is_contiguous()
