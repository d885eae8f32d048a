"""`train_on_batch`, `test_on_batch`, `predict_on_batch`: one step, for loops that users write."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina import config
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.engine.added import added_losses
from lamina.errors import ArgumentError
from lamina.training.adapters import make_adapter
from lamina.training.batches import pack_x_y_sample_weight
from lamina.training.nans import check_loss, watched
from lamina.training.outputs import Outputs
from lamina.training.step import Steps, not_compiled


class OnBatch(Steps):
    """Single steps, as methods of a model."""

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """Learn from one batch; the results are those of this batch alone.

        Args:
            x: inputs.
            y: targets.
            sample_weight: a weight for each sample.
            class_weight: a dict from class to weight, in place of `sample_weight`.
            return_dict: whether the results come as a dict by name.

        Returns:
            A list of floats in the order of `metrics_names`, the loss alone if there are no metrics, or a dict.

        Raises:
            NotCompiledError: `compile` has not been called.
            ArgumentError: both kinds of weight are given.
            NonFiniteError: a value is NaN or infinite, if `compile` was told `debug_nans`.
        """
        if class_weight is not None and sample_weight is not None:
            raise ArgumentError(
                "train_on_batch takes sample_weight or class_weight.",
                expected="one of them",
                received="both",
                fix="multiply them yourself",
            )
        if not self.compiled:
            raise not_compiled(self, "be trained")
        with modes_kept(self), watched(self, self._debug_nans):
            self.train()
            self.reset_metrics()
            logs = self._train_on(self._whole(x, y, sample_weight, class_weight))
            with torch.no_grad():
                for weight, constraint in self.constrained_weights():
                    weight.copy_(constraint(weight))
        return results_of(logs, return_dict)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Judge one batch; arguments, result and errors as for `train_on_batch`."""
        if not self.compiled:
            raise not_compiled(self, "be evaluated")
        with modes_kept(self), torch.no_grad(), watched(self, self._debug_nans):
            to_inference(self)
            self.reset_metrics()
            logs = self._test_on(self._whole(x, y, sample_weight))
        return results_of(logs, return_dict)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch as NumPy arrays, in inference mode.

        Args:
            x: inputs.
        """
        outputs = Outputs()
        with modes_kept(self), torch.no_grad():
            to_inference(self)
            outputs.add(self.predict_step(_short(self._whole(x))))
        return outputs.to_numpy()

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""
        return self._plan is not None

    def _whole(self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None) -> Any:
        """All of the arrays as one batch on the device."""
        adapter = make_adapter(x, y, sample_weight, batch_size=2**62, class_weight=class_weight)
        try:
            return next(iter(adapter.epoch(self._device())))
        finally:
            adapter.close()

    def _device(self) -> torch.device:
        """Where the weights are, and so where batches go."""
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((tensor.device for tensor in tensors), config.device())

    def _train_on(self, batch: Any) -> Any:
        """One training step and its logs."""
        self._forget_added_losses()
        data, chooser = _short(batch), self._accelerating
        logs = _logs(self.train_step(data) if chooser is None else chooser.step(self, data))
        if self._debug_nans and "loss" in logs:
            check_loss(torch.as_tensor(logs["loss"]))
        return logs

    def _test_on(self, batch: Any) -> Any:
        """One evaluation step and its logs."""
        self._forget_added_losses()
        return _logs(self.test_step(_short(batch)))

    def _forget_added_losses(self) -> None:
        if added_losses.in_use:
            self.clear_losses()


def _short(batch: Any) -> Any:
    """A batch as `train_step` takes it: without the parts that are not there."""
    x, y, sample_weight = batch
    if sample_weight is None and y is not None:
        return x, y
    return pack_x_y_sample_weight(x, y, sample_weight)


def _logs(logs: Any) -> Any:
    """What a step returned, as logs that are fetched when read; dicts inside are spread."""
    if isinstance(logs, LazyLogs):
        return logs
    if not isinstance(logs, dict):
        return LazyLogs({} if logs is None else {"loss": logs})
    flat: dict[str, Any] = {}
    for name, value in logs.items():
        flat.update(value if isinstance(value, dict) else {name: value})
    return LazyLogs(flat)


def results_of(logs: Any, return_dict: bool) -> Any:
    """Logs in the form that `evaluate` and `train_on_batch` return."""
    results = dict(logs)
    if return_dict:
        return results
    values = list(results.values())
    return values[0] if len(values) == 1 else values


@contextmanager
def modes_kept(model: torch.nn.Module) -> Iterator[None]:
    """Put every module back into the mode it had, training or not.

    Args:
        model: whose modules may change mode meanwhile.
    """
    before = {id(module): module.training for module in model.modules()}
    mode = model.training
    try:
        yield
    finally:
        for module in model.modules():  # layers made meanwhile take the mode that the model had
            kept = before.get(id(module), mode)
            if module.training is not kept:
                module.training = kept


def to_inference(model: torch.nn.Module) -> None:
    """`model.eval()`, unless every module is in that mode already.

    Args:
        model: which.
    """
    if any(module.training for module in model.modules()):
        model.eval()
