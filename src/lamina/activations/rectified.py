"""Rectifiers: near zero for negative inputs, near the input itself for positive ones; sharp first, then smooth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.registry import ACTIVATIONS


@ACTIVATIONS.register()
def relu(x: Tensor, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0) -> Tensor:
    """`max(x, 0)`; or, with other arguments, a rectifier with a leak, a ceiling and a place of its own.

    In full: `max_value` where `x >= max_value`, `x` where `threshold < x < max_value`, and
    `negative_slope * (x - threshold)` elsewhere.

    Args:
        x: a tensor of any shape.
        negative_slope: the slope below `threshold`.
        max_value: the largest value that comes out; `None` for no ceiling.
        threshold: where the rectifier begins to let `x` through.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> relu(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [0.0, 0.0, 3.0]
        >>> relu(torch.tensor([-2.0, 1.0, 9.0]), negative_slope=0.5, max_value=6.0).tolist()
        [-1.0, 1.0, 6.0]
    """
    if max_value is None and threshold == 0.0:
        return F.relu(x) if negative_slope == 0.0 else F.leaky_relu(x, negative_slope)
    if threshold != 0.0:
        y = F.threshold(x, threshold, 0.0)
        y = y if max_value is None else torch.clamp(y, 0.0, max_value)
    else:
        y = F.relu6(x) if max_value == 6 else torch.clamp(F.relu(x), max=max_value)
    return y if negative_slope == 0.0 else y - negative_slope * F.relu(threshold - x)


@ACTIVATIONS.register()
def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """`x` where it is positive, `negative_slope * x` elsewhere.

    Args:
        x: a tensor of any shape.
        negative_slope: the slope for negative inputs.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> leaky_relu(torch.tensor([-2.0, 3.0]), negative_slope=0.5).tolist()
        [-1.0, 3.0]
    """
    return F.leaky_relu(x, negative_slope)


@ACTIVATIONS.register()
def relu6(x: Tensor) -> Tensor:
    """`min(max(x, 0), 6)`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, from 0 to 6.

    Example:
        >>> relu6(torch.tensor([-2.0, 3.0, 9.0])).tolist()
        [0.0, 3.0, 6.0]
    """
    return F.relu6(x)


@ACTIVATIONS.register()
def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """`x` where it exceeds `threshold`, `default_value` elsewhere.

    Args:
        x: a tensor of any shape.
        threshold: the value to exceed.
        default_value: what stands in for the rest.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> threshold(torch.tensor([0.5, 2.0]), 1.0, -1.0).tolist()
        [-1.0, 2.0]
    """
    return F.threshold(x, threshold, default_value)


@ACTIVATIONS.register()
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, `alpha * (exp(x) - 1)` elsewhere.

    Args:
        x: a tensor of any shape.
        alpha: the depth to which negative inputs sink.

    Returns:
        A tensor of the shape of `x`, above `-alpha`.

    Example:
        >>> elu(torch.tensor([-100.0, 3.0])).tolist()
        [-1.0, 3.0]

    Reference:
        Clevert, Unterthiner, Hochreiter, 2016, "Fast and Accurate Deep Network Learning by Exponential
        Linear Units (ELUs)", https://arxiv.org/abs/1511.07289
    """
    return F.elu(x, alpha)


@ACTIVATIONS.register()
def selu(x: Tensor) -> Tensor:
    """ELU scaled such that mean 0 and variance 1 hold from layer to layer.

    `scale * elu(x, alpha)` with `scale = 1.05070098` and `alpha = 1.67326324`; meant for weights from
    `LecunNormal` and, where there is dropout, for `AlphaDropout`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> [round(y, 4) for y in selu(torch.tensor([-100.0, 1.0])).tolist()]
        [-1.7581, 1.0507]

    Reference:
        Klambauer et al., 2017, "Self-Normalizing Neural Networks", https://arxiv.org/abs/1706.02515
    """
    return F.selu(x)


@ACTIVATIONS.register()
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` where it is positive, `alpha * (exp(x / alpha) - 1)` elsewhere: ELU with slope 1 at 0 for every `alpha`.

    Args:
        x: a tensor of any shape.
        alpha: the depth to which negative inputs sink; not 0.

    Returns:
        A tensor of the shape of `x`, above `-alpha`.

    Example:
        >>> celu(torch.tensor([-100.0, 3.0]), alpha=2.0).tolist()
        [-2.0, 3.0]

    Reference:
        Barron, 2017, "Continuously Differentiable Exponential Linear Units", https://arxiv.org/abs/1704.07483
    """
    return F.celu(x, alpha)


@ACTIVATIONS.register()
def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))`, a smooth `relu`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, above 0.

    Example:
        >>> [round(y, 4) for y in softplus(torch.tensor([0.0, 50.0])).tolist()]
        [0.6931, 50.0]
    """
    return F.softplus(x)


@ACTIVATIONS.register()
def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """`(x + sqrt(x**2 + b)) / 2`, a smooth `relu` without exponentials.

    Args:
        x: a tensor of any shape.
        b: how wide the smooth part is; 0 gives `relu`.

    Returns:
        A tensor of the shape of `x`, at least 0.

    Example:
        >>> squareplus(torch.tensor([0.0, 1.5])).tolist()
        [1.0, 2.0]

    Reference:
        Barron, 2021, "Squareplus: A Softplus-Like Algebraic Rectifier", https://arxiv.org/abs/2112.11687
    """
    # hypot and the half, because x**2 and 2 * x overflow: in float16 from 256 and 32,768 on.
    half = x / 2
    return half + torch.hypot(half, torch.full_like(half, b**0.5 / 2))


@ACTIVATIONS.register()
def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, `x` from 1 on, and the parabola `(x + 1)**2 / 4` between them.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`, at least 0.

    Example:
        >>> sparse_plus(torch.tensor([-2.0, 0.0, 3.0])).tolist()
        [0.0, 0.25, 3.0]
    """
    return torch.where(x < 1, torch.square(torch.clamp(x, -1, 1) + 1) / 4, x)
