"""`Rescaling`: pixels and other inputs brought into another range."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.registry import LAYERS


@LAYERS.register()
class Rescaling(Layer):
    """`inputs * scale + offset`.

    Args:
        scale: a number, or a list of them for the last axis.
        offset: likewise.
        **kwargs: what every layer takes.

    Input shape:
        Any; whole numbers become floats.

    Output shape:
        The same.

    Example:
        >>> Rescaling(1 / 255)(torch.tensor([0, 51, 255])).tolist()
        [0.0, 0.2, 1.0]
    """

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = _plain(scale)
        self.offset = _plain(offset)

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The product and the sum."""
        x = inputs if inputs.is_floating_point() else inputs.to(getattr(torch, self.compute_dtype))
        return x * _as_factor(self.scale, x) + _as_factor(self.offset, x)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape


def _plain(value: Any) -> Any:
    """A number, or a list of numbers."""
    return value.tolist() if hasattr(value, "tolist") else value


def _as_factor(value: Any, like: torch.Tensor) -> Any:
    return value if isinstance(value, (int, float)) else torch.tensor(value, dtype=like.dtype, device=like.device)
