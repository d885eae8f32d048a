"""Layers that combine tensors number by number, and the functions of the same names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.engine.masking import get_mask
from lamina.layers.merge import ElementwiseMerge
from lamina.registry import LAYERS


@LAYERS.register()
class Add(ElementwiseMerge):
    """The sum of the inputs.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        A list of shapes that broadcast to one, with equal batch sizes.

    Output shape:
        That one.

    Raises:
        ShapeError: the input is no list, or the shapes do not go together.

    Example:
        >>> Add()([torch.ones(2), torch.ones(2), torch.ones(2)]).tolist()
        [3.0, 3.0]
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The sum."""
        return functools.reduce(torch.add, inputs)


@LAYERS.register()
class Subtract(ElementwiseMerge):
    """The first input less the second.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        A list of two shapes that broadcast to one, with equal batch sizes.

    Output shape:
        That one.

    Raises:
        ShapeError: the input is no list of two, or the shapes do not go together.

    Example:
        >>> Subtract()([torch.ones(2), 3 * torch.ones(2)]).tolist()
        [-2.0, -2.0]
    """

    _count = 2

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The difference."""
        return torch.sub(inputs[0], inputs[1])


@LAYERS.register()
class Multiply(ElementwiseMerge):
    """The product of the inputs, number by number; masked steps of an input count as 1.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        A list of shapes that broadcast to one, with equal batch sizes.

    Output shape:
        That one.

    Raises:
        ShapeError: the input is no list, or the shapes do not go together.

    Example:
        >>> Multiply()([2 * torch.ones(2), 3 * torch.ones(2)]).tolist()
        [6.0, 6.0]
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The product; 0 where every input is masked."""
        masks = [_mask_over(x) for x in inputs]
        if all(mask is None for mask in masks):
            return functools.reduce(torch.mul, inputs)
        factors = [x if mask is None else torch.where(mask, x, 1) for x, mask in zip(inputs, masks, strict=True)]
        product = functools.reduce(torch.mul, factors)
        if any(mask is None for mask in masks):
            return product
        return torch.where(functools.reduce(torch.logical_or, masks), product, 0)


@LAYERS.register()
class Average(ElementwiseMerge):
    """The mean of the inputs.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        A list of shapes that broadcast to one, with equal batch sizes.

    Output shape:
        That one.

    Raises:
        ShapeError: the input is no list, or the shapes do not go together.

    Example:
        >>> Average()([torch.zeros(2), 3 * torch.ones(2)]).tolist()
        [1.5, 1.5]
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The mean."""
        return functools.reduce(torch.add, inputs) / len(inputs)


@LAYERS.register()
class Maximum(ElementwiseMerge):
    """The largest of the inputs, number by number; masked steps of an input do not count.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        A list of shapes that broadcast to one, with equal batch sizes.

    Output shape:
        That one.

    Raises:
        ShapeError: the input is no list, or the shapes do not go together.

    Example:
        >>> Maximum()([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0])]).tolist()
        [3.0, 5.0]
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The largest."""
        return _extreme(torch.maximum, inputs)


@LAYERS.register()
class Minimum(ElementwiseMerge):
    """The smallest of the inputs, number by number; masked steps of an input do not count.

    Args:
        **kwargs: what every layer takes.

    Input shape:
        A list of shapes that broadcast to one, with equal batch sizes.

    Output shape:
        That one.

    Raises:
        ShapeError: the input is no list, or the shapes do not go together.

    Example:
        >>> Minimum()([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0])]).tolist()
        [1.0, 2.0]
    """

    def merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """The smallest."""
        return _extreme(torch.minimum, inputs)


def _mask_over(x: Tensor) -> Any:
    """The mask of `x` with an axis of size 1 for each axis that it does not cover; `None` if there is no mask."""
    mask = get_mask(x)
    return None if mask is None else mask[(...,) + (None,) * (x.ndim - mask.ndim)]


def _extreme(better: Callable[[Tensor, Tensor], Tensor], inputs: Sequence[Tensor]) -> Tensor:
    """`better` over the inputs from first to last, a masked number giving way to one that is not."""
    best, mask = inputs[0], _mask_over(inputs[0])
    for x in inputs[1:]:
        its_mask = _mask_over(x)
        if its_mask is not None:
            x = torch.where(its_mask, x, best)
        if mask is not None:
            best = torch.where(mask, best, x)
        mask = None if mask is None or its_mask is None else mask | its_mask
        best = better(best, x)
    return best


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The sum of the inputs, by a new `Add` layer.

    Args:
        inputs: a list of tensors.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list, or the shapes do not go together.

    Example:
        >>> add([torch.ones(2), torch.ones(2)]).tolist()
        [2.0, 2.0]
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The first of two inputs less the second, by a new `Subtract` layer.

    Args:
        inputs: a list of two tensors.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list of two, or the shapes do not go together.

    Example:
        >>> subtract([torch.ones(2), 3 * torch.ones(2)]).tolist()
        [-2.0, -2.0]
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The product of the inputs, by a new `Multiply` layer.

    Args:
        inputs: a list of tensors.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list, or the shapes do not go together.

    Example:
        >>> multiply([2 * torch.ones(2), 3 * torch.ones(2)]).tolist()
        [6.0, 6.0]
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The mean of the inputs, by a new `Average` layer.

    Args:
        inputs: a list of tensors.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list, or the shapes do not go together.

    Example:
        >>> average([torch.zeros(2), 3 * torch.ones(2)]).tolist()
        [1.5, 1.5]
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The largest of the inputs, by a new `Maximum` layer.

    Args:
        inputs: a list of tensors.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list, or the shapes do not go together.

    Example:
        >>> maximum([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0])]).tolist()
        [3.0, 5.0]
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The smallest of the inputs, by a new `Minimum` layer.

    Args:
        inputs: a list of tensors.
        **kwargs: what the layer takes.

    Returns:
        A tensor.

    Raises:
        ShapeError: `inputs` is no list, or the shapes do not go together.

    Example:
        >>> minimum([torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0])]).tolist()
        [1.0, 2.0]
    """
    return Minimum(**kwargs)(inputs)
