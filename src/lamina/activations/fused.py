"""Which activations kernels can compute by the way, without a pass over memory of their own."""

from __future__ import annotations

from typing import Any

from lamina.activations.elementary import linear
from lamina.activations.rectified import relu
from lamina.activations.saturating import sigmoid, tanh

_KNOWN = ((linear, "linear"), (relu, "relu"), (sigmoid, "sigmoid"), (tanh, "tanh"))


def kernel_name(activation: Any) -> str | None:
    """The name by which `lamina.kernels` know an activation, or `None` if they do not.

    Args:
        activation: what `activations.get` gave.

    Example:
        >>> kernel_name(relu), kernel_name(abs)
        ('relu', None)
    """
    for known, name in _KNOWN:
        if activation is known:
            return name
    return None
