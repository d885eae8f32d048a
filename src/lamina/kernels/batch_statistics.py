"""Batch normalization in lamina's own kernel: the operators `lamina::normalization` and `lamina::scaled_sum`.

The sum with another branch and ReLU, which so often follow, are part of its passes over memory: two on the way forward,
two on the way back. Shapes: rows are all axes but the last, C channels.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lamina.kernels.native import library
from lamina.kernels.native.operator import operator, pulled_back
from lamina.kernels.select import native


def suits(x: Tensor, gamma: Tensor | None, beta: Tensor | None, residual: Tensor | None) -> bool:
    """Whether the operator can take these tensors.

    Args:
        x: `(..., C)`, float32 or bfloat16.
        gamma: `(C,)`, float32, or `None`.
        beta: `(C,)`, float32, or `None`.
        residual: of the shape and dtype of `x`, or `None`.

    Example:
        >>> suits(torch.zeros(2, 3).double(), None, None, None)
        False
    """
    if x.dtype is torch.bfloat16:
        if not x.is_cpu or (residual is not None and residual.dtype is not x.dtype):
            return False
        with torch.autocast("cpu", enabled=False):  # which has done its part
            return native("normalization", gamma, beta)
    return native("normalization", x, gamma, beta, residual)


def normalization(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, residual: Tensor | None, relu: bool, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`relu(gamma * (x - mean) / sqrt(variance + epsilon) + beta + residual)`; `suits` says when.

    Args:
        x: `(..., C)`, float32 or bfloat16.
        gamma: `(C,)`, or `None` for 1.
        beta: `(C,)`, or `None` for 0.
        residual: of the shape of `x`, or `None`.
        relu: whether what is below zero becomes zero.
        epsilon: added to the variance.

    Returns:
        The result, the mean `(C,)` and `1 / sqrt(variance + epsilon)`, `(C,)`; the two carry no gradient.
    """
    return _normalization(x, gamma, beta, residual, relu, epsilon)[:3]


