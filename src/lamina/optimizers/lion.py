"""Lion."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.errors import ArgumentError
from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, lists
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class Lion(Optimizer):
    """The sign of a running mean of the gradients: each number moves by the learning rate, up or down.

    It wants a learning rate some 3 to 10 times smaller than Adam's, and a weight decay as much greater.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: the weight of the mean against the gradient in the sum whose sign is taken, above 0 and up to 1.
        beta_2: how much of the mean stays at each update.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: `beta_1` is outside (0, 1].

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> Lion(0.1).apply([torch.tensor([3.0, -0.01])], [weight])
        >>> weight.tolist()
        [0.9, 1.1]

    Reference:
        Chen et al., 2023, "Symbolic Discovery of Optimization Algorithms", https://arxiv.org/abs/2302.06675
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
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
        if not 0 < beta_1 <= 1:
            raise ArgumentError(
                "Without a mean, Lion is plain descent by signs.",
                expected="0 < beta_1 <= 1",
                received=f"beta_1={beta_1!r}",
                fix="beta_1=0.9",
            )
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def slots(self) -> list[tuple[str, ...]]:
        """The running mean of the gradients."""
        return [("momentum",)]

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by signs."""
        means = group.slots["momentum"]
        signs = lists._foreach_mul(means, self.beta_1)
        lists._foreach_add_(signs, grads, alpha=1 - self.beta_1)
        lists._foreach_sign_(signs)
        lists._foreach_add_(group.parameters, signs, alpha=-learning_rate)
        lists._foreach_lerp_(means, grads, 1 - self.beta_2)
