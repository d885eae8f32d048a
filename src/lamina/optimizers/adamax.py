"""Adamax."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, lists, subtract_quotient_
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class Adamax(Optimizer):
    """Adam with the greatest recent gradient in the place of the root of a mean of squares.

    With `m` the running mean of the gradients, `u = max(beta_2 * u, |g|)` and `t` the number of the update,
    `w -= learning_rate / (1 - beta_1**t) * m / (u + epsilon)`.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: how much of the mean of the gradients stays at each update.
        beta_2: how fast the greatest gradient is forgotten.
        epsilon: keeps the quotient finite.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument is out of its range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> Adamax(0.1).apply([torch.tensor([3.0])], [weight])
        >>> weight.tolist()
        [0.9]

    Reference:
        Kingma and Ba, 2014, "Adam: A Method for Stochastic Optimization", section 7.1,
        https://arxiv.org/abs/1412.6980
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
        """The mean of the gradients and the greatest one."""
        return [("momentum", "norm")]

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its mean gradients over their greatest size."""
        means, norms = group.slots["momentum"], group.slots["norm"]
        lists._foreach_lerp_(means, grads, 1 - self.beta_1)
        lists._foreach_mul_(norms, self.beta_2)
        lists._foreach_maximum_(norms, lists._foreach_abs(grads))
        factor = learning_rate / (1 - self.beta_1**step)
        subtract_quotient_(group.parameters, means, lists._foreach_add(norms, self.epsilon), factor)
