"""Adafactor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lamina.optimizers.arguments import LearningRate
from lamina.optimizers.arithmetic import Factor, approach_, lists
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import Group
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class Adafactor(Optimizer):
    """The gradient over the root of a mean of squares that is kept by rows and columns only.

    A parameter of shape `(..., n, m)` costs `n + m` numbers of state instead of `n * m`. Moves are relative to the
    size of the parameter.

    Args:
        learning_rate: the upper bound of the relative step size `1 / sqrt(t)`, with `t` the number of the update: a
            number, a schedule, or a function without arguments.
        beta_2_decay: the mean keeps `1 - t**beta_2_decay` of itself at each update.
        epsilon_1: added to squared gradients.
        epsilon_2: the least size that a parameter is taken to have.
        clip_threshold: moves whose root mean square exceeds this are shortened to it, before the rate.
        relative_step: kept for Keras's sake, where it changes nothing either: the step size is always bounded by
            `1 / sqrt(t)`.
        weight_decay, clipnorm, clipvalue, global_clipnorm, use_ema, ema_momentum, ema_overwrite_frequency,
            loss_scale_factor, gradient_accumulation_steps, name: as for `Optimizer`.

    Raises:
        ArgumentError: an argument is out of its range.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([[1.0, 1.0]]))
        >>> Adafactor(0.1).apply([torch.tensor([[2.0, 2.0]])], [weight])
        >>> weight.tolist()
        [[0.9, 0.9]]

    Reference:
        Shazeer and Stern, 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
        https://arxiv.org/abs/1804.04235
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
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
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def slots(self) -> list[tuple[str, ...]]:
        """Means of squares: by row and by column for matrices, of each number for vectors."""
        return [("row", "column", "velocity")]

    def make_slot(self, name: str, parameter: Tensor) -> Tensor:
        """Zeros, in a shape that is empty where this kind of mean is not kept."""
        if name not in ("row", "column", "velocity"):
            return super().make_slot(name, parameter)
        shape = tuple(parameter.shape)
        if (len(shape) < 2) != (name == "velocity"):
            return parameter.new_zeros(0)
        return parameter.new_zeros({"row": shape[:-1], "column": (*shape[:-2], *shape[-1:])}.get(name, shape))

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move a group by its gradients over the root of their factored means."""
        fresh = step**self.beta_2_decay
        squares = lists._foreach_mul(grads, grads)
        lists._foreach_add_(squares, self.epsilon_1)
        moves = lists._foreach_div(grads, lists._foreach_sqrt(self._means(group, squares, fresh)))
        shorter = _sizes(moves).div(self.clip_threshold).clamp_min(1.0)
        rate = _at_most(step**-0.5, learning_rate)
        factors = _sizes(group.parameters).clamp_min(self.epsilon_2) * rate / shorter  # (parameters of the group,)
        lists._foreach_mul_(moves, list(factors.to(group.dtype).unbind()))
        lists._foreach_sub_(group.parameters, moves)

    def _means(self, group: Group, squares: list[Tensor], fresh: Factor) -> list[Tensor]:
        """Bring the means of squares up to date by a fraction `fresh`, and multiply the factored ones out."""
        rows, columns, whole = (group.slots[name] for name in ("row", "column", "velocity"))
        found = list(whole)
        vectors = [i for i, square in enumerate(squares) if square.ndim < 2]
        if vectors:
            approach_([whole[i] for i in vectors], [squares[i] for i in vectors], fresh)
        matrices = [i for i, square in enumerate(squares) if square.ndim >= 2]
        if matrices:
            approach_([rows[i] for i in matrices], [squares[i].mean(-1) for i in matrices], fresh)
            approach_([columns[i] for i in matrices], [squares[i].mean(-2) for i in matrices], fresh)
        for i in matrices:
            scale = rows[i] / rows[i].mean(-1, keepdim=True)
            found[i] = scale.unsqueeze(-1) * columns[i].unsqueeze(-2)
        return found


def _sizes(tensors: list[Tensor]) -> Tensor:
    """The root mean square of each tensor, in one vector."""
    norms = lists._foreach_norm(tensors)
    lists._foreach_div_(norms, [tensor.numel() ** 0.5 for tensor in tensors])
    return torch.stack(list(norms))


def _at_most(value: Any, bound: float) -> Any:
    """The smaller of a number or tensor and a number."""
    return value.clamp_max(bound) if isinstance(value, Tensor) else min(value, bound)
