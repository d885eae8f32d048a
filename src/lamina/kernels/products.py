"""The product of a dense layer in lamina's own kernel, bias and activation included: the operator `lamina::product`.

Shapes: M rows, K inputs, N units.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import threading
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from lamina.kernels.activations import ACTIVATIONS, NUMBERS
from lamina.kernels.native import library
from lamina.kernels.native.operator import operator, pulled_back
from lamina.kernels.select import native

# Fewer rows do not pay for laying the kernel out, nor less work for the way into Python and out of it; a larger kernel
# or more rows leave the cache, where BLAS is better.
_FEWEST_ROWS, _LEAST_WORK, _MOST_WEIGHTS, _MOST_INPUTS = 16, 1 << 20, 1 << 19, 1 << 19


def suits(x: Tensor, kernel: Tensor, bias: Tensor | None) -> bool:
    """Whether the operator can take these tensors, and would be the fastest way.

    Args:
        x: `(M, K)`.
        kernel: `(K, N)`.
        bias: `(N,)` or `None`.

    Example:
        >>> suits(torch.zeros(1, 3), torch.zeros(3, 4), None)
        False
    """
    if torch.compiler.is_compiling():  # first, since a compiler would make guards of the sizes
        return False
    rows, weights = x.shape[0], kernel.numel()
    if rows * weights < _LEAST_WORK or rows < _FEWEST_ROWS or weights > _MOST_WEIGHTS or x.numel() > _MOST_INPUTS:
        return False
    return x.dim() == kernel.dim() == 2 and x.shape[1] == kernel.shape[0] and native("product", x, kernel, bias)


def product(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """`activation(x @ kernel + bias)`; `suits` says when it can be had.

    Args:
        x: `(M, K)`, float32.
        kernel: `(K, N)`, in any memory layout.
        bias: `(N,)` or `None`.
        activation: one of `ACTIVATIONS`.

    Returns:
        `(M, N)`.
    """
    return _product(x, kernel, bias, NUMBERS[activation])


class _Constant(threading.local):
    """Kernels as the product meets them, while weights are known to stay what they are."""

    panels: dict[Any, tuple[Tensor, Tensor]] | None = None


_constant = _Constant()


@contextlib.contextmanager
def constant_weights() -> Generator[None, None, None]:
    """Lay a kernel out once for all products in here, in this thread; for loops that change no weights.

    A kernel that is changed in place all the same is laid out again, unless that happens behind torch's back (`.data`).

    Example:
        >>> with constant_weights():
        ...     product(torch.ones(1, 2), torch.ones(2, 1), None, "linear").item()
        2.0
    """
    before, _constant.panels = _constant.panels, {}
    try:
        yield
    finally:
        _constant.panels = before


def _laid_out(kernel: Tensor) -> Tensor | None:
    """The kernel as `lamina_product_lay_out` has it, if weights stay; the kernel is kept beside it, lest its address be
    used again."""
    panels = _constant.panels
    if panels is None or kernel.is_inference():
        return None
    key = (kernel.data_ptr(), kernel._version, kernel.shape, kernel.stride())
    if key not in panels:
        room = kernel.new_empty(_function("lamina_product_size")(*kernel.shape))
        _function("lamina_product_lay_out")(
            *kernel.shape, torch.get_num_threads(), kernel.data_ptr(), *kernel.stride(), room.data_ptr()
        )
        panels[key] = (room, kernel)
    return panels[key][0]


def _forward(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    x, bias = x.contiguous(), None if bias is None else bias.contiguous()
    y = x.new_empty(x.shape[0], kernel.shape[1])
    _function("lamina_product_forward")(
        *x.shape, kernel.shape[1], activation, torch.get_num_threads(), x.data_ptr(), kernel.data_ptr(),
        *kernel.stride(), _address(bias), y.data_ptr(), _address(_laid_out(kernel)),
    )  # fmt: skip
    return y


def _shapes(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    return x.new_empty(x.shape[0], kernel.shape[1])


def _save(ctx: Any, arguments: tuple[Any, ...], y: Tensor) -> None:
    x, kernel, bias, ctx.activation = arguments
    ctx.wanted = (x.requires_grad, kernel.requires_grad, bias is not None and bias.requires_grad)
    ctx.save_for_backward(x, kernel, bias, y if ctx.activation else None)


def _gradients(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, kernel, _, y = ctx.saved_tensors
    x, dy = x.contiguous(), dy.contiguous()
    of_x, of_kernel, of_bias = ctx.wanted
    dx = torch.empty_like(x) if of_x else None
    dkernel = torch.empty_like(kernel) if of_kernel else None
    dbias = kernel.new_empty(kernel.shape[1]) if of_bias else None
    strides = (0, 0) if dkernel is None else dkernel.stride()
    _function("lamina_product_backward")(
        *x.shape, kernel.shape[1], ctx.activation, torch.get_num_threads(), x.data_ptr(), kernel.data_ptr(),
        *kernel.stride(), _address(y), dy.data_ptr(), _address(dx), _address(dkernel), *strides, _address(dbias),
    )  # fmt: skip
    return dx, dkernel, dbias, None


def reference(x: Tensor, kernel: Tensor, bias: Tensor | None, activation: int) -> Tensor:
    """What the operator gives, in plain torch.

    Args:
        x: `(M, K)`.
        kernel: `(K, N)`.
        bias: `(N,)` or `None`.
        activation: the number of the activation.
    """
    y = x @ kernel
    return list(ACTIVATIONS.values())[activation](y if bias is None else y + bias)


def _again(ctx: Any, dy: Tensor) -> tuple[Any, ...]:
    x, kernel, bias, _ = ctx.saved_tensors
    return *pulled_back([reference(x, kernel, bias, ctx.activation)], [x, kernel, bias], [dy]), None


@functools.cache
def _function(name: str) -> Callable[..., Any]:
    function: Any = getattr(library("product"), name)
    number, count, address = ctypes.c_int64, ctypes.c_int, ctypes.c_void_p
    start = [number, number, number, count, count, address, address, number, number]
    function.argtypes = {
        "lamina_product_size": [number, number],
        "lamina_product_lay_out": [number, number, count, address, number, number, address],
        "lamina_product_forward": [*start, address, address, address],
        "lamina_product_backward": [*start, address, address, address, address, number, number, address],
    }[name]
    function.restype = number if name == "lamina_product_size" else None
    return function


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


_product = operator(
    "product(Tensor x, Tensor kernel, Tensor? bias, int activation) -> Tensor",
    _forward,
    _shapes,
    _save,
    _gradients,
    _again,
)
