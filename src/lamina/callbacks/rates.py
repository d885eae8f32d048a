"""Callbacks that change the learning rate between epochs."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from typing import Any

import numpy as np

from lamina.callbacks.announcing import announce
from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.improvement import MonitorCallback
from lamina.errors import ArgumentError, NotCompiledError
from lamina.registry import CALLBACKS


def get_rate(model: Any) -> float:
    """The learning rate of the model's optimizer, lamina's or torch's, as a float.

    Args:
        model: a compiled model.

    Raises:
        NotCompiledError: it has no optimizer.
    """
    optimizer = _optimizer(model)
    rate = getattr(optimizer, "learning_rate", None)
    return float(optimizer.param_groups[0]["lr"] if rate is None else rate)


def set_rate(model: Any, rate: float) -> None:
    """Set the learning rate of the model's optimizer, in every parameter group of one of torch's.

    Args:
        model: a compiled model.
        rate: the new rate.

    Raises:
        NotCompiledError: it has no optimizer.
    """
    optimizer = _optimizer(model)
    if hasattr(optimizer, "learning_rate"):
        optimizer.learning_rate = rate
    else:
        for group in optimizer.param_groups:
            group["lr"] = rate


def _optimizer(model: Any) -> Any:
    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise NotCompiledError(
            "The learning rate needs an optimizer.",
            expected="a compiled model",
            received=f"{type(model).__name__} without an optimizer",
            fix="model.compile(optimizer='adam', loss=...)",
        )
    return optimizer


@CALLBACKS.register()
class LearningRateScheduler(Callback):
    """Sets the learning rate of each epoch.

    Args:
        schedule: a function of the epoch, from 0, or of the epoch and the present rate, that gives the new rate.
        verbose: 1 to say each epoch's rate, 0 not to.

    Raises:
        ArgumentError: `schedule` is no function, or gives something that is no number.

    Example:
        >>> import torch
        >>> callback = LearningRateScheduler(lambda epoch, rate: rate * 0.5)
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> callback.set_model(type("Model", (), {"optimizer": optimizer}))
        >>> callback.on_epoch_begin(0)
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """

    adds_logs = ("learning_rate",)

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        super().__init__()
        if not callable(schedule):
            raise ArgumentError(
                "A learning-rate schedule is a function.",
                expected="schedule(epoch) or schedule(epoch, learning_rate)",
                received=repr(schedule),
                fix="LearningRateScheduler(lambda epoch: 0.1 * 0.9**epoch)",
            )
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Ask the schedule and set what it gives."""
        rate = self.schedule(epoch, get_rate(self.model)) if self._takes_rate else self.schedule(epoch)
        if not isinstance(rate, numbers.Real) or isinstance(rate, bool):
            raise ArgumentError(
                "The schedule must give the learning rate as a number.",
                expected="a float",
                received=f"{rate!r} for epoch {epoch}",
                fix="return float(rate)",
            )
        set_rate(self.model, float(rate))
        if self.verbose:
            announce(f"Epoch {epoch + 1}: the learning rate is set to {float(rate):g}.")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Put the rate into the logs."""
        if logs is not None:
            logs["learning_rate"] = get_rate(self.model)


@CALLBACKS.register("reduce_lr_on_plateau")
class ReduceLROnPlateau(MonitorCallback):
    """Lowers the learning rate when a value has not got better for some epochs.

    Args:
        monitor: the name of the value in the logs.
        factor: what the rate is multiplied by, less than 1.
        patience: how many epochs without improvement to wait for.
        verbose: 1 to say when the rate is lowered, 0 not to.
        mode: `"min"`, `"max"`, or `"auto"`, which goes by the metric.
        min_delta: by how much the value must be better to count.
        cooldown: how many epochs to leave out of the count after the rate was lowered.
        min_lr: the rate is not lowered below this.

    Raises:
        ArgumentError: `factor` is not below 1, `mode` is none of the three; or, once training begins, the logs do not
            have `monitor`.

    Example:
        >>> import torch
        >>> callback = ReduceLROnPlateau("loss", factor=0.5, patience=1)
        >>> optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        >>> callback.set_model(type("Model", (), {"optimizer": optimizer}))
        >>> for epoch, loss in enumerate([0.5, 0.4, 0.4]):
        ...     callback.on_epoch_end(epoch, {"loss": loss})
        >>> optimizer.param_groups[0]["lr"]
        0.05
    """

    adds_logs = ("learning_rate",)

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        if not factor < 1.0:
            raise ArgumentError(
                "ReduceLROnPlateau would not reduce the learning rate.",
                expected="a factor below 1",
                received=f"factor={factor!r}",
                fix="factor=0.1",
            )
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.cooldown_counter = 0
        self.wait = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start afresh, so that the object can be used for several calls of `fit`."""
        self.best = None
        self.cooldown_counter = 0
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Put the rate into the logs, compare the value with the best so far, and lower the rate if need be."""
        if logs is not None:
            logs["learning_rate"] = get_rate(self.model)
        current = self.current(logs)
        if current is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(current, self.best):
            self.best = current
            self.wait = 0
        elif self.cooldown_counter <= 0:
            self.wait += 1
            if self.wait >= self.patience:
                self._reduce(epoch)

    def _reduce(self, epoch: int) -> None:
        old = get_rate(self.model)
        # Optimizers keep the rate in float32, where the least rate may lie a little above itself.
        if old <= np.float32(self.min_lr):
            return
        new = max(old * self.factor, self.min_lr)
        set_rate(self.model, new)
        self.cooldown_counter = self.cooldown
        self.wait = 0
        if self.verbose:
            announce(f"Epoch {epoch + 1}: the learning rate is reduced from {old:g} to {new:g}.")

    def get_state(self) -> dict[str, Any]:
        """The best value, and how long it has been waited for a better one."""
        return {"best": self.best, "wait": self.wait, "cooldown_counter": self.cooldown_counter}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on waiting where the interrupted run was."""
        self.__dict__.update(state)


def _takes_two(schedule: Callable[..., Any]) -> bool:
    """Whether the schedule wants the present rate too."""
    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:
        # A function written in C may have no signature.
        return True
    return True
