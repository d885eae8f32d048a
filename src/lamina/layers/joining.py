"""Layers that join tensors along an axis: Concatenate and Dot, and the functions of the same names."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lamina import config
from lamina.engine.abstract import Shape
from lamina.errors import ArgumentError, ShapeError
from lamina.layers.merge import Merge
from lamina.registry import LAYERS


@LAYERS.register()
class Concatenate(Merge):
    """The inputs one after another along an axis.

    Args:
        axis: along which they are joined.
        **kwargs: what every layer takes.

    Input shape:
        A list of shapes that are equal but for `axis`.

    Output shape:
        The same with the sum of the sizes on `axis`.

    Raises:
        ShapeError: the input is no list, or the shapes differ elsewhere too.

    Example:
        >>> Concatenate()([torch.zeros(2, 3), torch.ones(2, 1)]).tolist()
        [[0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]]
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: list[Tensor]) -> Tensor:
        """The inputs joined."""
        return torch.cat(inputs, self.axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The sizes, summed up on the axis."""
        rank = len(input_shape[0])
        axis = self.axis % rank if -rank <= self.axis < rank else None
        if axis is None or any(len(shape) != rank for shape in input_shape):
            raise self._mismatch(input_shape)
        merged: list[int | None] = []
        for at, column in enumerate(zip(*input_shape, strict=True)):
            known = set(column) - {None}
            if at == axis:
                merged.append(None if None in column else sum(column))
            elif len(known) > 1:
                raise self._mismatch(input_shape)
            else:
                merged.append(next(iter(known), None))
        return tuple(merged)

    def _mismatch(self, shapes: Any) -> ShapeError:
        return ShapeError(
            "Concatenate cannot join these shapes.",
            expected=f"equal sizes on every axis but {self.axis}",
            received=" and ".join(str(tuple(shape)) for shape in shapes),
            fix="choose the axis on which they differ, or bring them to one shape with Flatten, Reshape or cropping",
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The masks joined, or True where any is when the axis is none of theirs; an input without one counts."""
        if previous_mask is None or all(mask is None for mask in previous_mask):
            return None
        rank = max(mask.ndim for mask in previous_mask if mask is not None)
        axis = self.axis % inputs[0].ndim
        masks = [
            x.new_ones(x.shape[:rank], dtype=torch.bool) if mask is None else mask
            for x, mask in zip(inputs, previous_mask, strict=True)
        ]
        return torch.cat(masks, axis) if axis < rank else functools.reduce(torch.logical_or, masks)


@LAYERS.register()
class Dot(Merge):
    """The dot product of two tensors along an axis of each, sample by sample.

    Args:
        axes: the axis, or one for each input, along which products are summed; not the batch axis.
        normalize: whether the inputs are first divided by their norm along the axis, which gives cosines.
        **kwargs: what every layer takes.

    Input shape:
        A list of two shapes with equal batch sizes and equal sizes on the axes.

    Output shape:
        `(batch, other sizes of the first, other sizes of the second)`; `(batch, 1)` if there are no others.

    Raises:
        ArgumentError: `axes` is neither a whole number nor two of them, or names the batch axis.
        ShapeError: the input is no list of two, or the sizes on the axes differ.

    Example:
        >>> Dot(axes=(1, 2))([torch.ones(2, 3, 5), torch.ones(2, 10, 3)]).shape
        torch.Size([2, 5, 10])
    """

    _count = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair: list[Any] = list(axes) if isinstance(axes, (list, tuple)) else [axes] * 2
        if len(pair) != 2 or any(isinstance(a, bool) or not hasattr(a, "__index__") or a == 0 for a in pair):
            raise ArgumentError(
                "Dot needs the axis to sum along, or one for each of its two inputs.",
                expected="a whole number other than 0, the batch axis, or two of them",
                received=f"axes={axes!r}",
                fix="axes=1, or axes=(2, 1)",
            )
        self.axes = axes
        self._each: tuple[int, int] = (int(pair[0]), int(pair[1]))
        self.normalize = normalize

    def _pair(self, first: int, second: int) -> tuple[int, int]:
        """The axes counted from 0 up, for inputs of `first` and `second` axes."""
        a, b = self._each
        return (a + first if a < 0 else a), (b + second if b < 0 else b)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        """The products, summed along the axes."""
        x, y = inputs
        a, b = self._pair(x.ndim, y.ndim)
        if self.normalize:
            x = torch.nn.functional.normalize(x, dim=a, eps=config.epsilon())
            y = torch.nn.functional.normalize(y, dim=b, eps=config.epsilon())
        if x.ndim == y.ndim == 2:
            return torch.linalg.vecdot(x, y).unsqueeze(1)
        x, y = x.movedim(a, -1), y.movedim(b, 1)
        product = torch.bmm(x.reshape(x.shape[0], -1, x.shape[-1]), y.reshape(*y.shape[:2], -1))
        return product.reshape(x.shape[:-1] + y.shape[2:])

    def compute_output_shape(self, input_shape: Any) -> Shape:
        """The batch size and the sizes that are not summed along."""
        x, y = (tuple(shape) for shape in input_shape)
        a, b = self._pair(len(x), len(y))
        batches = {x[0], y[0]} - {None}
        if not 0 < a < len(x) or not 0 < b < len(y) or len({x[a], y[b]} - {None}) > 1 or len(batches) > 1:
            raise ShapeError(
                f"Dot cannot sum these shapes along axes {self.axes}.",
                expected="equal batch sizes, and one size on the two axes",
                received=f"{x} and {y}",
                fix="choose axes of equal size, or Permute or Dense before",
            )
        rest = x[1:a] + x[a + 1 :] + y[1:b] + y[b + 1 :]
        return (next(iter(batches), None), *(rest or (1,)))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None: the steps of the inputs are gone."""
        return None


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """The inputs one after another along an axis, by a new `Concatenate` layer.

    Args:
        inputs: a list of tensors.
        axis: along which they are joined.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list, or the shapes differ elsewhere than on `axis`.

    Example:
        >>> concatenate([torch.zeros(1, 2), torch.ones(1, 1)]).tolist()
        [[0.0, 0.0, 1.0]]
    """
    return Concatenate(axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **kwargs: Any) -> Any:
    """The dot product of two tensors along an axis of each, by a new `Dot` layer.

    Args:
        inputs: a list of two tensors.
        axes: the axis, or one for each input, along which products are summed.
        **kwargs: what the layer takes, such as `normalize=True`.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list of two, or the sizes on the axes differ.

    Example:
        >>> dot([torch.ones(1, 3), 2 * torch.ones(1, 3)], axes=1).tolist()
        [[6.0]]
    """
    return Dot(axes, **kwargs)(inputs)
