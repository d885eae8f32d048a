"""The exponential moving average of parameters."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from lamina.optimizers import arithmetic
from lamina.optimizers.arithmetic import Factor
from lamina.optimizers.groups import Group


def move_averages(groups: Iterable[Group], momentum: float, step: Factor, skip: Tensor | None) -> None:
    """Bring the averages nearer to the parameters, unless the tensor `skip` is 1.

    Args:
        groups: parameters, with a slot `average`.
        momentum: how much of the average stays.
        step: the number of the update; the first one starts the averages at the parameters.
        skip: a tensor that is 1 if nothing may change, else 0; or `None`.
    """
    weight: Factor = 1 - momentum
    if isinstance(step, Tensor):
        weight = torch.where(step == 1, 1.0, weight)
    elif step == 1:
        weight = 1.0
    if skip is not None:
        weight = weight * (1 - skip)
    for group in groups:
        arithmetic.approach_(group.slots["average"], group.parameters, weight)


def adopt_averages(groups: Iterable[Group], skip: Tensor | None = None) -> None:
    """Make the parameters equal to their averages, unless the tensor `skip` is 1."""
    for group in groups:
        if skip is None:
            arithmetic.lists._foreach_copy_(group.parameters, group.slots["average"])
        else:
            arithmetic.approach_(group.parameters, group.slots["average"], 1 - skip)
