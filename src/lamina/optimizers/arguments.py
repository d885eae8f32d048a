"""The arguments that every optimizer takes: what they may be."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

from lamina.errors import ArgumentError
from lamina.optimizers.schedules.base import LearningRateSchedule, deserialize

LearningRate = float | LearningRateSchedule | Callable[[], float]


def as_rate(value: Any) -> LearningRate:
    """A learning rate as a float, a schedule or a function."""
    given: Any = value
    if isinstance(value, dict):
        return deserialize(value)
    if callable(value) and not isinstance(value, type):
        return given
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # a tensor or NumPy array of one number
        return float(given.item())
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(given)
    raise ArgumentError(
        "This cannot be a learning rate.",
        expected="a number, a LearningRateSchedule, or a function without arguments that gives a number",
        received=f"{value!r} of type {type(value).__name__}",
        fix="learning_rate=0.001",
    )


def check_arguments(optimizer: Any) -> None:
    """Refuse arguments that are out of range or contradict each other."""
    clips = {name: getattr(optimizer, name) for name in ("clipnorm", "clipvalue", "global_clipnorm")}
    given = {name: value for name, value in clips.items() if value is not None}
    if len(given) > 1:
        raise ArgumentError(
            "Gradients can be clipped in one way only.",
            expected="one of clipnorm, clipvalue and global_clipnorm",
            received=", ".join(f"{name}={value!r}" for name, value in given.items()),
            fix="leave the others out",
        )
    steps = optimizer.gradient_accumulation_steps
    if steps and not (isinstance(steps, int) and steps >= 2):
        raise ArgumentError(
            "Accumulation takes several steps' gradients.",
            expected="gradient_accumulation_steps an integer >= 2, or None",
            received=f"gradient_accumulation_steps={steps!r}",
            fix="leave it out to update at every step",
        )
    if optimizer.use_ema and not 0 <= optimizer.ema_momentum <= 1:
        raise ArgumentError(
            "The momentum of a moving average is a fraction.",
            expected="0 <= ema_momentum <= 1",
            received=f"ema_momentum={optimizer.ema_momentum!r}",
            fix="ema_momentum=0.99",
        )
    every = optimizer.ema_overwrite_frequency
    if optimizer.use_ema and every and not (isinstance(every, int) and every >= 1):
        raise ArgumentError(
            "Parameters are overwritten by their average every so many updates.",
            expected="ema_overwrite_frequency an integer >= 1, or None",
            received=f"ema_overwrite_frequency={every!r}",
            fix="leave it out to overwrite at the end of training only",
        )
