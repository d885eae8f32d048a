"""The product of a Dense layer."""

from __future__ import annotations

import torch


def linear(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`x @ kernel + bias` along the last axis.

    Args:
        x: `(..., inputs)`; whole numbers are taken as floats.
        kernel: `(inputs, units)`; fastest when its memory is that of `(units, inputs)`.
        bias: `(units,)` or `None`.

    Returns:
        `(..., units)`.

    Example:
        >>> linear(torch.ones(2, 3), torch.ones(3, 4), None).shape
        torch.Size([2, 4])
    """
    if not x.is_floating_point():
        x = x.to(kernel.dtype)
    if bias is not None and x.dim() == 2:  # what torch does in the end, without a transposed view for each call
        return torch.addmm(bias, x, kernel)
    return torch.nn.functional.linear(x, kernel.t(), bias)
