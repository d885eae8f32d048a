"""Batch normalization in lamina's own kernel against its definition in double precision, and against torch's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kernel_checks import gradients
from torch import Tensor

from lamina.kernels import native
from lamina.kernels.batch_statistics import normalization
from lamina.kernels.normalization import batch_norm_with_own_statistics

pytestmark = pytest.mark.usefixtures("normalization")

EPSILON = 1e-3
CHANNELS = (1, 3, 16, 17, 70)
ROWS = (1, 2, 31, 33, 64, 1000)
WEIGHTS = [("gamma", "beta"), ("gamma",), ("beta",), ()]


def leaves_for(rows: int, channels: int, names: tuple[str, ...] = ("gamma", "beta", "residual")) -> dict[str, Any]:
    """What the normalization takes; with one row there is no variance, and the offset is all that is seen."""
    found: dict[str, Any] = {"x": torch.randn(rows, channels) * 2 + 0.5}
    found["gamma"] = torch.randn(channels) + 0.5 if "gamma" in names else None
    found["beta"] = torch.randn(channels) if "beta" in names else None
    found["residual"] = torch.randn(rows, channels) if "residual" in names else None
    return {name: None if leaf is None else leaf.requires_grad_() for name, leaf in found.items()}


def exact(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, residual: Tensor | None, relu: bool, epsilon: float = EPSILON
) -> tuple[Tensor, Tensor, Tensor]:
    """The definition, in double precision."""
    axes, x = tuple(range(x.dim() - 1)), x.double()
    mean = x.mean(axes)
    inverse = ((x - mean).square().mean(axes) + epsilon).rsqrt()
    y = (x - mean) * inverse
    y = y if gamma is None else y * gamma.double()
    y = y if beta is None else y + beta.double()
    y = y if residual is None else y + residual.double()
    return torch.relu(y) if relu else y, mean, inverse


def expect_close(found: Tensor, wanted: Tensor) -> None:
    """Equal but for the rounding of sums in single precision, measured by the largest number."""
    scale = max(1.0, wanted.abs().max().item())
    torch.testing.assert_close(found.double(), wanted.double(), rtol=1e-4, atol=2e-5 * scale)


def expect_equal(leaves: dict[str, Any], relu: bool) -> None:
    """The kernel's results and gradients are those of the definition."""
    found, wanted = normalization(**leaves, relu=relu, epsilon=EPSILON), exact(**leaves, relu=relu)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype is torch.float32 and a.shape == b.shape
        expect_close(a, b)
    of_found = gradients(found[0], leaves)
    for name, gradient in gradients(wanted[0], leaves).items():
        assert of_found[name].shape == leaves[name].shape, name
        expect_close(of_found[name], gradient)


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("relu", [False, True])
def test_every_size_gives_the_values_and_gradients_of_the_definition(rows, channels, relu, threads):
    expect_equal(leaves_for(rows, channels), relu)
    expect_equal(leaves_for(rows, channels, ("gamma", "beta")), relu)


@pytest.mark.parametrize("names", WEIGHTS)
@pytest.mark.parametrize("residual", [(), ("residual",)])
@pytest.mark.parametrize("relu", [False, True])
def test_gamma_beta_and_the_residual_may_each_be_left_out(names, residual, relu, threads):
    expect_equal(leaves_for(100, 19, (*names, *residual)), relu)


@pytest.mark.parametrize("wanted", [("x",), ("gamma",), ("beta",), ("residual",), ("gamma", "residual"), ("x", "beta")])
@pytest.mark.parametrize("relu", [False, True])
def test_gradients_may_be_wanted_of_some_inputs_only(wanted, relu):
    leaves = leaves_for(40, 17)
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanted)
    expect_equal(leaves, relu)


@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 6, 7, 17), (2, 3, 4, 5, 6)])
def test_all_axes_but_the_last_are_rows(shape):
    leaves = {
        "x": torch.randn(shape).requires_grad_(),
        "gamma": torch.randn(shape[-1]).requires_grad_(),
        "beta": torch.randn(shape[-1]).requires_grad_(),
        "residual": torch.randn(shape).requires_grad_(),
    }
    expect_equal(leaves, True)


def test_inputs_may_have_any_layout_in_memory():
    def turned(*shape: int) -> Tensor:
        found = torch.randn(shape[0], shape[3], shape[1], shape[2]).permute(0, 2, 3, 1)
        assert not found.is_contiguous() and found.shape == shape
        return found.requires_grad_()

    leaves = {"x": turned(2, 5, 6, 7), "gamma": torch.randn(7).requires_grad_(), "beta": None}
    expect_equal({**leaves, "residual": turned(2, 5, 6, 7)}, False)
    expect_equal({**leaves, "residual": turned(2, 5, 6, 7)}, True)
    expect_equal({**leaves, "residual": torch.randn(1, 5, 6, 7).expand(2, 5, 6, 7).requires_grad_()}, True)


def test_weights_may_have_any_layout_in_memory():
    leaves = leaves_for(40, 5)
    leaves["gamma"], leaves["beta"] = torch.randn(10)[::2].requires_grad_(), torch.randn(1).expand(5).requires_grad_()
    expect_equal(leaves, False)


