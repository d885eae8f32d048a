"""Zeros put around a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional as F

from lamina.kernels.select import plain_float32


def zeros_around(x: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
    """`x` with zeros before and after its last axes.

    Where no gradient is wanted only the rim is set to zero; torch first does so with everything.

    Args:
        x: any tensor.
        sides: how many before and after, the last axis first, as `torch.nn.functional.pad` takes them.

    Example:
        >>> zeros_around(torch.ones(1, 2), (1, 0)).tolist()
        [[0.0, 1.0, 1.0]]
    """
    if torch.is_grad_enabled() or not plain_float32(x) or not x.is_contiguous():
        return F.pad(x, list(sides))
    pairs = list(zip(sides[::2], sides[1::2], strict=True))[::-1]
    rooms = [(0, 0)] * (x.dim() - len(pairs)) + pairs
    y = x.new_empty([size + before + after for size, (before, after) in zip(x.shape, rooms, strict=True)])
    inside = y
    for axis, (size, (before, after)) in enumerate(zip(x.shape, rooms, strict=True)):
        if before:
            inside.narrow(axis, 0, before).zero_()
        if after:
            inside.narrow(axis, before + size, after).zero_()
        inside = inside.narrow(axis, before, size)
    inside.copy_(x)
    return y
