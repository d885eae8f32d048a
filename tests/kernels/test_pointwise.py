"""Convolutions with windows of one pixel against torch's in double precision, as a product and as a convolution."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kernel_checks import Operators, gradients
from torch import Tensor
from torch.nn import functional as F

from lamina.engine.weights import in_memory_order
from lamina.kernels import conv as module
from lamina.kernels import images, native
from lamina.kernels.activations import ACTIVATIONS
from lamina.kernels.conv import conv, pointwise, pointwise_suits
from lamina.kernels.select import has_linear_pointwise


def leaves_for(channels: int, filters: int, bias: bool = True, ordered: bool = True) -> dict[str, Any]:
    """What the convolution takes; the sums have a variance of about one. An `ordered` kernel lies as a layer's does."""
    kernel = torch.randn(1, 1, channels, filters) / channels**0.5
    return {
        "x": torch.randn(2, 5, 6, channels).requires_grad_(),
        "kernel": (in_memory_order(kernel, (3, 0, 1, 2)) if ordered else kernel).requires_grad_(),
        "bias": torch.randn(filters).requires_grad_() if bias else None,
    }


def exact(x: Tensor, kernel: Tensor, bias: Tensor | None, strides: tuple[int, int], activation: str) -> Tensor:
    """The definition, from torch's convolution in double precision."""
    weight = kernel.double().permute(3, 2, 0, 1)
    y = F.conv2d(x.double().permute(0, 3, 1, 2), weight, None if bias is None else bias.double(), strides)
    return {"linear": y, "relu": y.relu(), "sigmoid": y.sigmoid(), "tanh": y.tanh()}[activation].permute(0, 2, 3, 1)


def expect_equal(found: Tensor, leaves: dict[str, Any], strides: tuple[int, int], activation: str) -> None:
    """The values and, where they are wanted, gradients are those of the definition."""
    wanted = exact(**leaves, strides=strides, activation=activation)
    assert found.dtype is torch.float32 and found.is_contiguous()
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)
    if found.requires_grad:
        of_found = gradients(found, leaves)
        for name, gradient in gradients(wanted, leaves).items():
            room = 1e-5 * max(1.0, gradient.abs().max().item())
            torch.testing.assert_close(of_found[name], gradient, rtol=1e-4, atol=room)


KINDS = list(itertools.product(((1, 1), (2, 2), (2, 1), (3, 4)), ACTIVATIONS))


@pytest.mark.parametrize("strides, activation", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 17), (40, 16), (256, 300)])
def test_values_and_gradients_are_those_of_the_convolution(strides, activation, bias, sizes):
    leaves = leaves_for(*sizes, bias, ordered=sizes[0] != 40)
    expect_equal(pointwise(**leaves, strides=strides, activation=activation), leaves, strides, activation)


@pytest.mark.parametrize("strides, activation", KINDS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_without_gradients_bias_and_activation_may_be_part_of_the_product(
    strides, activation, bias, fused, monkeypatch
):
    if fused and not has_linear_pointwise():
        pytest.skip("torch has no product of oneDNN with an activation here")
    monkeypatch.setattr(module, "has_linear_pointwise", lambda: fused)
    leaves = leaves_for(40, 70, bias)
    with torch.no_grad(), Operators() as calls:
        found = pointwise(**leaves, strides=strides, activation=activation)
    assert ("mkldnn::_linear_pointwise" in calls.names) == (fused and activation in ("linear", "relu"))
    expect_equal(found, leaves, strides, activation)


def test_a_gradient_is_never_asked_of_the_product_that_has_none():
    leaves = leaves_for(40, 70)
    with Operators() as calls:
        pointwise(**leaves, strides=(1, 1), activation="relu")
    assert "mkldnn::_linear_pointwise" not in calls.names and "aten::addmm" in calls.names


@pytest.mark.parametrize("is_intel", [True, False])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 2)])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_a_convolution_takes_the_product_on_intels_processors_only(is_intel, strides, activation, padding, monkeypatch):
    monkeypatch.setattr(module, "intel", lambda: is_intel)
    leaves = leaves_for(256, 300)  # too many numbers for the kernel of images
    with Operators() as calls:
        found = conv(**leaves, strides=strides, padding=padding, activation=activation)
    assert ("aten::addmm" in calls.names) == is_intel
    assert any("convolution" in name for name in calls.names) != is_intel
    expect_equal(found, leaves, strides, activation)


