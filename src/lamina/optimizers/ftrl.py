"""FTRL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError
from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, lists
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class Ftrl(Optimizer):
    """Follow the regularized leader: the parameters that would have been best so far, kept small and sparse.

    With `n` the sum of squared gradients, `sigma` the growth of `n**-learning_rate_power` over the learning rate,
    and `z` the sum of `g - sigma * w`, the parameters become 0 where `|z|` is at most the strength of L1, else
    `(sign(z) * l1 - z) / (n**-learning_rate_power / learning_rate + 2 * l2)`.

    Args:
        learning_rate: a number above 0, a schedule, or a function without arguments.
        learning_rate_power: how the rate falls with `n`, 0 or less; 0 for not at all.
        initial_accumulator_value: what `n` starts from, 0 or more.
        l1_regularization_strength: the strength of L1, 0 or more.
        l2_regularization_strength: the strength of L2, 0 or more.
        l2_shrinkage_regularization_strength: the strength of an L2 penalty that acts on the gradient, 0 or more.
        beta: an addition to the strength of L2, in units of twice the learning rate.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument has the wrong sign.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 0.1]))
        >>> Ftrl(0.1, l1_regularization_strength=0.5).apply([torch.tensor([-2.0, 0.1])], [weight])
        >>> [round(w, 4) for w in weight.tolist()]
        [0.9179, 0.0]

    Reference:
        McMahan et al., 2013, "Ad Click Prediction: a View from the Trenches",
        https://research.google/pubs/ad-click-prediction-a-view-from-the-trenches/
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
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
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        self._check_signs()

    def _check_signs(self) -> None:
        wrong = [("learning_rate_power", "<=")] if self.learning_rate_power > 0 else []
        for name in ("initial_accumulator_value", *(f"{kind}_regularization_strength" for kind in _PENALTIES)):
            if getattr(self, name) < 0:
                wrong.append((name, ">="))
        if wrong:
            raise ArgumentError(
                "An argument of Ftrl has the wrong sign.",
                expected=", ".join(f"{name} {sign} 0" for name, sign in wrong),
                received=", ".join(f"{name}={getattr(self, name)!r}" for name, _ in wrong),
                fix="turn the sign around",
            )

    def slots(self) -> list[tuple[str, ...]]:
        """The sum of squares and the sum of corrected gradients."""
        return [("accumulator", "linear")]

    def make_slot(self, name: str, parameter: Tensor) -> Tensor:
        """Zeros, but for the sum of squares."""
        start = self.initial_accumulator_value if name == "accumulator" else 0.0
        return torch.full_like(parameter, start, requires_grad=False)

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Put a group where the leader is."""
        parameters, sums, linear = group.parameters, group.slots["accumulator"], group.slots["linear"]
        power, l1 = -self.learning_rate_power, self.l1_regularization_strength
        l2 = self.l2_regularization_strength + self.beta / (2 * learning_rate)
        before = lists._foreach_pow(sums, power)
        lists._foreach_addcmul_(sums, grads, grads)
        scales = lists._foreach_pow(sums, power)
        lists._foreach_sub_(before, scales)
        lists._foreach_add_(linear, grads)
        lists._foreach_add_(linear, parameters, alpha=2 * self.l2_shrinkage_regularization_strength)
        lists._foreach_addcmul_(linear, before, parameters, 1 / learning_rate)
        lists._foreach_div_(scales, learning_rate)
        lists._foreach_add_(scales, 2 * l2)
        inside = lists._foreach_clamp_min(linear, -l1)
        lists._foreach_clamp_max_(inside, l1)
        lists._foreach_sub_(inside, linear)
        lists._foreach_div_(inside, scales)
        lists._foreach_copy_(parameters, inside)


_PENALTIES = ("l1", "l2", "l2_shrinkage")
