"""RMSprop."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_squares_, lists, roots
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register("rmsprop")
class RMSprop(Optimizer):
    """The gradient over the root of a running mean of its squares.

    With `v` the mean of squares, `w -= learning_rate * g / sqrt(v + epsilon)`.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        rho: how much of the mean stays at each update.
        momentum: how much of the last move is repeated.
        epsilon: keeps the quotient finite.
        centered: whether to divide by an estimate of the variance, `v` less the square of a running mean of the
            gradients.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument is out of its range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> RMSprop(0.1, rho=0.75).apply([torch.tensor([3.0])], [weight])
        >>> weight.tolist()
        [0.8]

    Reference:
        Hinton, 2012, "Neural Networks for Machine Learning", lecture 6e,
        https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
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
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def slots(self) -> list[tuple[str, ...]]:
        """The mean of squares, the last move, the mean of the gradients."""
        kept = [("velocity",)]
        if self.momentum > 0:
            kept.append(("momentum",))
        if self.centered:
            kept.append(("average_gradient",))
        return kept

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its gradients over their running size."""
        squares = group.slots["velocity"]
        approach_squares_(squares, grads, 1 - self.rho)
        if self.centered:
            means = group.slots["average_gradient"]
            lists._foreach_lerp_(means, grads, 1 - self.rho)
            variances = lists._foreach_add(squares, self.epsilon)
            lists._foreach_addcmul_(variances, means, means, -1.0)
            lists._foreach_sqrt_(variances)
            denominators = list(variances)
        else:
            denominators = roots(squares, self.epsilon)
        if self.momentum > 0:
            moves = group.slots["momentum"]
            lists._foreach_mul_(moves, self.momentum)
            lists._foreach_addcdiv_(moves, grads, denominators, learning_rate)
            lists._foreach_sub_(group.parameters, moves)
        else:
            lists._foreach_addcdiv_(group.parameters, grads, denominators, -learning_rate)
