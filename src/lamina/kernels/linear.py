"""The product of a Dense layer."""

from __future__ import annotations

import torch

from lamina.kernels import products
from lamina.kernels.activations import ACTIVATIONS


def linear(
    x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None, activation: str = "linear"
) -> torch.Tensor:
    """`activation(x @ kernel + bias)` along the last axis.

    A batch of rows on a CPU meets a kernel that fits the cache in lamina's own code, which does all of it in one pass
    (`kernels.products`); anything else goes to the BLAS that torch was built with.

    Args:
        x: `(..., inputs)`; whole numbers are taken as floats.
        kernel: `(inputs, units)`; fastest when its memory is that of `(units, inputs)`.
        bias: `(units,)` or `None`.
        activation: one of `ACTIVATIONS`.

    Returns:
        `(..., units)`.

    Example:
        >>> linear(torch.ones(2, 3), torch.ones(3, 4), None).shape
        torch.Size([2, 4])
    """
    if not x.is_floating_point():
        x = x.to(kernel.dtype)
    if x.dim() == 2:
        if products.suits(x, kernel, bias):
            return products.product(x, kernel, bias, activation)
        if bias is not None:  # what torch does in the end, without a transposed view for each call
            return ACTIVATIONS[activation](torch.addmm(bias, x, kernel))
    return ACTIVATIONS[activation](torch.nn.functional.linear(x, kernel.t(), bias))