def scaled_sum(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    """`relu(x * scale + shift + residual)` in one pass, where no gradient is wanted: a normalization at inference.

    Args:
        x: `(..., C)`, float32 or bfloat16.
        scale: `(C,)`, float32.
        shift: `(C,)`.
        residual: of the shape of `x`, or `None`.
        relu: whether what is below zero becomes zero.
    """
    return _scaled_sum_operator(x, scale, shift, residual, relu)


def _scaled_sum(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    x, residual = x.contiguous(), None if residual is None else residual.contiguous()
    y = torch.empty_like(x)
    _function("lamina_normalization_apply")(
        x.numel() // x.shape[-1], x.shape[-1], torch.get_num_threads(), x.dtype is torch.bfloat16, relu,
        *map(_address, (x, scale, shift, residual, y)),
    )  # fmt: skip
    return y


def _scaled_shape(x: Tensor, scale: Tensor, shift: Tensor, residual: Tensor | None, relu: bool) -> Tensor:
    return x.new_empty(x.shape)


def _forward(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, residual: Tensor | None, relu: bool, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x = x.contiguous()
    gamma, beta, residual = (None if t is None else t.contiguous() for t in (gamma, beta, residual))
    y, (mean, inverse, factors) = torch.empty_like(x), (x.new_empty(n, dtype=torch.float32) for n in _counts(x))
    _function("lamina_normalization_forward")(
        x.numel() // x.shape[-1], x.shape[-1], torch.get_num_threads(), x.dtype is torch.bfloat16, epsilon, relu,
        *map(_address, (x, gamma, beta, residual, y, mean, inverse, factors)),
    )  # fmt: skip
    return y, mean, inverse, factors


def _counts(x: Tensor) -> tuple[int, int, int]:
    return x.shape[-1], x.shape[-1], 2 * x.shape[-1]


def _shapes(
    x: Tensor, gamma: Tensor | None, beta: Tensor | None, residual: Tensor | None, relu: bool, epsilon: float
) -> tuple[Tensor, ...]:
    return x.new_empty(x.shape), *(x.new_empty(n, dtype=torch.float32) for n in _counts(x))


def _save(ctx: Any, arguments: tuple[Any, ...], results: tuple[Tensor, ...]) -> None:
    x, gamma, beta, residual, ctx.relu, ctx.epsilon = arguments
    y, mean, inverse, factors = results
    ctx.mark_non_differentiable(mean, inverse, factors)
    # With nothing added, what ReLU let through is computed again rather than read.
    kept = (None, factors) if residual is None else (y, None)
    ctx.wanted = [t is not None and t.requires_grad for t in (gamma, beta, residual)]
    ctx.save_for_backward(x, gamma, beta, *(kept if ctx.relu else (None, None)), mean, inverse)


def _gradients(ctx: Any, dy: Tensor, *_: Any) -> tuple[Any, ...]:
    x, gamma, _, y, factors, mean, inverse = ctx.saved_tensors
    x, dy = x.contiguous(), dy.contiguous()
    gamma = None if gamma is None else gamma.contiguous()
    of_gamma, of_beta, of_residual = ctx.wanted
    dx = torch.empty_like(x)
    dgamma, dbeta = (torch.empty_like(mean) if wanted else None for wanted in (of_gamma, of_beta))
    dresidual = torch.empty_like(x) if of_residual and ctx.relu else None
    _function("lamina_normalization_backward")(
        x.numel() // x.shape[-1], x.shape[-1], torch.get_num_threads(), x.dtype is torch.bfloat16, ctx.relu,
        *map(_address, (dy, x, y, factors, gamma, mean, inverse, dx, dresidual, dgamma, dbeta)),
    )  # fmt: skip
    return dx, dgamma, dbeta, dy if of_residual and not ctx.relu else dresidual, None, None


def reference(x: Tensor, gamma: Tensor | None, beta: Tensor | None, epsilon: float) -> Tensor:
    """What the operator gives, without `residual` and `relu`, in plain torch.

    Args:
        x: `(..., C)`.
        gamma: `(C,)`, or `None` for 1.
        beta: `(C,)`, or `None` for 0.
        epsilon: added to the variance.
    """
    rows = x.reshape(-1, x.shape[-1])
    centered = rows - rows.mean(0)
    y = centered * torch.rsqrt(centered.square().mean(0) + epsilon)
    y = y if gamma is None else y * gamma
    return (y if beta is None else y + beta).view(x.shape)


def _again(ctx: Any, dy: Tensor, *_: Any) -> tuple[Any, ...]:
    x, gamma, beta, y = ctx.saved_tensors[:4]
    result = reference(x, gamma, beta, ctx.epsilon)
    dy = dy * ((result if y is None else y) > 0) if ctx.relu else dy
    found = pulled_back([result], [x, gamma, beta], [dy])
    return (*found, dy if ctx.wanted[2] else None, None, None)


@functools.cache
def _function(name: str) -> Callable[..., None]:
    function: Any = getattr(library("normalization"), name)
    numbers: list[Any] = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int, ctypes.c_int]
    forward = name.endswith("forward")
    numbers += [ctypes.c_float, ctypes.c_int] if forward else [ctypes.c_int]
    count = {"forward": 8, "backward": 11, "apply": 5}[name.rpartition("_")[2]]
    function.argtypes = [*numbers, *[ctypes.c_void_p] * count]
    function.restype = None
    return function


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


_normalization = operator(
    "normalization(Tensor x, Tensor? gamma, Tensor? beta, Tensor? residual, bool relu, float epsilon) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    _forward,
    _shapes,
    _save,
    _gradients,
    _again,
)
_scaled_sum_operator = operator(
    "scaled_sum(Tensor x, Tensor scale, Tensor shift, Tensor? residual, bool relu) -> Tensor",
    _scaled_sum,
    _scaled_shape,
)
