"""Activations that turn a vector of scores into a probability distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lamina.activations.logits import with_logits
from lamina.kernels import classification
from lamina.registry import ACTIVATIONS


@ACTIVATIONS.register()
def softmax(x: Tensor, axis: int | Sequence[int] | None = -1) -> Tensor:
    """`exp(x) / sum(exp(x))`: scores become probabilities.

    Args:
        x: a tensor of any shape.
        axis: the axis, or the axes together, along which the result sums to 1; `None` for all.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> softmax(torch.tensor([[0.0, 0.0], [0.0, 100.0]])).tolist()
        [[0.5, 0.5], [0.0, 1.0]]
    """
    if axis is None or isinstance(axis, Sequence):
        return torch.exp(log_softmax(x, axis))
    if axis not in (-1, x.ndim - 1):
        return torch.softmax(x, dim=axis)
    y = classification.softmax(x) if classification.suits_softmax(x) else torch.softmax(x, dim=axis)
    return with_logits(y, x)


@ACTIVATIONS.register()
def log_softmax(x: Tensor, axis: int | Sequence[int] | None = -1) -> Tensor:
    """`log(softmax(x))`, without the overflow of computing it in two steps.

    Args:
        x: a tensor of any shape.
        axis: the axis, or the axes together, along which the exponentials sum to 1; `None` for all.

    Returns:
        A tensor of the shape of `x`, at most 0.

    Example:
        >>> log_softmax(torch.tensor([0.0, 200.0])).tolist()
        [-200.0, 0.0]
    """
    if axis is None or isinstance(axis, Sequence):
        axes = tuple(range(x.ndim)) if axis is None else tuple(axis)
        x = x - torch.amax(x, dim=axes, keepdim=True)  # large scores would round the logarithm away
        return x - torch.logsumexp(x, dim=axes, keepdim=True)
    return torch.log_softmax(x, dim=axis)


@ACTIVATIONS.register()
def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """The probability distribution nearest to `x`, which gives low scores exactly 0.

    `max(x - tau, 0)`, with `tau` such that the result sums to 1. (In Keras 3.15 it sums to 1 only where a single
    score survives; here it always does, as in the paper.)

    Args:
        x: a tensor of any shape.
        axis: the axis along which the result sums to 1.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> sparsemax(torch.tensor([0.0, 1.0, 1.5])).tolist()
        [0.0, 0.25, 0.75]

    Reference:
        Martins, Astudillo, 2016, "From Softmax to Sparsemax: A Sparse Model of Attention and Multi-Label
        Classification", https://arxiv.org/abs/1602.02068
    """
    # A shift changes nothing in the result, and keeps the sums below from drowning the 1 in large scores.
    x = x - torch.amax(x, dim=axis, keepdim=True)
    ordered = torch.sort(x, dim=axis, descending=True)[0]
    sums = torch.cumsum(ordered, dim=axis)
    ranks = torch.cumsum(torch.ones_like(ordered), dim=axis)
    count = torch.sum(1 + ranks * ordered > sums, dim=axis, keepdim=True)
    tau = (torch.gather(sums, axis, count - 1) - 1) / count
    return torch.relu(x - tau)