@pytest.mark.usefixtures("convolution")
@pytest.mark.parametrize("is_intel", [True, False])
def test_small_kernels_go_to_the_kernel_of_images_and_fewer_do_on_intels_processors(is_intel, monkeypatch):
    for one in (module, images):
        monkeypatch.setattr(one, "intel", lambda: is_intel)
    for channels, filters, ours in ((3, 17, True), (128, 129, not is_intel), (256, 257, False)):
        leaves = leaves_for(channels, filters)
        with Operators() as calls:
            found = conv(**leaves, strides=(1, 1), padding="same")
        assert ("lamina::convolution" in calls.names) == ours
        assert ("aten::addmm" in calls.names) == (is_intel and not ours)
        expect_equal(found, leaves, (1, 1), "linear")


@pytest.mark.parametrize("is_intel", [True, False])
@pytest.mark.parametrize("options", [{"groups": 2}, {"data_format": "channels_first"}, {"padding": "causal"}])
def test_other_convolutions_with_windows_of_one_pixel_are_not_taken_for_products(is_intel, options, monkeypatch):
    def refused(*_: Any) -> Tensor:
        raise AssertionError

    monkeypatch.setattr(module, "intel", lambda: is_intel)
    monkeypatch.setattr(module, "pointwise", refused)
    groups, first = options.get("groups", 1), "data_format" in options
    x, kernel = torch.randn(2, 5, 6, 8), torch.randn(1, 1, 8 // groups, 4)
    with native.switched_off():
        given = x.movedim(-1, 1) if first else x
        found = conv(given, kernel, None, (1, 1), **{"padding": "valid", **options})
    wanted = F.conv2d(x.movedim(-1, 1), kernel.permute(3, 2, 0, 1), groups=groups)
    torch.testing.assert_close(found if first else found.movedim(-1, 1), wanted, rtol=1e-5, atol=1e-5)


def written(function: Callable[[], Any]) -> list[str]:
    """The operators of `function` that make a tensor of zeros, cut a part out, or copy."""
    with Operators() as calls:
        function()
    assert any(name.startswith("aten::mm") for name in calls.names)
    words = ("select", "zeros", "new_zeros", "slice_backward", "copy", "clone", "fill")
    return [name for name in calls.names if any(word in name for word in words)]


@pytest.mark.parametrize("ordered", [True, False], ids=["as a layer's", "row by row"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [(40, 70), (1, 5), (5, 1)])
def test_the_gradient_of_the_kernel_is_no_copy_and_lies_in_memory_as_the_kernel_does(ordered, bias, sizes):
    leaves = leaves_for(*sizes, bias, ordered)
    y = pointwise(**leaves, strides=(1, 1))
    upstream, wanted = torch.randn(y.shape), [leaf for leaf in leaves.values() if leaf is not None]
    assert written(lambda: torch.autograd.grad(y, wanted, upstream, retain_graph=True)) == []
    y.backward(upstream)
    if 1 not in sizes:
        assert leaves["kernel"].grad.stride() == leaves["kernel"].stride()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_gradient_penalty_has_the_gradients_of_the_convolution(activation):
    leaves = leaves_for(7, 9)

    def penalty(y: Tensor) -> dict[str, Tensor]:
        (slope,) = torch.autograd.grad(y.sin().sum(), leaves["x"], create_graph=True)
        return dict(zip(leaves, torch.autograd.grad(slope.square().sum(), list(leaves.values())), strict=True))

    found = penalty(pointwise(**leaves, strides=(2, 2), activation=activation))
    for name, gradient in penalty(exact(**leaves, strides=(2, 2), activation=activation)).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-4)


def test_images_of_any_layout_in_memory_and_of_no_pixels_do():
    kernel, bias = torch.randn(1, 1, 7, 9), torch.randn(9)
    for x in (torch.randn(2, 7, 5, 6).movedim(1, -1), torch.randn(2, 10, 6, 7)[:, ::2], torch.randn(0, 5, 6, 7)):
        for strides in ((1, 1), (2, 2)):
            found, wanted = pointwise(x, kernel, bias, strides), exact(x, kernel, bias, strides, "linear")
            torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-5)


def test_it_suits_single_precision_whose_channels_match(monkeypatch):
    x, kernel = torch.zeros(1, 2, 2, 3), torch.zeros(1, 1, 3, 4)
    for is_intel in (True, False):
        monkeypatch.setattr(module, "intel", lambda answer=is_intel: answer)
        assert pointwise_suits(x, kernel) == is_intel
    monkeypatch.setattr(module, "intel", lambda: True)
    assert not pointwise_suits(x.double(), kernel.double()) and not pointwise_suits(x, kernel.double())
    assert not pointwise_suits(x[..., :2], kernel)
    with torch.autocast("cpu", torch.bfloat16):
        assert not pointwise_suits(x, kernel)
