"""Schedules that follow a half wave of the cosine, once or again and again."""

from __future__ import annotations

import math

from lamina.errors import ArgumentError
from lamina.optimizers.schedules.base import LearningRateSchedule, check_steps
from lamina.registry import SCHEDULES


def _half_wave(fraction: float, alpha: float) -> float:
    """From 1 at fraction 0 to `alpha` at fraction 1."""
    return (1 - alpha) * 0.5 * (1 + math.cos(math.pi * fraction)) + alpha


@SCHEDULES.register()
class CosineDecay(LearningRateSchedule):
    """A half wave of the cosine, after a linear warm-up if one is asked for.

    Args:
        initial_learning_rate: the rate of step 0.
        decay_steps: how many steps the half wave takes.
        alpha: the rate at its end, as a fraction of the rate at its start.
        name: a name for the schedule.
        warmup_target: the rate at the end of the warm-up, from which the half wave starts; `None` for no
            warm-up.
        warmup_steps: how many steps the warm-up takes, before the `decay_steps`.

    Raises:
        ArgumentError: `decay_steps` is not positive.

    Example:
        >>> schedule = CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
        >>> schedule(5), schedule(10), schedule(110)
        (0.05, 0.1, 0.0)

    Reference:
        Loshchilov and Hutter, 2016, "SGDR: Stochastic Gradient Descent with Warm Restarts",
        https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`."""
        now, start = float(step), float(self.initial_learning_rate)
        if self.warmup_target is not None:
            if now < self.warmup_steps:
                return start + (self.warmup_target - start) * (now / self.warmup_steps)
            now, start = now - self.warmup_steps, float(self.warmup_target)
        return start * _half_wave(min(now / self.decay_steps, 1.0), self.alpha)


@SCHEDULES.register()
class CosineDecayRestarts(LearningRateSchedule):
    """Half waves of the cosine one after the other, each longer and starting lower than the one before.

    Args:
        initial_learning_rate: the rate of step 0.
        first_decay_steps: how many steps the first half wave takes.
        t_mul: each half wave is this many times as long as the one before, 1 or more.
        m_mul: each starts at this many times the rate of the one before.
        alpha: the lowest rate, as a fraction of the initial one.
        name: a name for the schedule.

    Raises:
        ArgumentError: `first_decay_steps` is not positive, or `t_mul` is under 1.

    Example:
        >>> schedule = CosineDecayRestarts(0.1, first_decay_steps=10, m_mul=0.5)
        >>> schedule(0), schedule(10), schedule(30)
        (0.1, 0.05, 0.025)

    Reference:
        Loshchilov and Hutter, 2016, "SGDR: Stochastic Gradient Descent with Warm Restarts",
        https://arxiv.org/abs/1608.03983
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        check_steps("first_decay_steps", first_decay_steps)
        if t_mul < 1:
            raise ArgumentError(
                "Half waves that grow shorter come to an end.",
                expected="t_mul >= 1",
                received=f"t_mul={t_mul!r}",
                fix="t_mul=1.0 makes them all equally long",
            )
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`."""
        restarts, fraction = self._restarts(float(step) / self.first_decay_steps)
        height = self.m_mul**restarts
        decayed = (1 - self.alpha) * height * _half_wave(fraction, 0.0) + self.alpha
        return self.initial_learning_rate * decayed

    def _restarts(self, waves: float) -> tuple[int, float]:
        """How many half waves are over, and how far the present one is, `waves` first lengths from the start."""
        if self.t_mul == 1.0:
            return math.floor(waves), waves - math.floor(waves)
        restarts = math.floor(math.log(1 + waves * (self.t_mul - 1)) / math.log(self.t_mul))

        def start(n: int) -> float:
            return (1 - self.t_mul**n) / (1 - self.t_mul)

        # The quotient of logarithms may fall just below a whole number at the very step of a restart.
        if start(restarts + 1) <= waves:
            restarts += 1
        return restarts, (waves - start(restarts)) / self.t_mul**restarts
