"""Batch normalization of bfloat16, its sum at inference, and its second derivatives, in lamina's own kernel."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from lamina.kernels import native
from lamina.kernels.batch_statistics import normalization, reference, scaled_sum, suits

pytestmark = pytest.mark.usefixtures("normalization")

EPSILON = 1e-3
CHANNELS = (1, 3, 16, 17, 70)
ROWS = (1, 2, 31, 33, 1000)


def grid(*axes: Any) -> list[tuple[Any, ...]]:
    return list(itertools.product(*axes))


def leaves_for(rows: int, channels: int, residual: bool, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """What the normalization takes; weights are float32 whatever the rest is."""
    found: dict[str, Any] = {
        "x": (torch.randn(rows, channels) * 2 + 0.5).to(dtype),
        "gamma": torch.randn(channels) + 0.5,
        "beta": torch.randn(channels),
        "residual": torch.randn(rows, channels).to(dtype) if residual else None,
    }
    return {name: None if leaf is None else leaf.requires_grad_() for name, leaf in found.items()}


def exact(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, residual: Tensor | None, relu: bool, epsilon: float = EPSILON
) -> Tensor:
    """The definition, in double precision."""
    x = x.double()
    y = (x - x.mean(0)) * (x.var(0, unbiased=False) + epsilon).rsqrt()
    y = y if gamma is None else y * gamma.double()
    y = y if beta is None else y + beta.double()
    y = y if residual is None else y + residual.double()
    return torch.relu(y) if relu else y


def gradients(y: Tensor, leaves: dict[str, Any], upstream: Tensor) -> dict[str, Tensor]:
    wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
    return dict(zip(wanted, torch.autograd.grad(y, list(wanted.values()), upstream.to(y.dtype)), strict=True))


def expect_close(found: Tensor, wanted: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """Equal but for the rounding of sums in single precision and, of bfloat16, that of the result."""
    scale = max(1.0, wanted.abs().max().item())
    short = 2.0**-8 if wanted.dtype is torch.float64 else 2.0**-7  # a gradient of bfloat16 is rounded on both sides
    rtol = 1e-4 if found.dtype is torch.float32 else short
    assert found.dtype is dtype
    torch.testing.assert_close(found.double(), wanted.double(), rtol=rtol, atol=2e-5 * scale)


@pytest.mark.parametrize("rows, channels", grid(ROWS, CHANNELS))
@pytest.mark.parametrize("relu, residual", grid((False, True), (False, True)))
def test_values_and_gradients_of_bfloat16_are_those_of_the_rounded_numbers(rows, channels, relu, residual, threads):
    leaves = leaves_for(rows, channels, residual, torch.bfloat16)
    (y, mean, inverse), wanted = normalization(**leaves, relu=relu, epsilon=EPSILON), exact(**leaves, relu=relu)
    assert y.shape == wanted.shape and mean.dtype is inverse.dtype is torch.float32
    expect_close(y, wanted, torch.bfloat16)
    expect_close(mean, leaves["x"].double().mean(0))
    expect_close(inverse, (leaves["x"].double().var(0, unbiased=False) + EPSILON).rsqrt())
    # What single precision cannot tell from zero is left out of the comparison of gradients.
    certain = (exact(**leaves, relu=False).abs() > 1e-4) | (not relu)
    upstream = torch.randn(rows, channels).bfloat16() * certain
    found = gradients(y, leaves, upstream)
    for name, gradient in gradients(wanted, leaves, upstream).items():
        assert found[name].shape == leaves[name].shape, name
        expect_close(found[name], gradient, leaves[name].dtype)


def test_a_gradient_of_bfloat16_may_have_any_layout_in_memory():
    leaves = leaves_for(33, 17, True, torch.bfloat16)
    leaves["x"] = torch.randn(17, 33).bfloat16().t().requires_grad_()
    leaves["residual"] = torch.randn(1, 17).bfloat16().expand(33, 17).requires_grad_()
    upstream = torch.randn(17, 33).bfloat16().t()
    found = gradients(normalization(**leaves, relu=False, epsilon=EPSILON)[0], leaves, upstream)
    for name, gradient in gradients(exact(**leaves, relu=False), leaves, upstream).items():
        expect_close(found[name], gradient, leaves[name].dtype)


def test_a_nan_of_bfloat16_spoils_its_channel_and_no_other(threads):
    leaves = leaves_for(100, 17, True, torch.bfloat16)
    with torch.no_grad():
        leaves["x"][70, 4] = torch.nan
        leaves["residual"][3, 16] = torch.nan
    y = normalization(**leaves, relu=True, epsilon=EPSILON)[0]
    assert bool(y[:, 4].isnan().all()) and bool(y[3, 16].isnan()) and int(y.isnan().sum()) == 101


@pytest.mark.parametrize("gamma", [0.0, -1.5, 1e-30, 2.0])
@pytest.mark.parametrize("beta", [0.0, -0.5, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("residual", [False, True])
def test_a_gradient_comes_through_relu_where_the_result_is_above_zero_and_nowhere_else(gamma, beta, dtype, residual):
    """With nothing added the kernel computes again what ReLU let through: it must find what the result says."""
    leaves = leaves_for(1000, 17, residual, dtype)
    leaves["gamma"], leaves["beta"] = torch.full((17,), gamma), torch.full((17,), beta).requires_grad_()
    with torch.no_grad():
        leaves["x"][::3] = leaves["x"][0]  # the same numbers again, some of them about the mean
        leaves["x"][:, 4] = 2.0  # a channel without variance
    y = normalization(**leaves, relu=True, epsilon=EPSILON)[0]
    found = gradients(y, leaves, torch.ones_like(y))
    assert torch.equal(found["beta"], (y > 0).sum(0).float())
    if residual:
        assert torch.equal(found["residual"], (y > 0).to(dtype))


def test_a_result_of_exactly_zero_lets_no_gradient_through():
    x = torch.tensor([[-1.0], [0.0], [1.0]]).requires_grad_()  # whose mean is exactly zero
    beta = torch.zeros(1, requires_grad=True)
    for gamma, residual in grid((None, torch.ones(1), -torch.ones(1)), (None, torch.zeros(3, 1))):
        y = normalization(x, gamma, beta, residual, True, EPSILON)[0]
        assert torch.autograd.grad(y.sum(), beta)[0].item() == 1.0
        assert int((y > 0).sum()) == 1


@pytest.mark.parametrize("rows, channels", grid(ROWS, CHANNELS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_scaled_sum_is_its_definition(rows, channels, dtype, threads):
    x, scale, shift = torch.randn(rows, channels).to(dtype), torch.randn(channels), torch.randn(channels)
    for residual, relu in grid((None, torch.randn(rows, channels).to(dtype)), (False, True)):
        wanted = x.double() * scale.double() + shift.double()
        wanted = wanted if residual is None else wanted + residual.double()
        found = scaled_sum(x, scale, shift, residual, relu)
        assert found.shape == x.shape and found.is_contiguous()
        expect_close(found, wanted.relu() if relu else wanted, dtype)


@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 6, 7, 17), (17,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_scaled_sum_takes_any_axes_and_any_layout_in_memory(shape, dtype):
    x = torch.randn(shape[::-1]).to(dtype).permute(*reversed(range(len(shape))))
    residual = torch.randn(shape[-1]).to(dtype).expand(shape)
    scale, shift = torch.randn(shape[-1]), torch.randn(shape[-1])
    wanted = x.double() * scale.double() + shift.double() + residual.double()
    expect_close(scaled_sum(x, scale, shift, residual, False), wanted, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_nan_stays_where_it_is_in_a_scaled_sum(dtype, threads):
    x, residual = torch.randn(40, 17).to(dtype), torch.randn(40, 17).to(dtype)
    x[3, 4], residual[7, 16] = torch.nan, torch.nan
    for relu in (False, True):
        found = scaled_sum(x, torch.ones(17), torch.zeros(17), residual, relu)
        assert found.isnan().nonzero().tolist() == [[3, 4], [7, 16]]


@pytest.mark.parametrize("relu, residual", grid((False, True), (False, True)))
@pytest.mark.parametrize("weights", [("gamma", "beta"), ("gamma",), ()])
def test_a_gradient_penalty_has_the_gradients_of_plain_torch(relu, residual, weights):
    leaves = leaves_for(40, 17, residual)
    for name in {"gamma", "beta"} - set(weights):
        leaves[name] = None

    def penalty(y: Tensor) -> dict[str, Tensor]:
        wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None}
        slopes = torch.autograd.grad(y.sin().sum(), list(wanted.values()), create_graph=True)
        total = sum(slope.square().sum() for slope in slopes)
        return dict(zip(wanted, torch.autograd.grad(total, list(wanted.values())), strict=True))

    found = penalty(normalization(**leaves, relu=relu, epsilon=EPSILON)[0])
    for name, gradient in penalty(exact(**leaves, relu=relu)).items():
        assert bool(gradient.any()), name
        scale = max(1.0, gradient.abs().max().item())
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("relu, residual", grid((False, True), (False, True)))
def test_a_gradient_penalty_on_bfloat16_is_near_that_of_plain_torch(relu, residual):
    leaves = leaves_for(200, 17, residual, torch.bfloat16)
    upstream = torch.randn(200, 17).bfloat16()

    def penalty(y: Tensor) -> list[Tensor]:
        (slope,) = torch.autograd.grad(y, leaves["x"], upstream.to(y.dtype), create_graph=True)
        return list(torch.autograd.grad(slope.double().square().sum(), [leaves["x"], leaves["gamma"]]))

    found = penalty(normalization(**leaves, relu=relu, epsilon=EPSILON)[0])
    for a, b in zip(found, penalty(exact(**leaves, relu=relu)), strict=True):
        assert a.dtype is b.dtype
        similar = torch.nn.functional.cosine_similarity(a.double().flatten(), b.double().flatten(), 0)
        assert similar > 0.999 and a.double().norm() / b.double().norm() == pytest.approx(1.0, abs=0.02)


def test_the_reference_is_the_definition():
    leaves = {name: leaf.detach().double() for name, leaf in leaves_for(40, 17, True).items()}
    x, gamma, beta, _ = leaves.values()
    for scale, shift in grid((None, gamma), (None, beta)):
        torch.testing.assert_close(reference(x, scale, shift, EPSILON), exact(x, scale, shift, None, False))


class TestSuits:
    x, gamma = torch.zeros(4, 17), torch.ones(17)
    short = x.bfloat16()

    def test_it_takes_bfloat16_with_and_without_autocast(self):
        assert suits(self.short, self.gamma, None, self.short) and suits(self.short, None, None, None)
        with torch.autocast("cpu", torch.bfloat16):
            assert suits(self.short, self.gamma, self.gamma, None)

    def test_it_takes_single_precision_outside_of_autocast_only(self):
        assert suits(self.x, self.gamma, self.gamma, self.x)
        with torch.autocast("cpu", torch.bfloat16):
            assert not suits(self.x, self.gamma, self.gamma, self.x)

    def test_it_refuses_mixtures(self):
        assert not suits(self.short, self.gamma, None, self.x) and not suits(self.x, self.gamma, None, self.short)
        assert not suits(self.short, self.gamma.bfloat16(), None, None)
        assert not suits(self.short, self.gamma, self.gamma.double(), None)

    def test_it_refuses_other_dtypes_and_devices(self):
        for other in (self.x.double(), self.x.half(), self.x.to("meta"), self.short.to("meta")):
            assert not suits(other, None, None, None)

    def test_it_refuses_everything_where_kernels_are_switched_off(self):
        with native.switched_off():
            assert not suits(self.x, None, None, None) and not suits(self.short, None, None, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("residual", [False, True])
def test_the_operators_keep_torchs_rules(dtype, residual):
    leaves = {name: None if leaf is None else leaf.detach() for name, leaf in leaves_for(9, 5, residual, dtype).items()}
    checks = ["test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic"]
    for operation, settings in (("scaled_sum", (True,)), ("normalization", (True, EPSILON))):
        arguments = (*leaves.values(), *settings)
        found = torch.library.opcheck(getattr(torch.ops.lamina, operation).default, arguments, test_utils=checks)
        assert set(found.values()) == {"SUCCESS"}
