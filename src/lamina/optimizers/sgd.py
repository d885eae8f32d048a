"""Gradient descent, plain or with momentum."""

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
class SGD(Optimizer):
    """Stochastic gradient descent.

    Without momentum, `w -= learning_rate * g`. With it, `m = momentum * m - learning_rate * g`, and then `w += m`, or
    `w += momentum * m - learning_rate * g` for Nesterov's form.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        momentum: how much of the last move is repeated, from 0 to 1.
        nesterov: whether to use Nesterov's form of momentum.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: `momentum` is outside [0, 1].

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> SGD(0.5).apply([torch.tensor([0.5])], [weight])
        >>> weight.item()
        0.75

    Reference:
        Sutskever, Martens, Dahl and Hinton, 2013, "On the importance of initialization and momentum in deep
        learning", https://proceedings.mlr.press/v28/sutskever13.html
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
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
        if not 0 <= momentum <= 1:
            raise ArgumentError(
                "Momentum is a fraction.",
                expected="0 <= momentum <= 1",
                received=f"momentum={momentum!r}",
                fix="momentum=0.9",
            )
        self.momentum = momentum
        self.nesterov = nesterov

    def slots(self) -> list[tuple[str, ...]]:
        """The last move, if there is momentum."""
        return [("momentum",)] if self.momentum else []

    def can_skip(self, group: Group) -> bool:
        """The fused kernel takes `skip`; Nesterov's form needs an operation beside it, which does not."""
        return group.fused("_fused_sgd_") and not (self.momentum and self.nesterov)

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its momentum and gradients."""
        parameters = group.parameters
        if group.fused("_fused_sgd_"):
            self._fused(group, grads, learning_rate, skip)
        elif not self.momentum:
            lists._foreach_add_(parameters, grads, alpha=-learning_rate)
            return
        else:
            moves = group.slots["momentum"]
            lists._foreach_mul_(moves, self.momentum)
            lists._foreach_add_(moves, grads, alpha=-learning_rate)
            lists._foreach_add_(parameters, moves, alpha=self.momentum if self.nesterov else 1.0)
        if self.momentum and self.nesterov:
            lists._foreach_add_(parameters, grads, alpha=-learning_rate)

    def _fused(self, group: Group, grads: list[Tensor], learning_rate: float, skip: Tensor | None) -> None:
        """All but Nesterov's last term, in one kernel.

        The kernel computes `m = momentum * m + (1 - dampening) * g`, then `w -= lr * m`. Keras keeps the learning
        rate inside `m`, which matters when the rate changes; a dampening of `1 + learning_rate` puts it there.
        """
        rate, dampening = learning_rate, 0.0
        if self.momentum:
            rate, dampening = -self.momentum if self.nesterov else -1.0, 1.0 + learning_rate
        group, grads = group.in_memory_order(grads)
        lists._fused_sgd_(
            group.parameters,
            grads,
            group.slots.get("momentum", []),
            weight_decay=0.0,
            momentum=self.momentum,
            lr=rate,
            dampening=dampening,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            found_inf=skip,
        )
