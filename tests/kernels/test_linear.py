"""The product of a Dense layer, against torch's own and against a product written out."""

from __future__ import annotations

import pytest
import torch

from lamina.engine.weights import in_memory_order
from lamina.kernels.linear import linear

SHAPES = [(5, 3), (2, 5, 3), (2, 4, 5, 3), (0, 3), (1, 3)]


@pytest.mark.parametrize("ordered", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("with_bias", [False, True], ids=["plain", "bias"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_product_written_out(shape, with_bias, ordered):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(3, 4, dtype=torch.float64)
    kernel = (in_memory_order(kernel, (1, 0)) if ordered else kernel).requires_grad_()
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True) if with_bias else None
    inputs = [tensor for tensor in (x, kernel, bias) if tensor is not None]
    wanted = (x.unsqueeze(-1) * kernel).sum(dim=-2) + (0 if bias is None else bias)
    found = linear(x, kernel, bias)
    torch.testing.assert_close(found, wanted)
    weight = torch.randn_like(wanted)
    for mine, theirs in zip(
        torch.autograd.grad(found, inputs, weight), torch.autograd.grad(wanted, inputs, weight), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("shape", SHAPES[:3])
def test_it_equals_torchs_linear_in_float32_to_the_last_bit_or_nearly(shape):
    module = torch.nn.Linear(3, 4)
    x = torch.randn(shape)
    torch.testing.assert_close(linear(x, module.weight.t(), module.bias), module(x), rtol=0, atol=1e-6)


def test_gradients_keep_the_memory_order_of_the_kernel():
    kernel = in_memory_order(torch.randn(3, 4), (1, 0)).requires_grad_()
    linear(torch.randn(5, 3), kernel, torch.zeros(4)).sum().backward()
    assert kernel.grad.stride() == kernel.stride() == (1, 3)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
def test_whole_numbers_are_taken_as_floats(dtype):
    x = torch.tensor([[1, 0, 1], [0, 1, 1]], dtype=dtype)
    assert linear(x, torch.ones(3, 2), torch.ones(2)).tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert linear(x[None], torch.ones(3, 2), None).tolist() == [[[2.0, 2.0], [2.0, 2.0]]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_makes_the_product_short(dtype):
    x, kernel, bias = torch.randn(5, 3), torch.randn(3, 4), torch.randn(4)
    with torch.autocast("cpu", dtype=dtype):
        found = [linear(x, kernel, bias), linear(x[None], kernel, None), linear(x.long(), kernel, bias)]
    assert [y.dtype for y in found] == [dtype] * 3
    torch.testing.assert_close(found[0].float(), x @ kernel + bias, rtol=0.05, atol=0.05)


def test_it_traces_whole():
    x, kernel, bias = torch.randn(5, 3), torch.randn(3, 4), torch.randn(4)
    torch._dynamo.reset()
    compiled = torch.compile(linear, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, kernel, bias), linear(x, kernel, bias))


def test_it_maps_over_many_kernels():
    x, kernels, biases = torch.randn(5, 3), torch.randn(6, 3, 4), torch.randn(6, 4)
    found = torch.func.vmap(linear, in_dims=(None, 0, 0))(x, kernels, biases)
    torch.testing.assert_close(found, x @ kernels + biases[:, None])
