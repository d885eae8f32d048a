"""What the layers that make one tensor of several share."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.engine import nest
from lamina.engine.abstract import Shape
from lamina.engine.layer import Layer
from lamina.errors import ShapeError


class Merge(Layer):
    """A layer that is called on a list of tensors.

    Args:
        **kwargs: what every layer takes.
    """

    supports_masking = True
    _makes_masks = False
    _count: int | None = None  # how many tensors it takes; None for any number

    def build(self, input_shape: Any) -> None:
        """Check that the shapes can be merged; there are no weights."""
        name = type(self).__name__
        if nest.is_shape(input_shape) or not isinstance(input_shape, (list, tuple)):
            raise ShapeError(
                f"{name} takes one list of tensors.",
                expected=f"{name}()([x, y])",
                received=f"{type(input_shape).__name__} of shapes"
                if isinstance(input_shape, dict)
                else f"shape {input_shape}",
                fix="put the tensors into a list",
            )
        if any(len(shape) == 0 for shape in input_shape):
            raise ShapeError(
                f"{name} merges tensors with a batch axis.",
                expected="at least one axis",
                received=" and ".join(str(tuple(shape)) for shape in input_shape),
                fix="add the batch axis with x[None]",
            )
        if self._count is not None and len(input_shape) != self._count:
            raise ShapeError(
                f"{name} takes a list of exactly {self._count} tensors.",
                expected=f"{name}()([x, y])",
                received=f"{len(input_shape)} of shapes {', '.join(str(tuple(s)) for s in input_shape)}",
                fix="merge the others before or after",
            )
        self.compute_output_shape(input_shape)


class ElementwiseMerge(Merge):
    """A layer that combines tensors number by number, those of size 1 along an axis repeated as needed.

    A subclass says by `merge` how.

    Args:
        **kwargs: what every layer takes.
    """

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """The inputs merged, with as many axes as the longest has."""
        shape = inputs[0].shape
        for x in inputs:
            if x.shape != shape:
                inputs = self._aligned(inputs)
                break
        return self.merge(inputs)

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """What becomes of tensors of as many axes each."""
        raise NotImplementedError(f"{type(self).__name__} does not define merge().")

    def _aligned(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The inputs with axes of size 1 put in after the batch axis, so that all have as many."""
        rank = len(self.compute_output_shape([x.shape for x in inputs]))
        return [x if x.ndim == rank else x[(slice(None),) + (None,) * (rank - x.ndim)] for x in inputs]

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The shape to which all the shapes broadcast."""
        rank = max(len(shape) for shape in input_shape)
        padded = [(*(1,) * (rank - len(shape)), *shape[1:]) for shape in input_shape]
        batch = _batch_size([shape[0] for shape in input_shape])
        sizes = [_broadcast_size(column) for column in zip(*padded, strict=True)]
        if batch == -1 or -1 in sizes:
            raise ShapeError(
                f"{type(self).__name__} cannot merge these shapes.",
                expected="equal batch sizes; along each other axis equal sizes, or 1",
                received=" and ".join(str(tuple(shape)) for shape in input_shape),
                fix="bring them to one shape first, say with Dense, Conv2D(kernel_size=1) or Reshape",
            )
        return (batch, *sizes)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """True where any input's mask is; none unless each input has one."""
        if previous_mask is None or any(mask is None for mask in previous_mask):
            return None
        return functools.reduce(torch.logical_or, previous_mask)


def _batch_size(sizes: Sequence[int | None]) -> int | None:
    """The batch size that all share, `None` if no one knows it, -1 if they differ."""
    found = None
    for size in sizes:
        if size is not None:
            if found is not None and found != size:
                return -1
            found = size
    return found


def _broadcast_size(sizes: Sequence[int | None]) -> int | None:
    """The size along an axis where `sizes` meet, -1 if they cannot."""
    found, unknown = 1, False
    for size in sizes:
        if size is None:
            unknown = True
        elif size != 1:
            if found != 1 and found != size:
                return -1
            found = size
    return None if unknown else found
