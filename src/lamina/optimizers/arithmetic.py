"""Arithmetic on lists of tensors whose factor may be a number or a tensor of no dimensions.

A factor is a number as long as the host knows which step it is. Under a dynamic loss scale only the device knows
how many steps were skipped, so factors that depend on the step are computed there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Factor = float | Tensor

# torch's functions on lists of tensors, which its typed interface leaves out.
lists: Any = torch


def _as_scalar(factor: Tensor, like: Tensor) -> Tensor:
    """`factor` where and in the dtype in which a list operation takes it fastest."""
    return factor.to(device=like.device, dtype=like.dtype)


def multiply_(tensors: Sequence[Tensor], factor: Factor) -> None:
    """`tensors *= factor`, in place."""
    operand: Any = _as_scalar(factor, tensors[0]) if isinstance(factor, Tensor) else factor
    lists._foreach_mul_(tensors, operand)


def subtract_multiple_(tensors: Sequence[Tensor], others: Sequence[Tensor], factor: Factor) -> None:
    """`tensors -= factor * others`, in place."""
    if isinstance(factor, Tensor):
        lists._foreach_sub_(tensors, lists._foreach_mul(others, _as_scalar(factor, tensors[0])))
    else:
        lists._foreach_add_(tensors, others, alpha=-factor)


def subtract_quotient_(
    tensors: Sequence[Tensor], numerators: Sequence[Tensor], denominators: Sequence[Tensor], factor: Factor
) -> None:
    """`tensors -= factor * numerators / denominators`, in place."""
    if isinstance(factor, Tensor):
        subtract_multiple_(tensors, lists._foreach_div(numerators, denominators), factor)
    else:
        lists._foreach_addcdiv_(tensors, numerators, denominators, -factor)


def approach_(averages: Sequence[Tensor], targets: Sequence[Tensor], weight: Factor) -> None:
    """`averages += weight * (targets - averages)`, in place."""
    if isinstance(weight, Tensor):
        lists._foreach_lerp_(averages, targets, [_as_scalar(weight, averages[0])] * len(averages))
    else:
        lists._foreach_lerp_(averages, targets, weight)


def approach_squares_(averages: Sequence[Tensor], targets: Sequence[Tensor], weight: float) -> None:
    """`averages += weight * (targets**2 - averages)`, in place."""
    lists._foreach_mul_(averages, 1 - weight)
    lists._foreach_addcmul_(averages, targets, targets, weight)


def roots(tensors: Sequence[Tensor], epsilon: float) -> list[Tensor]:
    """The square roots of `tensors + epsilon`."""
    found = lists._foreach_add(tensors, epsilon)
    lists._foreach_sqrt_(found)
    return list(found)
