"""The convolution of images in lamina's own kernel: the operator `lamina::convolution`.

Padding, bias, activation and pooling are part of the same pass over memory, forward and backward, so that the result of
the convolution itself need not exist anywhere but in the cache. Shapes: N images, H x W x C, KH x KW window, F filters.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from lamina.kernels.activations import ACTIVATIONS, NUMBERS
from lamina.kernels.native import library
from lamina.kernels.native.operator import operator, pulled_back
from lamina.kernels.select import intel, native
from lamina.kernels.windows import same_padding

# Numbers of the kernel up to which it stays in the cache, where this kernel is faster than oneDNN's: measured on
# machines with AVX-512 by benchmarks/kernels.py. A window of one pixel is a product of matrices: oneDNN wins sooner.
_MOST, _MOST_OF_ONE_PIXEL, _MOST_WITH_MKL = 1 << 17, 1 << 16, 1 << 14
_MOST_WIDENED = 64  # numbers of a window
_MOST_OF_A_POOL = 256  # which member was the largest is kept in a byte


class Window(NamedTuple):
    """How windows lie on an image, and what becomes of what they give."""

    strides: tuple[int, int]
    padding: str | tuple[tuple[int, int], tuple[int, int]]
    """`"valid"`, `"same"`, or how many zeros stand before and after the height and the width."""
    pool: tuple[int, int] = (0, 0)
    """Windows of pooling behind the convolution, side by side; zeros for none."""
    activation: str = "linear"


def suits(x: Tensor, kernel: Tensor, bias: Tensor | None, window: Window) -> bool:
    """Whether the operator can take these tensors, and would be the fastest way.

    Args:
        x: `(N, H, W, C)`.
        kernel: `(KH, KW, C, F)`.
        bias: `(F,)` or `None`.
        window: strides, padding, pooling, activation.

    Example:
        >>> suits(torch.zeros(1, 8, 8, 3), torch.zeros(3, 3, 3, 4).double(), None, Window((1, 1), "same"))
        False
    """
    # First, since a compiler that traces would make guards of the sizes.
    if not native("convolution", x, kernel, bias) or kernel.dim() != 4 or x.dim() != 4:
        return False
    one_pixel = kernel.shape[0] == kernel.shape[1] == 1
    most = (_MOST_WITH_MKL if intel() else _MOST_OF_ONE_PIXEL) if one_pixel and not window.pool[0] else _MOST
    if (
        x.shape[3] != kernel.shape[2]
        or not 0 < kernel.numel() <= most
        or window.pool[0] * window.pool[1] > _MOST_OF_A_POOL
    ):
        return False
    return 0 not in _result_shape(_shape(tuple(x.shape), tuple(kernel.shape), window))


def convolution(
    x: Tensor,
    kernel: Tensor,
    bias: Tensor | None,
    window: Window,
    scale: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """The convolution of `x` with `kernel`, the bias, the pooling, the activation; `suits` says when it can be had.

    Args:
        x: `(N, H, W, C)`, float32.
        kernel: `(KH, KW, C, F)`, in any memory layout.
        bias: `(F,)` or `None`.
        window: strides, padding, pooling, activation.
        scale: `(F,)`, a factor of the sums before the bias; only where no gradient is wanted.
        residual: of the shape of the result, added before the activation; likewise.

    Returns:
        `(N, OH, OW, F)`, smaller by the windows of the pooling.
    """
    if residual is not None and window.pool[0]:
        raise NotImplementedError("a convolution with pooling adds no residual")
    shape = _shape(tuple(x.shape), tuple(kernel.shape), window)
    activation = NUMBERS[window.activation]
    return _convolution(x, kernel, bias, scale, residual, shape, activation, torch.is_grad_enabled())[0]


def suits_widened(x: Tensor, kernel: Tensor, bias: Tensor | None, window: Window) -> bool:
    """Whether, under autocast to bfloat16, the operator in float32 would be faster than a convolution of bfloat16.

    It is for windows of few numbers with pooling behind them: the products are few, and what pooling drops is many.

    Args:
        x: `(N, H, W, C)`, float32 or bfloat16.
        kernel: `(KH, KW, C, F)`, float32.
        bias: `(F,)` or `None`.
        window: strides, padding, pooling, activation.

    Example:
        >>> suits_widened(torch.zeros(1, 8, 8, 3), torch.zeros(3, 3, 3, 4), None, Window((1, 1), "same"))
        False
    """
    if not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") is not torch.bfloat16:
        return False
    if x.dtype not in (torch.float32, torch.bfloat16) or kernel.shape[:3].numel() > _MOST_WIDENED:
        return False
    with torch.autocast("cpu", enabled=False):
        return suits(x.float() if x.dtype is torch.bfloat16 else x, kernel, bias, window)


def widened(x: Tensor, kernel: Tensor, bias: Tensor | None, window: Window) -> Tensor:
    """`convolution` in float32 under autocast to bfloat16; `suits_widened` says when.

    Args:
        x: `(N, H, W, C)`, float32 or bfloat16.
        kernel: `(KH, KW, C, F)`, float32.
        bias: `(F,)` or `None`.
        window: strides, padding, pooling, activation.

    Returns:
        `(N, OH, OW, F)`, bfloat16.
    """
    with torch.autocast("cpu", enabled=False):
        return convolution(x.float(), kernel, bias, window).bfloat16()


@functools.lru_cache(1024)
def _shape(image: tuple[int, ...], kernel: tuple[int, ...], window: Window) -> list[int]:
    """The numbers that the kernel reads, in its order."""
    (height, width), (window_h, window_w) = image[1:3], kernel[:2]
    (stride_h, stride_w), pool = window.strides, window.pool
    top = left = 0
    if window.padding == "same":
        top, _ = same_padding(height, window_h, stride_h, 1)
        left, _ = same_padding(width, window_w, stride_w, 1)
        out_h, out_w = -(-height // stride_h), -(-width // stride_w)
    else:
        bottom = right = 0
        if not isinstance(window.padding, str):
            (top, bottom), (left, right) = window.padding
        out_h = (height + top + bottom - window_h) // stride_h + 1
        out_w = (width + left + right - window_w) // stride_w + 1
    return [*image, window_h, window_w, kernel[3], stride_h, stride_w, top, left, out_h, out_w, *pool]


@functools.lru_cache(1024)
def _packed(shape: tuple[int, ...]) -> Any:
    return (ctypes.c_int64 * len(shape))(*shape)


def _result_shape(shape: list[int]) -> tuple[int, ...]:
    images, filters, (out_h, out_w, pool_h, pool_w) = shape[0], shape[6], shape[11:]
    return images, max(0, out_h) // (pool_h or 1), max(0, out_w) // (pool_w or 1), filters


def _forward(
    x: Tensor, kernel: Tensor, bias: Tensor | None, scale: Tensor | None, residual: Tensor | None,
    shape: list[int], activation: int, keep: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    x = x.contiguous()
    bias, scale, residual = (None if t is None else t.contiguous() for t in (bias, scale, residual))
    y = x.new_empty(_result_shape(shape))
    places = x.new_empty(y.shape if keep and shape[13] else 0, dtype=torch.uint8)
    _function("lamina_convolution_forward")(
        _packed(tuple(shape)), activation, torch.get_num_threads(), x.data_ptr(), kernel.data_ptr(),
        _packed(kernel.stride()), _address(scale), _address(bias), _address(residual), y.data_ptr(),
        places.data_ptr() or None,
    )  # fmt: skip
    return y, places


def _shapes(
    x: Tensor, kernel: Tensor, bias: Tensor | None, scale: Tensor | None, residual: Tensor | None,
    shape: list[int], activation: int, keep: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    y = x.new_empty((x.shape[0], *_result_shape(shape)[1:]))
    return y, x.new_empty(y.shape if keep and shape[13] else (0,), dtype=torch.uint8)


def _save(ctx: Any, arguments: tuple[Any, ...], results: tuple[Tensor, Tensor]) -> None:
    x, kernel, bias, scale, residual, ctx.shape, ctx.activation, keep = arguments
    if not keep:
        raise ValueError("lamina::convolution was told keep=False, and cannot give gradients")
    if scale is not None or residual is not None:
        raise NotImplementedError("lamina::convolution has no gradient with a scale or a residual")
    y, places = results
    ctx.wanted = (x.requires_grad, kernel.requires_grad, bias is not None and bias.requires_grad)
    ctx.save_for_backward(x, kernel, bias, y if ctx.activation else None, places)


def _gradients(ctx: Any, dy: Tensor, *_: Any) -> tuple[Any, ...]:
    x, kernel, _, y, places = ctx.saved_tensors
    x, dy = x.contiguous(), dy.contiguous()
    dx = torch.empty_like(x) if ctx.wanted[0] else None
    # As the weight lies in memory, so its gradient, and the optimizer need not turn it round.
    dkernel = torch.empty_like(kernel) if ctx.wanted[1] else None
    dbias = kernel.new_empty(kernel.shape[3]) if ctx.wanted[2] else None
    _function("lamina_convolution_backward")(
        _packed(tuple(ctx.shape)), ctx.activation, torch.get_num_threads(), x.data_ptr(), kernel.data_ptr(),
        _packed(kernel.stride()), _address(y), places.data_ptr() or None, dy.data_ptr(), _address(dx),
        _address(dkernel), None if dkernel is None else _packed(dkernel.stride()), _address(dbias),
    )  # fmt: skip
    return dx, dkernel, dbias, None, None, None, None, None


def reference(x: Tensor, kernel: Tensor, bias: Tensor | None, shape: list[int], activation: int) -> Tensor:
    """What the operator gives, without `scale` and `residual`, in plain torch.

    Args:
        x: `(N, H, W, C)`.
        kernel: `(KH, KW, C, F)`.
        bias: `(F,)` or `None`.
        shape: the sizes that the operator is given.
        activation: the number of the activation.
    """
    height, width, (window_h, window_w), (stride_h, stride_w) = shape[1], shape[2], shape[4:6], shape[7:9]
    (top, left, out_h, out_w), pool = shape[9:13], shape[13:]
    bottom = max(0, (out_h - 1) * stride_h + window_h - height - top)
    right = max(0, (out_w - 1) * stride_w + window_w - width - left)
    padded = F.pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    y = F.conv2d(padded, kernel.permute(3, 2, 0, 1), bias, (stride_h, stride_w))[:, :, :out_h, :out_w]
    y = F.max_pool2d(y, pool) if pool[0] else y
    return list(ACTIVATIONS.values())[activation](y).permute(0, 2, 3, 1)


def _again(ctx: Any, dy: Tensor, *_: Any) -> tuple[Any, ...]:
    x, kernel, bias = ctx.saved_tensors[:3]
    y = reference(x, kernel, bias, ctx.shape, ctx.activation)
    return *pulled_back([y], [x, kernel, bias], [dy]), None, None, None, None, None


@functools.cache
def _function(name: str) -> Callable[..., None]:
    function: Any = getattr(library("convolution"), name)
    pointers = {"lamina_convolution_forward": 8, "lamina_convolution_backward": 10}[name]
    function.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int, *[ctypes.c_void_p] * pointers]
    function.restype = None
    return function


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


_convolution = operator(
    "convolution(Tensor x, Tensor kernel, Tensor? bias, Tensor? scale, Tensor? residual, int[] shape, int activation, "
    "bool keep) -> (Tensor, Tensor)",
    _forward,
    _shapes,
    _save,
    _gradients,
    _again,
)
