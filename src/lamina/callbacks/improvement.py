"""The part that callbacks share which compare one value of the logs with the best so far."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.monitors import direction, unknown_monitor
from lamina.errors import ArgumentError


class MonitorCallback(Callback):
    """Keeps the best value of one name in the logs.

    Args:
        monitor: the name, such as `"val_loss"`.
        mode: `"min"`, `"max"`, or `"auto"`, which goes by the metric of that name.
        best: the value to beat at first; `None` for none.
        min_delta: by how much a value must be better to count.

    Raises:
        ArgumentError: `mode` is none of the three.
    """

    logs_are_known = False
    """Whether `check_monitors` has seen that the value will come; it may then be missing from some epochs."""

    def __init__(self, monitor: str, mode: str = "auto", best: float | None = None, min_delta: float = 0.0) -> None:
        super().__init__()
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(
                f"{type(self).__name__} has no such mode.",
                expected="'auto', 'min' or 'max'",
                received=repr(mode),
                fix="mode='max' for a score, mode='min' for a loss",
            )
        self.monitor = monitor
        self.mode = mode
        self.min_delta = abs(min_delta)
        self.best = best

    @property
    def needed_logs(self) -> tuple[str, ...]:
        """The names that the logs of an epoch must have."""
        return (self.monitor,)

    @property
    def sign(self) -> float:
        """1 if greater values are better, -1 if smaller ones are."""
        mode = self.mode if self.mode != "auto" else direction(self.monitor, getattr(self.model, "metrics", None) or ())
        return 1.0 if mode == "max" else -1.0

    def improves(self, value: float, reference: float | None) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`; NaN is better than nothing."""
        if math.isnan(value):
            return False
        if reference is None or math.isnan(reference):
            return True
        # In the precision of the metrics, so that rounding does not make two equal values differ.
        needed = self.sign * np.float32(value - self.sign * self.min_delta)
        return bool(needed > self.sign * np.float32(reference))

    def current(self, logs: Logs | None) -> float | None:
        """The monitored value, or `None` in an epoch that does not have it, such as one without validation.

        Raises:
            ArgumentError: no epoch will have it.
        """
        value: Any = (logs or {}).get(self.monitor)
        if value is None:
            if not self.logs_are_known:
                raise unknown_monitor(type(self).__name__, self.monitor, logs or {})
            return None
        self.logs_are_known = True
        return float(value)
