"""Floating-point operations of what runs, as torch's `FlopCounterMode` counts them.

A multiplication and an addition are two, and only products, convolutions and attention count.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry


def flops_of(operator: Any, arguments: tuple[Any, ...], options: dict[str, Any], result: Any) -> int:
    """What one call of an operator of torch, or of one of lamina's, costs.

    Args:
        operator: an overload, as a dispatch mode receives it.
        arguments: its positional arguments.
        options: its keyword arguments.
        result: what it returned.

    Returns:
        The number of operations; 0 for what only moves or maps numbers one by one.

    Example:
        >>> a, b = torch.ones(2, 3), torch.ones(3, 4)
        >>> flops_of(torch.ops.aten.mm.default, (a, b), {}, a @ b)
        48
    """
    packet = operator._overloadpacket
    name = packet._qualified_op_name
    if name in _FORMULAS:
        return _FORMULAS[name](*arguments)
    formula = flop_registry.get(packet)
    return 0 if formula is None else int(formula(*arguments, **options, out_val=result))


def _product(x: torch.Tensor, kernel: torch.Tensor, *_: Any) -> int:
    """Of `(..., in)` and `(in, out)`."""
    return 2 * x.numel() * kernel.shape[-1]


def _convolution(x: torch.Tensor, kernel: torch.Tensor, *others: Any) -> int:
    """Of images `(B, H, W, in)` and a kernel `(kh, kw, in, out)`."""
    # The sizes that the operator is told; these are the output's before pooling.
    height, width = others[3][11:13]
    return 2 * x.shape[0] * height * width * kernel.numel()


def _sequence(
    kind: str, x: torch.Tensor, h: torch.Tensor, c: Any, kernel: torch.Tensor, recurrent: Any, *_: Any
) -> int:
    """Of `(B, T, in)`: two products a step."""
    return 2 * math.prod(x.shape[:2]) * (kernel.numel() + recurrent.numel())


def _recurrence(kind: str, x: torch.Tensor, states: Any, weights: Any) -> int:
    """Of `(B, T, in)` and torch's weights, in which the matrices are those of two axes."""
    return 2 * math.prod(x.shape[:2]) * sum(w.numel() for w in weights if w.dim() == 2)


def _onednn_rnn(x: torch.Tensor, *others: Any) -> int:
    """Of `(T, B, in)`, with the two matrices behind it."""
    return 2 * math.prod(x.shape[:2]) * (others[0].numel() + others[1].numel())


def _attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *_: Any) -> int:
    """Of `(B, heads, T, size)`: each query with each key, and the weights with the values."""
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


_FORMULAS = {
    "lamina::product": _product,
    "lamina::convolution": _convolution,
    "lamina::sequence": _sequence,
    "lamina::recurrence": _recurrence,
    "aten::mkldnn_rnn_layer": _onednn_rnn,
    "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
}
