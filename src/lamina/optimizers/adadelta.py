"""Adadelta."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_squares_, lists, roots
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class Adadelta(Optimizer):
    """The gradient scaled by the running size of past moves over the running size of past gradients.

    Args:
        learning_rate: a number, a schedule, or a function without arguments; the paper has 1.
        rho: how much of the running means of squares stays at each update.
        epsilon: keeps the quotient finite, and gets the first moves going.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument is out of its range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> Adadelta(1.0, rho=0.75, epsilon=1.0).apply([torch.tensor([2.0])], [weight])
        >>> round(weight.item(), 4)
        -0.4142

    Reference:
        Zeiler, 2012, "ADADELTA: An Adaptive Learning Rate Method", https://arxiv.org/abs/1212.5701
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.95,
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
        self.rho = rho
        self.epsilon = epsilon

    def slots(self) -> list[tuple[str, ...]]:
        """The running means of the squares of the gradients and of the moves."""
        return [("accumulated_grad", "accumulated_delta_var")]

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its scaled gradients."""
        squares, moved = group.slots["accumulated_grad"], group.slots["accumulated_delta_var"]
        approach_squares_(squares, grads, 1 - self.rho)
        moves = roots(moved, self.epsilon)
        lists._foreach_mul_(moves, grads)
        lists._foreach_div_(moves, roots(squares, self.epsilon))
        approach_squares_(moved, moves, 1 - self.rho)
        lists._foreach_add_(group.parameters, moves, alpha=-learning_rate)
