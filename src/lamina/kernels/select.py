"""Which of several ways to compute the same thing is the fast one here."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.kernels.native import library

_torch: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_transformed: Any = getattr(_torch, "_are_functorch_transforms_active", lambda: False)
_compiling = torch.compiler.is_compiling


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
    for tensor in tensors:
        if tensor is not None and (tensor.dtype is not torch.float32 or tensor.device.type != "cpu"):
            return False
    if _compiling() or torch.is_autocast_enabled("cpu") or _transformed():
        return False
    return library(name) is not None
