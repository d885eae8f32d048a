"""Activations that level off: the sigmoids, the tangents and softsign."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.registry import ACTIVATIONS


@ACTIVATIONS.register()
def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from 0 to 1.

    Example:
        >>> sigmoid(torch.tensor([-100.0, 0.0, 100.0])).round(decimals=4).tolist()
        [0.0, 0.5, 1.0]
    """
    return torch.sigmoid(x)


@ACTIVATIONS.register()
def log_sigmoid(x: Tensor) -> Tensor:
    """`log(sigmoid(x))`, without the overflow of computing it in two steps.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, at most 0.

    Example:
        >>> log_sigmoid(torch.tensor([-200.0])).tolist()
        [-200.0]
    """
    return F.logsigmoid(x)


@ACTIVATIONS.register()
def hard_sigmoid(x: Tensor) -> Tensor:
    """`x / 6 + 0.5` between -3 and 3, 0 below and 1 above.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from 0 to 1.

    Example:
        >>> hard_sigmoid(torch.tensor([-4.0, 0.0, 1.5, 4.0])).tolist()
        [0.0, 0.5, 0.75, 1.0]

    Reference:
        Courbariaux, Bengio, David, 2015, "BinaryConnect: Training Deep Neural Networks with binary weights
        during propagations", https://arxiv.org/abs/1511.00363 (there with slope 1/2)
    """
    return F.hardsigmoid(x)


@ACTIVATIONS.register()
def sparse_sigmoid(x: Tensor) -> Tensor:
    """`(x + 1) / 2` between -1 and 1, 0 below and 1 above.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from 0 to 1.

    Example:
        >>> sparse_sigmoid(torch.tensor([-2.0, 0.5, 2.0])).tolist()
        [0.0, 0.75, 1.0]

    Reference:
        Blondel, Martins, Niculae, 2019, "Learning with Fenchel-Young Losses", https://arxiv.org/abs/1901.02324
    """
    return (F.hardtanh(x) + 1) / 2


@ACTIVATIONS.register()
def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from -1 to 1.

    Example:
        >>> tanh(torch.tensor([-100.0, 0.0, 100.0])).tolist()
        [-1.0, 0.0, 1.0]
    """
    return torch.tanh(x)


@ACTIVATIONS.register()
def hard_tanh(x: Tensor) -> Tensor:
    """`x` between -1 and 1, -1 below and 1 above.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from -1 to 1.

    Example:
        >>> hard_tanh(torch.tensor([-2.0, 0.5, 2.0])).tolist()
        [-1.0, 0.5, 1.0]
    """
    return F.hardtanh(x)


@ACTIVATIONS.register()
def softsign(x: Tensor) -> Tensor:
    """`x / (1 + |x|)`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from -1 to 1.

    Example:
        >>> softsign(torch.tensor([-1.0, 0.0, 3.0])).tolist()
        [-0.5, 0.0, 0.75]
    """
    return F.softsign(x)
