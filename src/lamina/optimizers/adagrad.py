"""Adagrad."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError
from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, lists
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@functools.cache
def _first(device: torch.device) -> Tensor:
    """The step count of the fused kernel, which only its own rate decay would look at."""
    return torch.ones((), device=device)


@OPTIMIZERS.register()
class Adagrad(Optimizer):
    """The gradient over the root of the sum of all its squares.

    With `s` that sum, `w -= learning_rate * g / sqrt(s + epsilon)`. The slot `accumulator` holds `s + epsilon`, for
    the fused kernel has no place for an epsilon under the root.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        initial_accumulator_value: what the sum starts from, 0 or more.
        epsilon: keeps the quotient finite.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: `initial_accumulator_value` is negative.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> Adagrad(0.1, initial_accumulator_value=0.0).apply([torch.tensor([3.0])], [weight])
        >>> weight.tolist()
        [0.9]

    Reference:
        Duchi, Hazan and Singer, 2011, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", https://jmlr.org/papers/v12/duchi11a.html
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
        )
        if initial_accumulator_value < 0:
            raise ArgumentError(
                "A sum of squares is not negative.",
                expected="initial_accumulator_value >= 0",
                received=f"initial_accumulator_value={initial_accumulator_value!r}",
                fix="initial_accumulator_value=0.1",
            )
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def slots(self) -> list[tuple[str, ...]]:
        """The sum of squares."""
        return [("accumulator",)]

    def make_slot(self, name: str, parameter: Tensor) -> Tensor:
        """The sum at the start."""
        start = self.initial_accumulator_value + self.epsilon
        return torch.full_like(parameter, start if name == "accumulator" else 0.0, requires_grad=False)

    def can_skip(self, group: Group) -> bool:
        """The fused kernel takes `skip`."""
        return group.fused("_fused_adagrad_")

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its gradients over the root of their sum of squares."""
        if group.fused("_fused_adagrad_"):
            group, grads = group.in_memory_order(grads)
            lists._fused_adagrad_(
                group.parameters,
                grads,
                group.slots["accumulator"],
                [_first(group.device)] * len(grads),
                lr=learning_rate,
                lr_decay=0.0,
                weight_decay=0.0,
                eps=0.0,
                maximize=False,
                found_inf=skip,
            )
            return
        sums = group.slots["accumulator"]
        lists._foreach_addcmul_(sums, grads, grads)
        lists._foreach_addcdiv_(group.parameters, grads, lists._foreach_sqrt(sums), -learning_rate)
