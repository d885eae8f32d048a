"""The two activations that need no idea: the input itself, and its exponential."""

from __future__ import annotations

import torch
from torch import Tensor

from lamina.registry import ACTIVATIONS


@ACTIVATIONS.register()
def linear(x: Tensor) -> Tensor:
    """The input itself; what an activation of `None` stands for.

    Args:
        x: a tensor of any shape.

    Returns:
        `x`, the same object.

    Example:
        >>> linear(torch.tensor([-1.0, 2.0])).tolist()
        [-1.0, 2.0]
    """
    return x


@ACTIVATIONS.register()
def exponential(x: Tensor) -> Tensor:
    """`exp(x)`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, above 0 everywhere.

    Example:
        >>> exponential(torch.tensor([0.0])).tolist()
        [1.0]
    """
    return torch.exp(x)
