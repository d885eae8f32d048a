"""Keras 1's `Merge` and the layers that stand for its modes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lamina.engine.layer import Layer
from lamina.errors import LoadError
from lamina.layers.joining import Concatenate, Dot
from lamina.layers.merging import Add, Average, Maximum, Multiply
from lamina.saving.legacy.retired import LEGACY_LAYERS

_MODES = {"sum": Add, "mul": Multiply, "ave": Average, "max": Maximum}


@LEGACY_LAYERS.register()
class CosineMerge(Dot):
    """The cosine of the angle between two tensors, with an axis of size 1 put in after the batch axis.

    Args:
        axes: along which axis or axes the product is taken.
        normalize: whether tensors are normalized first; always true here.
        **kwargs: what every layer takes.

    Input shape:
        A list of two shapes.

    Output shape:
        Dot's, with a 1 behind the batch axis.

    Example:
        >>> CosineMerge(axes=1)([torch.ones(2, 3), torch.ones(2, 3)]).shape
        torch.Size([2, 1, 1])
    """

    def __init__(self, axes: Any, normalize: bool = True, **kwargs: Any) -> None:
        super().__init__(axes, True, **kwargs)

    def call(self, inputs: Any) -> torch.Tensor:
        """The product, one axis longer."""
        return super().call(inputs).unsqueeze(1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Dot's shape, one axis longer."""
        batch, *rest = super().compute_output_shape(input_shape)
        return (batch, 1, *rest)


def merge_of(config: Mapping[str, Any]) -> Layer:
    """The layer that does what a `Merge` of Keras 1 did.

    Args:
        config: its arguments.

    Raises:
        LoadError: it calls a function of the user's.
    """
    mode, name = config.get("mode"), config.get("name")
    if isinstance(mode, str) and config.get("mode_type", "raw") == "raw":
        if mode in _MODES:
            return _MODES[mode](name=name)
        if mode == "concat":
            return Concatenate(axis=config.get("concat_axis", -1), name=name)
        if mode in ("dot", "cos"):
            axes = config.get("dot_axes", -1)
            if isinstance(axes, list):
                axes = tuple(a[0] if isinstance(a, list) else a for a in axes)
            return (Dot if mode == "dot" else CosineMerge)(axes=axes, name=name)
    raise LoadError(
        f"The Merge layer {name!r} is a Python function, which is not loaded from a file.",
        expected="a mode: sum, mul, ave, max, concat, dot or cos",
        received=f"a mode of type {config.get('mode_type', 'raw')!r}",
        fix="pass custom_objects={'Merge': a layer class of your own}",
    )
