"""When lamina's own kernels compute, and when torch's functions do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lamina.kernels import native as kernels
from lamina.kernels.select import native

pytestmark = pytest.mark.usefixtures("convolution")


def test_single_precision_on_a_cpu_goes_to_lamina():
    assert native("convolution", torch.zeros(1), None, torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64])
def test_one_tensor_of_another_dtype_is_enough_to_go_to_torch(dtype):
    assert not native("convolution", torch.zeros(1, dtype=dtype))
    assert not native("convolution", torch.zeros(1), None, torch.zeros(1, dtype=dtype))


def test_tensors_of_another_device_go_to_torch():
    assert not native("convolution", torch.zeros(1, device="meta"))


def test_a_source_that_does_not_exist_is_never_chosen():
    assert not native("nonsense", torch.zeros(1))


def test_nothing_is_chosen_where_kernels_are_switched_off():
    with kernels.switched_off():
        assert not native("convolution", torch.zeros(1))
    assert native("convolution", torch.zeros(1))


def test_autocast_goes_to_torch():
    with torch.autocast("cpu", torch.bfloat16):
        assert not native("convolution", torch.zeros(1))
    assert native("convolution", torch.zeros(1))


def test_transforms_of_functions_go_to_torch():
    seen = []

    def function(x: Tensor) -> Tensor:
        seen.append(native("convolution", x))
        return x.sum()

    torch.vmap(function)(torch.zeros(2, 3))
    torch.func.grad(function)(torch.zeros(3))
    assert seen == [False, False]


def test_compiled_code_goes_to_torch():
    def function(x: Tensor) -> Tensor:
        return x + 1.0 if native("convolution", x) else x - 1.0

    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    assert compiled(torch.zeros(1)).item() == -1.0
    assert function(torch.zeros(1)).item() == 1.0
