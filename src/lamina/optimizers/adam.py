"""Adam and AdamW."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError
from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_squares_, lists, subtract_quotient_
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@functools.cache
def _endless(device: torch.device) -> Tensor:
    """A step count for the fused kernel at which its own corrections of the averages are exactly 1."""
    return torch.full((), math.inf, device=device)


@OPTIMIZERS.register()
class Adam(Optimizer):
    """Adam: a running mean of the gradients over the root of a running mean of their squares.

    With `m` and `v` the two means and `t` the number of the update,
    `w -= learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t) * m / (sqrt(v) + epsilon)`. Epsilon stands outside the
    correction of `v`, as in Keras and in section 2 of the paper ("epsilon hat"); in `torch.optim.Adam` it stands
    inside, which only shows when gradients are tiny.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        beta_1: how much of the mean of the gradients stays at each update.
        beta_2: how much of the mean of their squares stays.
        epsilon: keeps the quotient finite.
        amsgrad: whether to divide by the greatest mean of squares so far, instead of the present one.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument is out of its range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 1.0]))
        >>> Adam(0.1).apply([torch.tensor([3.0, -5.0])], [weight])
        >>> weight.tolist()
        [0.9, 1.1]

    Reference:
        Kingma and Ba, 2014, "Adam: A Method for Stochastic Optimization", https://arxiv.org/abs/1412.6980;
        Reddi, Kale and Kumar, 2018, "On the Convergence of Adam and Beyond", https://arxiv.org/abs/1904.09237
        (amsgrad)
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
        self.amsgrad = amsgrad

    def slots(self) -> list[tuple[str, ...]]:
        """The two running means, and the greatest mean of squares for amsgrad."""
        return [("momentum", "velocity"), *([("velocity_hat",)] if self.amsgrad else [])]

    def can_skip(self, group: Group) -> bool:
        """The fused kernel takes `skip`."""
        return group.fused("_fused_adamw_")

    def decay(self, group: Group, learning_rate: float, skip: Tensor | None = None) -> None:
        """Apply weight decay, unless the fused kernel does it by the way."""
        if skip is not None or not group.fused("_fused_adamw_"):
            super().decay(group, learning_rate, skip)

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by the quotient of the means."""
        correction = (1 - self.beta_2**step) ** 0.5 / (1 - self.beta_1**step)
        if group.fused("_fused_adamw_"):
            self._fused(group, grads, learning_rate, correction, skip)
            return
        means, squares = group.slots["momentum"], group.slots["velocity"]
        lists._foreach_lerp_(means, grads, 1 - self.beta_1)
        approach_squares_(squares, grads, 1 - self.beta_2)
        if self.amsgrad:
            lists._foreach_maximum_(group.slots["velocity_hat"], squares)
            squares = group.slots["velocity_hat"]
        denominators = lists._foreach_sqrt(squares)
        lists._foreach_add_(denominators, self.epsilon)
        subtract_quotient_(group.parameters, means, denominators, learning_rate * correction)

    def _fused(self, group: Group, grads: list[Tensor], learning_rate: float, correction: Any, skip: Any) -> None:
        """The whole update in one kernel.

        The kernel's own corrections are switched off and ours goes into its learning rate, so that epsilon stands
        where Keras has it. Its weight decay is a multiple of that rate, hence the division.
        """
        rate, decay = learning_rate * correction, 0.0
        if isinstance(rate, Tensor):
            rate = rate.float()
        elif group.decays:
            decay = float(self.weight_decay or 0.0) / correction
        group, grads = group.in_memory_order(grads)
        lists._fused_adamw_(
            group.parameters,
            grads,
            group.slots["momentum"],
            group.slots["velocity"],
            group.slots.get("velocity_hat", []),
            [_endless(group.device)] * len(grads),
            lr=rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            weight_decay=decay,
            eps=self.epsilon,
            amsgrad=self.amsgrad,
            maximize=False,
            found_inf=skip,
        )


@OPTIMIZERS.register("adamw")
class AdamW(Adam):
    """Adam with weight decay, which is apart from the gradients and so is not divided by their size.

    Args:
        learning_rate: a number, a schedule, or a function without arguments.
        weight_decay: each update first multiplies the parameters by `1 - learning_rate * weight_decay`.
        beta_1: how much of the mean of the gradients stays at each update.
        beta_2: how much of the mean of their squares stays.
        epsilon: keeps the quotient finite.
        amsgrad: whether to divide by the greatest mean of squares so far, instead of the present one.
        clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency, loss_scale_factor,
            gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: `weight_decay` is `None`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> AdamW(0.1, weight_decay=0.5).apply([torch.tensor([0.0])], [weight])
        >>> weight.tolist()
        [0.95]

    Reference:
        Loshchilov and Hutter, 2017, "Decoupled Weight Decay Regularization", https://arxiv.org/abs/1711.05101
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
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
            beta_1,
            beta_2,
            epsilon,
            amsgrad,
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
        if weight_decay is None:
            raise ArgumentError(
                "AdamW is Adam with weight decay.",
                expected="weight_decay a number",
                received="weight_decay=None",
                fix="use Adam, or weight_decay=0.004",
            )
