"""Schedules that fall by a formula of the step: exponential, stepwise, polynomial, inverse in time."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

from lamina.errors import ArgumentError
from lamina.optimizers.schedules.base import LearningRateSchedule, check_steps
from lamina.registry import SCHEDULES


@SCHEDULES.register()
class ExponentialDecay(LearningRateSchedule):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`.

    Args:
        initial_learning_rate: the rate of step 0.
        decay_steps: after how many steps the rate has been multiplied by `decay_rate`.
        decay_rate: the factor.
        staircase: whether the exponent is rounded down, so that the rate falls in steps.
        name: a name for the schedule.

    Raises:
        ArgumentError: `decay_steps` is not positive.

    Example:
        >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(20)
        0.025
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`."""
        exponent = float(step) / self.decay_steps
        if self.staircase:
            exponent = math.floor(exponent)
        return self.initial_learning_rate * self.decay_rate**exponent


@SCHEDULES.register()
class InverseTimeDecay(LearningRateSchedule):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`.

    Args:
        initial_learning_rate: the rate of step 0.
        decay_steps: the unit in which steps are counted.
        decay_rate: how much the divisor grows in `decay_steps` steps.
        staircase: whether the step count is rounded down to whole units.
        name: a name for the schedule.

    Raises:
        ArgumentError: `decay_steps` is not positive.

    Example:
        >>> InverseTimeDecay(0.1, decay_steps=1, decay_rate=0.5)(2)
        0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`."""
        time = float(step) / self.decay_steps
        if self.staircase:
            time = math.floor(time)
        return self.initial_learning_rate / (1 + self.decay_rate * time)


@SCHEDULES.register()
class PolynomialDecay(LearningRateSchedule):
    """From the initial to the end rate along `(1 - step / decay_steps) ** power`.

    Args:
        initial_learning_rate: the rate of step 0.
        decay_steps: how many steps the way takes.
        end_learning_rate: the rate at its end, and afterwards.
        power: 1 for a straight line.
        cycle: whether, instead of staying at the end rate, `decay_steps` is stretched to the next multiple of
            itself that has not been passed.
        name: a name for the schedule.

    Raises:
        ArgumentError: `decay_steps` is not positive.

    Example:
        >>> PolynomialDecay(0.5, decay_steps=10, end_learning_rate=0.25)(5)
        0.375
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`."""
        now, length = float(step), float(self.decay_steps)
        if self.cycle:
            length *= max(1, math.ceil(now / length))
        left = 1 - min(now, length) / length
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


@SCHEDULES.register()
class PiecewiseConstantDecay(LearningRateSchedule):
    """A constant rate between boundaries.

    Args:
        boundaries: steps in rising order; each is the last one of its piece.
        values: the rate of each piece, one more than there are boundaries.
        name: a name for the schedule.

    Raises:
        ArgumentError: the numbers of boundaries and values do not fit, or the boundaries do not rise.

    Example:
        >>> schedule = PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.1])
        >>> schedule(100), schedule(101), schedule(1000)
        (1.0, 0.5, 0.1)
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        if len(boundaries) != len(values) - 1:
            raise ArgumentError(
                "`boundaries` separate `values`, so there is one value more.",
                expected=f"{len(boundaries) + 1} values for {len(boundaries)} boundaries",
                received=f"boundaries={list(boundaries)}, values={list(values)}",
                fix="add or remove a value",
            )
        if any(low >= high for low, high in zip(boundaries, boundaries[1:], strict=False)):
            raise ArgumentError(
                "`boundaries` are not in rising order.",
                expected="each boundary greater than the one before",
                received=f"boundaries={list(boundaries)}",
                fix="sort them, together with their values",
            )
        self.boundaries = list(boundaries)
        self.values = list(values)
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of step `step`."""
        return float(self.values[bisect.bisect_left(self.boundaries, float(step))])
