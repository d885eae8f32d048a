"""LAMB."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_squares_, lists, multiply_
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class Lamb(Optimizer):
    """Adam whose move of each parameter is as long as the parameter itself, times the learning rate.

    This keeps training stable with very large batches.

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
        >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> Lamb(0.1).apply([torch.tensor([0.0, 2.0])], [weight])
        >>> weight.tolist()
        [3.0, 3.5]

    Reference:
        You et al., 2019, "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes",
        https://arxiv.org/abs/1904.00962
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
        """Move each parameter of a group along Adam's direction."""
        means, squares = group.slots["momentum"], group.slots["velocity"]
        lists._foreach_lerp_(means, grads, 1 - self.beta_1)
        approach_squares_(squares, grads, 1 - self.beta_2)
        denominators = list(lists._foreach_sqrt(squares))
        multiply_(denominators, 1 / (1 - self.beta_2**step) ** 0.5)
        lists._foreach_add_(denominators, self.epsilon)
        moves = list(lists._foreach_div(means, denominators))
        multiply_(moves, 1 / (1 - self.beta_1**step))
        own = torch.stack(list(lists._foreach_norm(group.parameters)))
        length = torch.stack(list(lists._foreach_norm(moves)))
        ratios = torch.where((own > 0) & (length > 0), own / length, 1.0)  # (parameters of the group,)
        lists._foreach_mul_(moves, list(ratios.unbind()))
        lists._foreach_add_(group.parameters, moves, alpha=-learning_rate)
