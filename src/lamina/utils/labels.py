"""Labels and vectors in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.errors import ArgumentError, TargetError


def to_categorical(x: Any, num_classes: int | None = None) -> Any:
    """Whole numbers as one-hot rows.

    Args:
        x: class indices, of any shape; a last axis of size 1 is dropped.
        num_classes: the number of classes; by default the greatest index plus one.

    Returns:
        A float32 array of shape `(*x.shape, num_classes)`; a tensor for a tensor.

    Raises:
        TargetError: `x` holds something else than whole numbers, or an index is negative or not below `num_classes`.
        ArgumentError: `num_classes` is no whole number, or negative.

    Example:
        >>> to_categorical([0, 2]).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    if isinstance(x, torch.Tensor):
        numbers = x.detach().cpu()
        numbers = numbers.double() if numbers.is_floating_point() else numbers
        return torch.from_numpy(to_categorical(numbers.numpy(), num_classes)).to(x.device)
    index = _whole_numbers(np.asarray(x))
    if index.ndim > 1 and index.shape[-1] == 1:
        index = index[..., 0]
    count = num_classes if num_classes is not None else (int(index.max()) + 1 if index.size else 0)
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or (num_classes is not None and count < 0):
        raise ArgumentError(
            "num_classes cannot be used.", expected="a whole number", received=repr(num_classes), fix="leave it out"
        )
    if index.size and (index.min() < 0 or index.max() >= count):
        worst = int(index.min() if index.min() < 0 else index.max())
        raise TargetError(
            "A class index is out of range.",
            expected=f"whole numbers from 0 to {count - 1}" if count > 0 else "whole numbers from 0",
            received=f"{worst}",
            fix=f"pass num_classes={worst + 1}" if worst >= 0 else "number the classes from 0",
        )
    rows = np.zeros((*index.shape, count), dtype="float32")
    np.put_along_axis(rows, index[..., None], 1.0, axis=-1)
    return rows


def _whole_numbers(x: np.ndarray) -> np.ndarray:
    """`x` as integers, if that is what it holds."""
    if x.dtype.kind == "O":  # what pandas makes of its own integers
        x = np.asarray(x.tolist())
    flat = x.reshape(-1)
    wrong = flat[~(np.isfinite(flat) & (flat == np.floor(flat)))] if x.dtype.kind == "f" else flat
    if x.dtype.kind not in "biu" and wrong.size:
        raise TargetError(
            "Only class numbers become one-hot rows.",
            expected="whole numbers",
            received=f"{wrong.tolist()[0]!r}",
            fix="number the classes first: names, y = np.unique(y, return_inverse=True)",
        )
    return x.astype("int64")


def normalize(x: Any, axis: int = -1, order: int = 2) -> Any:
    """Vectors scaled to length one.

    Args:
        x: an array or tensor.
        axis: along which the vectors lie.
        order: of the norm, at least 1, such as 2 for Euclidean.

    Returns:
        Floats of the same shape; vectors of length zero stay zero.

    Raises:
        ArgumentError: `order` is less than 1 or no number, or `x` has no such axis.

    Example:
        >>> normalize(np.array([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    x = x if isinstance(x, torch.Tensor) else np.asarray(x)
    if isinstance(order, bool) or not isinstance(order, (int, float)) or not order >= 1:
        raise ArgumentError(
            "There is no norm of this order.", expected="a number of at least 1", received=repr(order), fix="order=2"
        )
    if not isinstance(axis, int) or not -x.ndim <= axis < x.ndim:
        raise ArgumentError(
            "There is no such axis.",
            expected=f"from {-x.ndim} to {x.ndim - 1}",
            received=f"axis={axis!r} for shape {tuple(x.shape)}",
            fix="axis=-1",
        )
    if isinstance(x, torch.Tensor):
        x = x if x.is_floating_point() or x.is_complex() else x.to(torch_dtype(config.floatx()))
        return torch.nn.functional.normalize(x, p=order, dim=axis)
    lengths = np.linalg.norm(x, ord=order, axis=axis, keepdims=True)
    return x / np.where(lengths == 0, 1, lengths)
