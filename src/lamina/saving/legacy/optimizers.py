"""Optimizers whose numbers were others before TensorFlow 2.11."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_squares_, lists, multiply_, subtract_quotient_
from lamina.optimizers.groups import Group
from lamina.optimizers.nadam import Nadam
from lamina.optimizers.rmsprop import RMSprop
from lamina.registry import Registry

LEGACY_OPTIMIZERS = Registry("legacy optimizer")


@LEGACY_OPTIMIZERS.register("RMSprop")
class OldRMSprop(RMSprop):
    """RMSprop with epsilon added to the root, as Keras had it before TensorFlow 2.11; today's adds it inside the root.

    With momentum it was inside already, as TensorFlow's kernel has it.

    Args:
        **kwargs: what `RMSprop` takes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> OldRMSprop(learning_rate=0.1, epsilon=1.0).apply([torch.tensor([3.0])], [weight])
        >>> round(weight.item(), 4)
        0.8461
    """

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its gradients over their running size."""
        if self.momentum > 0:
            super().update(group, grads, learning_rate, step, skip)
            return
        squares = group.slots["velocity"]
        approach_squares_(squares, grads, 1 - self.rho)
        variances = squares
        if self.centered:
            means = group.slots["average_gradient"]
            lists._foreach_lerp_(means, grads, 1 - self.rho)
            variances = lists._foreach_sub(squares, lists._foreach_mul(means, means))
        roots = lists._foreach_sqrt(variances)
        lists._foreach_add_(roots, self.epsilon)
        lists._foreach_addcdiv_(group.parameters, grads, roots, -learning_rate)


@LEGACY_OPTIMIZERS.register("Nadam")
class OldNadam(Nadam):
    """Nadam whose momentum grows by `schedule_decay`, as Keras had it before TensorFlow 2.11; today's grows faster.

    Args:
        learning_rate: as in `Nadam`.
        schedule_decay: how fast the momentum grows.
        **kwargs: what `Nadam` takes.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> OldNadam(0.1).apply([torch.tensor([3.0])], [weight])
        >>> round(weight.item(), 4)
        0.8944
    """

    def __init__(self, learning_rate: LearningRate = 0.001, schedule_decay: float = 0.004, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        self.schedule_decay = schedule_decay
        self._products = [1.0]

    def _momentum(self, step: int) -> float:
        return self.beta_1 * (1 - 0.5 * 0.96 ** (self.schedule_decay * step))

    def product(self, step: int) -> float:
        """The product of the momenta of all steps up to one.

        Args:
            step: the number of the step, from 1.
        """
        while len(self._products) <= step:
            self._products.append(self._products[-1] * self._momentum(len(self._products)))
        return self._products[step]

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its means, looking one step ahead."""
        count = int(step)
        means, squares = group.slots["momentum"], group.slots["velocity"]
        lists._foreach_lerp_(means, grads, 1 - self.beta_1)
        approach_squares_(squares, grads, 1 - self.beta_2)
        now, ahead, product = self._momentum(count), self._momentum(count + 1), self.product(count)
        denominators = lists._foreach_sqrt(squares)
        multiply_(denominators, 1 / (1 - self.beta_2**count) ** 0.5)
        lists._foreach_add_(denominators, self.epsilon)
        subtract_quotient_(group.parameters, means, denominators, learning_rate * ahead / (1 - product * ahead))
        subtract_quotient_(group.parameters, grads, denominators, learning_rate * (1 - now) / (1 - product))
