"""Labels, predictions and weights brought to one dtype, device and rank before they meet."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lamina import config
from lamina.dtypes import torch_dtype
from lamina.errors import DtypeError, ShapeError


def as_tensor(value: Any) -> Tensor:
    """`value` as a tensor: tensors, symbolic ones too, as they are; arrays, lists and numbers converted.

    Python's floats become `config.floatx()`; an array keeps its dtype.

    Args:
        value: a tensor, an array, a data frame's column, a number, or lists of numbers.

    Returns:
        A tensor; of an array, one that shares its memory where it can.

    Raises:
        DtypeError: `value` does not hold numbers.

    Example:
        >>> as_tensor([1, 2]), as_tensor(np.float32(0.5))
        (tensor([1, 2]), tensor(0.5000))
    """
    if isinstance(value, Tensor) or hasattr(value, "__torch_function__"):
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
        return torch.stack([as_tensor(v) for v in value])
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise DtypeError(
            "A loss or metric is computed from numbers.",
            expected="numbers, in a tensor, an array or a list",
            received=f"{type(value).__name__} of dtype {array.dtype}",
            fix="number the labels first: np.unique(y, return_inverse=True)[1]",
        )
    if array.dtype == np.float64 and not hasattr(value, "dtype"):
        return torch.from_numpy(array).to(torch_dtype(config.floatx()))
    # torch takes neither a read-only array nor a negative stride.
    return torch.from_numpy(np.require(array, requirements=("C", "W")))


def as_float(value: Any) -> Tensor:
    """`as_tensor`, with integers and booleans in `config.floatx()`.

    Args:
        value: what `as_tensor` takes.

    Returns:
        A tensor of a float dtype.

    Example:
        >>> as_float([1, 0])
        tensor([1., 0.])
    """
    tensor = as_tensor(value)
    return tensor if tensor.dtype.is_floating_point else tensor.to(torch_dtype(config.floatx()))


def float_pair(y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Labels and predictions as float tensors of one dtype, device and, where one axis of size 1 allows it, rank.

    Args:
        y_true: the labels; they take the dtype and device of the predictions.
        y_pred: the predictions.

    Returns:
        `y_true` and `y_pred`.

    Example:
        >>> y_true, y_pred = float_pair([1, 0], torch.zeros(2, 1))
        >>> y_true.shape, y_true.dtype
        (torch.Size([2, 1]), torch.float32)
    """
    y_pred = as_float(y_pred)
    y_true = as_tensor(y_true).to(device=y_pred.device, dtype=y_pred.dtype)
    return align_ranks(y_true, y_pred)


def align_ranks(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """`a` and `b` with equal rank, when one only has an axis of size 1 at its end that the other lacks.

    Beside `(N,)` the other keeps its `(N, 1)` and the first is expanded; beside a higher rank the axis is
    dropped. Anything else is returned as it came.

    Args:
        a: a tensor.
        b: another.

    Returns:
        The two tensors.

    Example:
        >>> [t.shape for t in align_ranks(torch.zeros(4), torch.zeros(4, 1))]
        [torch.Size([4, 1]), torch.Size([4, 1])]
        >>> [t.shape for t in align_ranks(torch.zeros(4, 5, 1), torch.zeros(4, 5))]
        [torch.Size([4, 5]), torch.Size([4, 5])]
    """
    if a.ndim == b.ndim + 1 and a.shape[-1] == 1:
        return (a, b.unsqueeze(-1)) if b.ndim == 1 else (a.squeeze(-1), b)
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        return (a.unsqueeze(-1), b) if a.ndim == 1 else (a, b.squeeze(-1))
    return a, b


def elementwise_pair(y_true: Any, y_pred: Any, name: str) -> tuple[Tensor, Tensor]:
    """`float_pair`, for a function that compares each label with one prediction.

    Labels may be repeated along axes of size 1 of their own, but predictions never are: it is how `(N,)`
    labels against `(N, 1)` predictions come to be compared all with all.

    Args:
        y_true: the labels.
        y_pred: the predictions.
        name: the function, for the message.

    Returns:
        Two tensors of equal shape.

    Raises:
        ShapeError: the shapes do not pair label with prediction.

    Example:
        >>> [t.shape for t in elementwise_pair(0.5, torch.zeros(2, 3), "mse")]
        [torch.Size([2, 3]), torch.Size([2, 3])]
    """
    y_true, y_pred = float_pair(y_true, y_pred)
    if y_true.shape == y_pred.shape:
        return y_true, y_pred
    if y_true.ndim == y_pred.ndim:
        pairs = all(t in (1, p) for t, p in zip(y_true.shape, y_pred.shape, strict=True))
    else:
        pairs = y_true.ndim == 0
    if not pairs:
        raise ShapeError(
            f"{name} compares each label with one prediction, and these shapes do not pair.",
            expected=f"labels of shape {tuple(y_pred.shape)}, that of the predictions",
            received=f"labels of shape {tuple(y_true.shape)}",
            fix="reshape the labels, or give the last layer one unit a label",
        )
    return y_true.expand_as(y_pred), y_pred


def refuse_pairwise(values: Any, y_true: Tensor, y_pred: Tensor, name: str) -> None:
    """Check that what a loss or metric function gave can be one value a sample.

    Args:
        values: the function's result.
        y_true: the labels that it was given.
        y_pred: the predictions that it was given.
        name: the function, for the message.

    Raises:
        DtypeError: `values` is no tensor.
        ShapeError: `values` has more axes than labels and predictions, or holds every label against every
            prediction.

    Example:
        >>> y, p = torch.zeros(3, 1), torch.zeros(3, 1)
        >>> refuse_pairwise((y.squeeze() - p) ** 2, y, p, "squared")
        Traceback (most recent call last):
        lamina.errors.ShapeError: 'squared' compared every label with every prediction.
          expected: one value a sample, of shape (3,) or (3, 1)
          received: shape (3, 3), from labels of shape (3, 1) and predictions of shape (3, 1)
          fix:      keep both in one shape inside the function; a squeeze or reshape of only one of them does this
    """
    if not (isinstance(values, Tensor) or hasattr(values, "__torch_function__")):
        raise DtypeError(
            f"'{name}' must return a tensor.",
            expected="a tensor with one value a sample",
            received=f"{type(values).__name__}",
            fix="compute with torch functions, and return their result",
        )
    rank = max(y_true.ndim, y_pred.ndim)
    single = y_pred.ndim == 1 or (y_pred.ndim == 2 and y_pred.shape[-1] == 1)
    square = values.ndim == 2 and values.shape[0] == values.shape[1] == y_pred.shape[0] != 1
    if values.ndim > rank or (single and square):
        told = "compared every label with every prediction" if square else "gave more axes than it was given"
        rows = y_pred.shape[0] if y_pred.ndim else 1
        raise ShapeError(
            f"'{name}' {told}.",
            expected=f"one value a sample, of shape ({rows},) or {tuple(y_pred.shape)}",
            received=f"shape {tuple(values.shape)}, from labels of shape {tuple(y_true.shape)} "
            f"and predictions of shape {tuple(y_pred.shape)}",
            fix="keep both in one shape inside the function; a squeeze or reshape of only one of them does this",
        )
