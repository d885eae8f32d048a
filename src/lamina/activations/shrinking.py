"""Activations that pull small inputs to zero."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lamina.registry import ACTIVATIONS


@ACTIVATIONS.register()
def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` moved towards 0 by `threshold`; 0 where it would change its sign.

    Args:
        x: a tensor of any shape.
        threshold: how far; at least 0.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> soft_shrink(torch.tensor([-2.0, 0.25, 2.0])).tolist()
        [-1.5, 0.0, 1.5]
    """
    return F.softshrink(x, threshold)


@ACTIVATIONS.register()
def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` where its size exceeds `threshold`, 0 elsewhere.

    Args:
        x: a tensor of any shape.
        threshold: the size to exceed.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> hard_shrink(torch.tensor([-2.0, 0.25, 2.0])).tolist()
        [-2.0, 0.0, 2.0]
    """
    return F.hardshrink(x, threshold)


@ACTIVATIONS.register()
def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> tanh_shrink(torch.tensor([0.0, 100.0])).tolist()
        [0.0, 99.0]
    """
    return F.tanhshrink(x)
