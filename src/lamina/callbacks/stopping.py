"""Callbacks that end training early."""

from __future__ import annotations

import math
from typing import Any

import torch

from lamina.callbacks.announcing import announce
from lamina.callbacks.base import Callback, Logs
from lamina.callbacks.improvement import MonitorCallback
from lamina.errors import NonFiniteError
from lamina.registry import CALLBACKS


@CALLBACKS.register()
class EarlyStopping(MonitorCallback):
    """Ends training when a value has not got better for some epochs.

    Args:
        monitor: the name of the value in the logs.
        min_delta: by how much it must be better to count.
        patience: how many epochs without improvement to wait for.
        verbose: 1 to say when training is stopped and weights are restored, 0 not to.
        mode: `"min"`, `"max"`, or `"auto"`, which goes by the metric.
        baseline: a value to beat; patience runs out as long as it is not beaten.
        restore_best_weights: whether the model gets the weights of its best epoch back when training ends.
        start_from_epoch: the first epoch that counts.

    Raises:
        ArgumentError: `mode` is none of the three; or, once training begins, the logs do not have `monitor`.

    Example:
        >>> callback = EarlyStopping("loss", patience=2)
        >>> callback.set_model(torch.nn.Identity())
        >>> callback.on_train_begin()
        >>> for epoch, loss in enumerate([0.5, 0.4, 0.6, 0.7]):
        ...     callback.on_epoch_end(epoch, {"loss": loss})
        >>> callback.best_epoch, callback.stopped_epoch, callback.model.stop_training
        (1, 3, True)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = patience
        self.verbose = verbose
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: dict[str, Any] | None = None
        self.wait = 0
        self.stopped_epoch = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Start afresh, so that the object can be used for several calls of `fit`."""
        self._forget()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the value with the best so far."""
        current = self.current(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self._keep(epoch)
        self.wait += 1
        if self.improves(current, self.best):
            self.best = current
            self._keep(epoch)
            if self.baseline is None or self.improves(current, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Give the model its best weights back, if that was asked for."""
        if self.stopped_epoch and self.verbose:
            announce(f"Epoch {self.stopped_epoch + 1}: stopped early, {self.monitor} no longer gets better.")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                announce(f"The weights of epoch {self.best_epoch + 1}, the best one, are restored.")
            self.model.load_state_dict(self.best_weights)

    def _keep(self, epoch: int) -> None:
        """Remember the epoch, and its weights in the host's memory."""
        self.best_epoch = epoch
        if self.restore_best_weights:
            self.best_weights = {
                name: value.detach().to("cpu", copy=True) if isinstance(value, torch.Tensor) else value
                for name, value in self.model.state_dict().items()
            }

    def get_state(self) -> dict[str, Any]:
        """The best value, its epoch and weights, and how long it has been waited for a better one."""
        names = ("best", "best_epoch", "best_weights", "wait", "stopped_epoch")
        return {name: getattr(self, name) for name in names}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on waiting where the interrupted run was."""
        self.__dict__.update(state)


@CALLBACKS.register("terminate_on_nan")
class TerminateOnNaN(Callback):
    """Ends training after a batch whose loss is NaN or infinite.

    It reads the loss of every batch, so the host waits for the device once a batch.

    Args:
        raise_error: whether an error is raised instead of training being ended quietly.

    Raises:
        NonFiniteError: in training, if `raise_error` is true and the loss is not finite.

    Example:
        >>> callback = TerminateOnNaN(raise_error=True)
        >>> callback.on_train_batch_end(7, {"loss": float("nan")})
        Traceback (most recent call last):
        lamina.errors.NonFiniteError: The loss is not finite.
          received: loss = nan at batch 7
          fix:      lower the learning rate, clip gradients, or look for bad values in the data
    """

    def __init__(self, raise_error: bool = False) -> None:
        super().__init__()
        self.raise_error = raise_error

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Look at the loss."""
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise NonFiniteError(
                "The loss is not finite.",
                received=f"loss = {float(loss)} at batch {batch}",
                fix="lower the learning rate, clip gradients, or look for bad values in the data",
            )
        announce(f"Batch {batch}: the loss is {float(loss)}; training ends.")
        self.model.stop_training = True
