"""What a classifier ends in, in lamina's own kernel: `lamina::softmax`, `lamina::cross_entropy`, `lamina::matches`.

For a batch of a few thousand scores torch spends ten times longer on getting to its kernels than in them.

Shapes: N rows, C classes.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.kernels.native import library
from lamina.kernels.native.operator import operator, pulled_back
from lamina.kernels.select import native

# Rows of so few classes, so many numbers together: what torch's own softmax is slow at.
_MOST_CLASSES, _LEAST_NUMBERS = 16, 1 << 14


def suits(scores: Tensor, labels: Tensor) -> bool:
    """Whether the operators can take these tensors.

    Args:
        scores: `(N, C)`.
        labels: `(N,)`, class numbers.

    Example:
        >>> suits(torch.zeros(2, 3).double(), torch.zeros(2, dtype=torch.int64))
        False
    """
    fits = scores.dim() == 2 and labels.dim() == 1 and labels.dtype is torch.int64 and labels.device.type == "cpu"
    return fits and native("classification", scores) and scores.shape[0] == labels.shape[0] and scores.numel() > 0


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy of softmax; `suits` says when it can be had.

    Args:
        scores: `(N, C)`, float32.
        labels: `(N,)`, int64.

    Returns:
        A tensor without axes.

    Raises:
        IndexError: a label is no class.
    """
    return _cross_entropy(scores, labels)[0]


def matches(scores: Tensor, labels: Tensor) -> Tensor:
    """In how many rows the largest score is that of the label; `suits` says when it can be had.

    Args:
        scores: `(N, C)`, float32.
        labels: `(N,)`, int64.

    Returns:
        A float64 tensor of one number.
    """
    return _matches(scores, labels)


def suits_softmax(x: Tensor) -> bool:
    """Whether softmax along the last axis of `x` is faster in the operator: for many rows of few numbers.

    Args:
        x: `(..., C)`.

    Example:
        >>> suits_softmax(torch.zeros(2, 3))
        False
    """
    if torch.compiler.is_compiling() or x.dim() < 2:
        return False
    if x.shape[-1] > _MOST_CLASSES or x.numel() < _LEAST_NUMBERS:
        return False
    if x.dtype is torch.bfloat16 and torch.is_autocast_enabled("cpu"):  # which computes softmax in float32
        with torch.autocast("cpu", enabled=False):
            return x.is_cpu and native("classification")
    return native("classification", x)


def softmax(x: Tensor) -> Tensor:
    """Softmax along the last axis; `suits_softmax` says when.

    Args:
        x: `(..., C)`, float32, or bfloat16 under autocast.

    Returns:
        A float32 tensor of the shape of `x`.
    """
    return _softmax(x.float())


def _softmax_forward(x: Tensor) -> Tensor:
    x = x.contiguous()
    y = torch.empty_like(x)
    _function("lamina_softmax_forward")(
        x.numel() // x.shape[-1], x.shape[-1], torch.get_num_threads(), x.data_ptr(), y.data_ptr()
    )
    return y


def _softmax_shape(x: Tensor) -> Tensor:
    return x.new_empty(x.shape)


def _softmax_save(ctx: Any, arguments: tuple[Any, ...], y: Tensor) -> None:
    ctx.save_for_backward(*arguments, y)


def _softmax_gradients(ctx: Any, dy: Tensor) -> tuple[Tensor]:
    y, dy = ctx.saved_tensors[1], dy.contiguous()
    dx = torch.empty_like(y)
    _function("lamina_softmax_backward")(
        y.numel() // y.shape[-1], y.shape[-1], torch.get_num_threads(), y.data_ptr(), dy.data_ptr(), dx.data_ptr()
    )
    return (dx,)


def _softmax_again(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x = ctx.saved_tensors[0]
    return tuple(pulled_back([torch.softmax(x, -1)], [x], [dy]))


def _forward(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    scores, labels = scores.contiguous(), labels.contiguous()
    loss, logs = scores.new_empty(()), scores.new_empty(scores.shape[0], 2)
    wrong = _function("lamina_cross_entropy_forward")(
        *scores.shape, torch.get_num_threads(), scores.data_ptr(), labels.data_ptr(), loss.data_ptr(), logs.data_ptr()
    )
    if wrong:
        raise IndexError("a label is no class")
    return loss, logs


def _save(ctx: Any, arguments: tuple[Any, ...], results: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(results[1])
    ctx.save_for_backward(*arguments, results[1])


def _gradients(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor, None]:
    scores, labels, logs = ctx.saved_tensors
    scores, labels = scores.contiguous(), labels.contiguous()
    of_scores, gradient = torch.empty_like(scores), gradient.float()
    _function("lamina_cross_entropy_backward")(
        *scores.shape, torch.get_num_threads(),
        *(t.data_ptr() for t in (scores, labels, logs, gradient, of_scores)),
    )  # fmt: skip
    return of_scores, None


def _again(ctx: Any, gradient: Tensor, _: Any) -> tuple[Any, None]:
    scores, labels, _ = ctx.saved_tensors
    return pulled_back([F.cross_entropy(scores, labels)], [scores], [gradient])[0], None


def _shapes(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    return scores.new_empty(()), scores.new_empty(scores.shape[0], 2)


def _count(scores: Tensor, labels: Tensor) -> Tensor:
    scores, labels, found = scores.contiguous(), labels.contiguous(), torch.empty(1, dtype=torch.float64)
    _function("lamina_matches")(
        *scores.shape, torch.get_num_threads(), scores.data_ptr(), labels.data_ptr(), found.data_ptr()
    )
    return found


def _count_shape(scores: Tensor, labels: Tensor) -> Tensor:
    return scores.new_empty(1, dtype=torch.float64)


@functools.cache
def _function(name: str) -> Callable[..., Any]:
    function: Any = getattr(library("classification"), name)
    addresses = {"lamina_cross_entropy_forward": 4, "lamina_cross_entropy_backward": 5, "lamina_matches": 3}
    addresses |= {"lamina_softmax_forward": 2, "lamina_softmax_backward": 3}
    function.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int, *[ctypes.c_void_p] * addresses[name]]
    function.restype = ctypes.c_int if name == "lamina_cross_entropy_forward" else None
    return function


_cross_entropy = operator(
    "cross_entropy(Tensor scores, Tensor labels) -> (Tensor, Tensor)", _forward, _shapes, _save, _gradients, _again
)
_softmax = operator(
    "softmax(Tensor x) -> Tensor", _softmax_forward, _softmax_shape, _softmax_save, _softmax_gradients, _softmax_again
)
_matches = operator("matches(Tensor scores, Tensor labels) -> Tensor", _count, _count_shape)
