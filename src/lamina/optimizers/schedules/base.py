"""What a learning-rate schedule is, and how one becomes plain data and back."""

from __future__ import annotations

from typing import Any

from lamina.configurable import Configurable
from lamina.errors import ArgumentError
from lamina.registry import SCHEDULES


class LearningRateSchedule(Configurable):
    """A learning rate that depends on the number of steps made so far.

    Derive from it, give it a `__call__` and hand an instance to any optimizer as its `learning_rate`. The rate
    is plain Python arithmetic: it costs no kernel and never waits for the device.

    Example:
        >>> class Halving(LearningRateSchedule):
        ...     def __init__(self, start):
        ...         self.start = start
        ...     def __call__(self, step):
        ...         return self.start * 0.5**step
        >>> Halving(0.8)(2)
        0.2
    """

    def __call__(self, step: int) -> float:
        """The learning rate of one step.

        Args:
            step: how many steps came before, 0 at the first.

        Returns:
            The rate, a Python float.

        Raises:
            NotImplementedError: the class has no `__call__` of its own.
        """
        raise NotImplementedError(f"{type(self).__name__} must define __call__(self, step)")

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items() if key != "name")
        return f"{type(self).__name__}({arguments})"


def check_steps(name: str, value: float) -> None:
    """Refuse a number of decay steps that is not positive."""
    if not value > 0:
        raise ArgumentError(
            f"`{name}` counts the steps of a decay.",
            expected=f"{name} > 0",
            received=f"{name}={value!r}",
            fix="give the number of training steps, such as epochs * steps_per_epoch",
        )


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """A schedule as JSON-ready data.

    Args:
        learning_rate_schedule: the schedule.

    Returns:
        A dict with the keys `class_name` and `config`.
    """
    return SCHEDULES.serialize(learning_rate_schedule)


def deserialize(config: dict[str, Any]) -> LearningRateSchedule:
    """The schedule that `serialize` described.

    Args:
        config: a dict with the keys `class_name` and `config`.

    Returns:
        The schedule.

    Raises:
        UnknownNameError: no schedule has that name.
        DtypeError: `config` has no `class_name`.
    """
    return SCHEDULES.deserialize(config)
