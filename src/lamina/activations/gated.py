"""The input times a gate that it opens itself: SiLU, GELU, Mish, GLU."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from lamina.errors import ShapeError
from lamina.registry import ACTIVATIONS


@ACTIVATIONS.register("swish")
def silu(x: Tensor) -> Tensor:
    """`x * sigmoid(x)`, also called swish.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> silu(torch.tensor([0.0, 100.0])).tolist()
        [0.0, 100.0]

    Reference:
        Ramachandran, Zoph, Le, 2017, "Searching for Activation Functions", https://arxiv.org/abs/1710.05941
    """
    return F.silu(x)


@ACTIVATIONS.register("hard_swish")
def hard_silu(x: Tensor) -> Tensor:
    """`x * hard_sigmoid(x)`, also called hard swish.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> hard_silu(torch.tensor([-4.0, 1.5, 4.0])).tolist()
        [0.0, 1.125, 4.0]

    Reference:
        Howard et al., 2019, "Searching for MobileNetV3", https://arxiv.org/abs/1905.02244
    """
    return F.hardswish(x)


@ACTIVATIONS.register()
def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """`x` times the probability that a standard normal variable lies below `x`.

    Args:
        x: a tensor of any shape.
        approximate: take the tanh formula instead of the error function.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> round(gelu(torch.tensor(1.0)).item(), 5), round(gelu(torch.tensor(1.0), approximate=True).item(), 5)
        (0.84134, 0.84119)

    Reference:
        Hendrycks, Gimpel, 2016, "Gaussian Error Linear Units (GELUs)", https://arxiv.org/abs/1606.08415
    """
    return F.gelu(x, approximate="tanh" if approximate else "none")


@ACTIVATIONS.register()
def mish(x: Tensor) -> Tensor:
    """`x * tanh(softplus(x))`.

    Args:
        x: a tensor of any shape.

    Returns:
        A tensor of the shape of `x`.

    Example:
        >>> import torch
        >>> mish(torch.tensor([0.0, 100.0])).tolist()
        [0.0, 100.0]

    Reference:
        Misra, 2019, "Mish: A Self Regularized Non-Monotonic Activation Function",
        https://arxiv.org/abs/1908.08681
    """
    return F.mish(x)


@ACTIVATIONS.register()
def glu(x: Tensor, axis: int = -1) -> Tensor:
    """`a * sigmoid(b)`, where `a` and `b` are the two halves of `x` along `axis`.

    Args:
        x: a tensor whose `axis` has an even size.
        axis: the axis that is halved.

    Returns:
        A tensor of the shape of `x`, but for `axis`, which has half the size.

    Raises:
        ShapeError: the size of `axis` is odd.

    Example:
        >>> import torch
        >>> glu(torch.tensor([1.0, 2.0, 0.0, 0.0])).tolist()
        [0.5, 1.0]

    Reference:
        Dauphin, Fan, Auli, Grangier, 2017, "Language Modeling with Gated Convolutional Networks",
        https://arxiv.org/abs/1612.08083
    """
    size = x.shape[axis]
    if isinstance(size, int) and size % 2:  # the size of a symbolic tensor may be None
        raise ShapeError(
            "glu splits an axis into two halves, and this one is odd.",
            expected=f"an even size on axis {axis}",
            received=f"shape {tuple(x.shape)}",
            fix=f"give the layer before it {size + 1} units instead of {size}",
        )
    return F.glu(x, dim=axis)


# Keras has these functions under two names.
swish = silu
hard_swish = hard_silu