@pytest.mark.parametrize("relu", [False, True])
def test_the_gradient_of_the_result_may_have_any_layout_in_memory(relu):
    leaves = leaves_for(40, 5)
    upstream = torch.randn(5, 40).t()
    found = torch.autograd.grad(normalization(**leaves, relu=relu, epsilon=EPSILON)[0], list(leaves.values()), upstream)
    wanted = torch.autograd.grad(exact(**leaves, relu=relu)[0], list(leaves.values()), upstream.double())
    for a, b in zip(found, wanted, strict=True):
        expect_close(a, b)


def test_the_residual_may_be_the_input_itself():
    x = torch.randn(50, 17, requires_grad=True)
    found = normalization(x, None, None, x, True, EPSILON)[0]
    wanted = exact(x, None, None, x, True)[0]
    expect_close(found, wanted)
    expect_close(gradients(found, {"x": x})["x"], gradients(wanted, {"x": x})["x"])


@pytest.mark.parametrize("rows, channels", [(31, 3), (1000, 17), (20000, 3)])
@pytest.mark.parametrize("center", [1e4, -1e4])
def test_a_mean_that_is_large_beside_the_deviation_costs_no_more_than_its_own_rounding(rows, channels, center, threads):
    """Of numbers about 1e4 single precision knows three digits behind the point; sums of squares would know none."""
    x = torch.randn(rows, channels) + center
    y, mean, inverse = normalization(x, None, None, None, False, EPSILON)
    wanted, exact_mean, exact_inverse = exact(x, None, None, None, False)
    torch.testing.assert_close(mean.double(), exact_mean, rtol=1e-6, atol=0.0)
    torch.testing.assert_close(inverse.double(), exact_inverse, rtol=2e-4, atol=0.0)
    torch.testing.assert_close(y.double(), wanted, rtol=1e-3, atol=2e-2)
    theirs = torch.native_batch_norm(x, None, None, None, None, True, 0.0, EPSILON)[0]
    assert (y - wanted).abs().max() <= 2.0 * (theirs - wanted).abs().max() + 1e-3


def test_statistics_carry_no_gradient():
    y, mean, inverse = normalization(**leaves_for(9, 4), relu=False, epsilon=EPSILON)
    assert y.requires_grad and not mean.requires_grad and not inverse.requires_grad


@pytest.mark.parametrize("relu", [False, True])
def test_without_gradients_the_values_are_the_same(relu):
    leaves = leaves_for(100, 17)
    wanted = normalization(**leaves, relu=relu, epsilon=EPSILON)
    with torch.no_grad():
        found = normalization(**leaves, relu=relu, epsilon=EPSILON)
    for a, b in zip(found, wanted, strict=True):
        assert torch.equal(a, b) and not a.requires_grad


def test_a_constant_channel_becomes_beta():
    x = torch.full((100, 3), 7.0)
    y, mean, inverse = normalization(x, torch.ones(3), torch.tensor([1.0, -2.0, 0.0]), None, False, EPSILON)
    torch.testing.assert_close(y, torch.tensor([1.0, -2.0, 0.0]).expand(100, 3), rtol=0, atol=1e-4)
    torch.testing.assert_close(mean, torch.full((3,), 7.0))
    torch.testing.assert_close(inverse, torch.full((3,), EPSILON**-0.5))


@pytest.mark.parametrize("relu", [False, True])
def test_a_nan_spoils_its_channel_and_no_other(relu, threads):
    leaves = leaves_for(100, 17)
    with torch.no_grad():
        leaves["x"][70, 4] = torch.nan
        leaves["residual"][3, 16] = torch.nan
    y, mean, inverse = normalization(**leaves, relu=relu, epsilon=EPSILON)
    assert bool(y[:, 4].isnan().all()) and bool(mean[4].isnan()) and bool(inverse[4].isnan())
    assert y.isnan().sum().item() == 101 and bool(y[3, 16].isnan())
    assert mean.isnan().sum().item() == inverse.isnan().sum().item() == 1


def test_a_change_of_what_the_gradient_needs_is_an_error():
    leaves = leaves_for(9, 4)
    y = normalization(**leaves, relu=True, epsilon=EPSILON)[0]
    y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        gradients(y, leaves)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_torchs_kernel_gives_the_same_where_this_one_is_switched_off(relu, residual):
    leaves = leaves_for(60, 17, ("gamma", "beta", "residual") if residual else ("gamma", "beta"))
    options = {"axis": -1, "epsilon": EPSILON, "relu": relu}
    found = batch_norm_with_own_statistics(**leaves, **options)
    assert "normalizationBackward" in str(found[0].grad_fn)
    with native.switched_off():
        wanted = batch_norm_with_own_statistics(**leaves, **options)
    assert "normalizationBackward" not in str(wanted[0].grad_fn)
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients(found[0], leaves).values(), gradients(wanted[0], leaves).values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("names", [("gamma", "beta", "residual"), ()])
@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("relu", [True, False])
def test_the_operator_keeps_torchs_rules(names, wanted, relu):
    leaves = leaves_for(9, 5, names)
    given = [leaf if leaf is None else leaf.detach().requires_grad_(wanted) for leaf in leaves.values()]
    # The gradient is no operator.
    checks = ["test_schema", "test_autograd_registration", "test_faketensor"]
    checks += [] if wanted else ["test_aot_dispatch_dynamic"]
    arguments = (*given, relu, EPSILON)
    found = torch.library.opcheck(torch.ops.lamina.normalization.default, arguments, test_utils=checks)
    assert set(found.values()) == {"SUCCESS"}
