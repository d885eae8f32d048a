"""Bounds on gradients: on each number, on each gradient's norm, on the norm of all of them together.

Nothing here waits for the device, and the gradients given are left as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from lamina.optimizers.arithmetic import lists


def clip_by_value(grads: Sequence[Tensor], bound: float) -> list[Tensor]:
    """The gradients with each number brought into `[-bound, bound]`."""
    clipped = lists._foreach_clamp_min(grads, -bound)
    lists._foreach_clamp_max_(clipped, bound)
    return list(clipped)


def clip_by_norm(grads: Sequence[Tensor], bound: float) -> list[Tensor]:
    """The gradients, each shortened to an L2 norm of `bound` if it is longer."""
    factors = lists._foreach_norm(grads, 2)
    lists._foreach_clamp_min_(factors, bound)
    lists._foreach_reciprocal_(factors)
    lists._foreach_mul_(factors, bound)
    return list(lists._foreach_mul(grads, factors))


def clip_by_global_norm(groups: Sequence[Sequence[Tensor]], bound: float) -> list[list[Tensor]]:
    """All gradients, shortened together if the L2 norm of their concatenation exceeds `bound`.

    Args:
        groups: gradients, those of one device and dtype in one list.
        bound: the greatest norm of all of them together.

    Returns:
        The same gradients, clipped; all NaN if a gradient is not finite, so that the fault is not hidden.
    """
    norm = global_norm(groups, 2)
    # A bound over an infinite norm would be 0 and quietly turn the gradients into zeros and NaN.
    factor = bound / norm.clamp_min(bound) + (norm - norm)
    clipped = []
    for grads in groups:
        here = factor.to(device=grads[0].device, dtype=grads[0].dtype)
        clipped.append(list(lists._foreach_mul(grads, here)))
    return clipped


def global_norm(groups: Sequence[Sequence[Tensor]], order: float) -> Tensor:
    """The norm of the concatenation of all tensors, a tensor of no dimensions on the first gradient's device.

    Args:
        groups: tensors, those of one device and dtype in one list.
        order: 2 for the Euclidean norm, infinity for the greatest absolute value.
    """
    device = groups[0][0].device
    norms = []
    for tensors in groups:
        each = torch.stack(list(lists._foreach_norm(tensors, order)))  # (tensors of the group,)
        norms.append(torch.linalg.vector_norm(each.to(torch.promote_types(each.dtype, torch.float32)), order))
    if len(norms) == 1:
        return norms[0]
    wide = functools.reduce(torch.promote_types, (norm.dtype for norm in norms))
    return torch.linalg.vector_norm(torch.stack([norm.to(device=device, dtype=wide) for norm in norms]), order)
