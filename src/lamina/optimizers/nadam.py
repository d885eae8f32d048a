"""Nadam."""

from __future__ import annotations

import functools
import itertools
import operator
from typing import Any

import torch
from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_squares_, lists, multiply_, subtract_quotient_
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS

_WARMUP = 0.96


def _share(step: Factor) -> Any:
    """Which fraction of `beta_1` is the momentum of this step; it grows from a half to 1."""
    return 1 - 0.5 * _WARMUP**step


# The product of the shares up to a step, at that step's index. It no longer changes at the end: 0.96**2000 is 3e-36.
_PRODUCTS = list(itertools.accumulate((_share(step) for step in range(1, 2000)), operator.mul, initial=1.0))


@functools.cache
def _products_on(device: torch.device) -> Tensor:
    return torch.tensor(_PRODUCTS, dtype=torch.float32, device=device)


def _product(step: Factor) -> Any:
    """The product of the shares of all steps up to this one."""
    if isinstance(step, Tensor):
        return _products_on(step.device).take(step.long().clamp(max=len(_PRODUCTS) - 1))
    return _PRODUCTS[min(step, len(_PRODUCTS) - 1)]  # type: ignore[call-overload]


@OPTIMIZERS.register()
class Nadam(Optimizer):
    """Adam with Nesterov's momentum, which grows towards `beta_1` in the first steps.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: how much of the mean of the gradients stays at each update.
        beta_2: how much of the mean of their squares stays.
        epsilon: keeps the quotient finite.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument is out of its range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = Nadam(0.1)
        >>> optimizer.apply([torch.tensor([3.0])], [weight])
        >>> round(weight.item(), 4)
        0.8937

    Reference:
        Dozat, 2016, "Incorporating Nesterov Momentum into Adam",
        https://cs229.stanford.edu/proj2015/054_report.pdf
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
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
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def slots(self) -> list[tuple[str, ...]]:
        """The running means of the gradients and of their squares."""
        return [("momentum", "velocity")]

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its means, looking one step ahead."""
        means, squares = group.slots["momentum"], group.slots["velocity"]
        lists._foreach_lerp_(means, grads, 1 - self.beta_1)
        approach_squares_(squares, grads, 1 - self.beta_2)
        now, ahead = self.beta_1 * _share(step), self.beta_1 * _share(step + 1)
        product = self.beta_1**step * _product(step)
        denominators = lists._foreach_sqrt(squares)
        multiply_(denominators, 1 / (1 - self.beta_2**step) ** 0.5)
        lists._foreach_add_(denominators, self.epsilon)
        subtract_quotient_(group.parameters, means, denominators, learning_rate * ahead / (1 - product * ahead))
        subtract_quotient_(group.parameters, grads, denominators, learning_rate * (1 - now) / (1 - product))
