"""`ActivityRegularization`: a penalty on what passes through."""

from __future__ import annotations

from typing import Any

import torch

from lamina import regularizers
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.registry import LAYERS


@LAYERS.register()
class ActivityRegularization(Layer):
    """Its input, unchanged; a penalty on the input is added to the training loss.

    Args:
        l1: the weight of the sum of magnitudes.
        l2: the weight of the sum of squares.
        **kwargs: what every layer takes.

    Input shape:
        Any.

    Output shape:
        The same.

    Raises:
        ArgumentError: a weight is below zero.

    Example:
        >>> layer = ActivityRegularization(l2=0.5)
        >>> _ = layer(torch.tensor([[1.0], [3.0]]))
        >>> [float(loss) for loss in layer.losses]
        [2.5]
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1=l1, l2=l2), **kwargs)
        self.l1 = l1
        self.l2 = l2

    def call(self, inputs: torch.Tensor) -> torch.Tensor:
        """The input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments; the regularizer is made of them."""
        config = super().get_config()
        del config["activity_regularizer"]
        return config
