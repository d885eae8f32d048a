"""Which of several ways to compute the same thing is the fast one here."""

from __future__ import annotations

import functools
import platform
from typing import Any

import torch
from torch import Tensor

from lamina.kernels.native import library

_torch: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_transformed: Any = getattr(_torch, "_are_functorch_transforms_active", lambda: False)
_compiling = torch.compiler.is_compiling


@functools.cache
def intel() -> bool:
    """Whether the processor is Intel's, for which the products of the BLAS in torch's own builds (MKL) are made.

    On AMD's they run at half of what oneDNN reaches, on others there is none.

    Example:
        >>> intel() in (True, False)
        True
    """
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            vendor = next((line for line in lines if line.startswith("vendor_id")), "")
    except OSError:
        vendor = platform.processor()
    return "GenuineIntel" in vendor and torch.backends.mkl.is_available()


@functools.cache
def has_linear_pointwise() -> bool:
    """Whether torch has oneDNN's product with a bias and an activation, which it may move between versions.

    Example:
        >>> has_linear_pointwise() in (True, False)
        True
    """
    try:
        operation: Any = torch.ops.mkldnn._linear_pointwise.default
        found = operation(torch.ones(1, 2), torch.ones(3, 2), torch.ones(3), "relu", [], "")
        return bool(torch.equal(found, torch.full((1, 3), 3.0)))
    except (AttributeError, RuntimeError):
        return False


def native(name: str, *tensors: Tensor | None) -> bool:
    """Whether lamina's own kernel `name` can and should compute with these tensors.

    It takes float32 tensors of a CPU. Under `torch.compile` and `torch.export` the plain functions of torch are the
    better choice: they are what the compiler knows how to fuse and what an exported program may contain.

    Args:
        name: a source of `kernels/native/source`.
        tensors: what would be computed with; `None` for those that are not there.

    Example:
        >>> native("convolution", torch.zeros(1, dtype=torch.float64))
        False
    """
    return plain_float32(*tensors) and library(name) is not None


def plain_float32(*tensors: Tensor | None) -> bool:
    """Whether all are float32 tensors of a CPU, to be computed with as they are: no autocast, no compiler, no `vmap`.

    Args:
        tensors: the tensors; `None` for those that are not there.

    Example:
        >>> plain_float32(torch.zeros(1), None), plain_float32(torch.zeros(1).double())
        (True, False)
    """
    for tensor in tensors:
        if tensor is not None and (tensor.dtype is not torch.float32 or not tensor.is_cpu):
            return False
    return not (_compiling() or torch.is_autocast_enabled("cpu") or _transformed())
