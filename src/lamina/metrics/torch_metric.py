"""Metrics of the torchmetrics package, which is never imported here: only what is already loaded is recognised."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from lamina.errors import ArgumentError, LoadError, WeightsError
from lamina.losses.alignment import align_ranks
from lamina.metrics.base import Metric
from lamina.registry import METRICS, snake_case


def is_torch_metric(value: Any) -> bool:
    """Whether `value` is a metric, or a collection of metrics, of torchmetrics.

    Args:
        value: anything.

    Returns:
        Whether it is.

    Example:
        >>> is_torch_metric("accuracy")
        False
    """
    package = sys.modules.get("torchmetrics")
    return package is not None and isinstance(value, (package.Metric, package.MetricCollection))


@METRICS.register()
class TorchMetric(Metric):
    """A metric of torchmetrics, called as `update(predictions, labels)` and otherwise used like any other.

    The class axis of predictions, the last one here, is moved to where torchmetrics wants it beside class
    numbers. Many of its metrics look at the values of each batch, and so wait for the device, unless they are
    made with `validate_args=False`.

    Args:
        metric: the metric; its state is its own.
        name: as in `Metric`; by default the metric's class in snake_case.
        dtype: as in `Metric`; what the metric computes is left as it is.

    Raises:
        ArgumentError: `metric` is nothing of torchmetrics.
        LoadError: `metric` is the name that a config holds in place of it.

    Example:
        >>> import torchmetrics
        >>> metric = TorchMetric(torchmetrics.MeanSquaredError())
        >>> metric([1.0, 2.0], torch.tensor([[1.0], [4.0]]))
        tensor(2.)
    """

    def __init__(self, metric: Any, name: str | None = None, dtype: Any = None) -> None:
        if isinstance(metric, str):
            raise LoadError(
                f"The metric {metric!r} is one of torchmetrics, whose arguments are not in this config.",
                expected="the metric itself",
                received=repr(metric),
                fix="load with compile=False, then compile with the metric",
            )
        if not is_torch_metric(metric):
            raise ArgumentError(
                "This is no metric of torchmetrics.",
                expected="a torchmetrics.Metric or MetricCollection",
                received=f"{metric!r} of type {type(metric).__name__}",
                fix="pass it to metrics.as_metric, which knows the other kinds",
            )
        super().__init__(name or snake_case(type(metric).__name__), dtype)
        self.metric = metric
        self._device = next((m.device for m in self._owners().values()), self._device)
        better = getattr(metric, "higher_is_better", None)
        self.direction = None if better is None else ("up" if better else "down")  # type: ignore[misc]

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        if sample_weight is not None:
            raise ArgumentError(
                f"{type(self.metric).__name__} of torchmetrics takes no sample weights.",
                expected="sample_weight=None",
                received=f"weights of shape {tuple(sample_weight.shape)}",
                fix="pass it in metrics rather than in weighted_metrics",
            )
        y_true, y_pred = align_ranks(y_true, y_pred)
        if type(self.metric).__module__.startswith("torchmetrics.classification"):
            y_true = y_true.long()
        if not y_true.dtype.is_floating_point:  # class numbers, beside which the class axis is the second
            if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1 != y_pred.shape[-1]:
                y_true = y_true.squeeze(-1)
            if y_pred.ndim == y_true.ndim + 1 > 2:
                y_pred = y_pred.movedim(-1, 1)
        self.metric.update(y_pred, y_true)

    def result(self) -> Any:
        return self.metric.compute()

    def reset_state(self) -> None:
        self.metric.reset()

    def to(self, device: torch.device | str) -> Self:
        self.metric.to(device)
        return super().to(device)

    def state_dict(self) -> dict[str, Tensor]:
        return {name: copy.deepcopy(value) for name, value in self._states().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        own = self._states()
        if set(own) != set(state):
            raise WeightsError(
                f"This is not the state of metric {self.name!r}.",
                expected=f"names {sorted(own)}",
                received=f"names {sorted(state)}",
                fix="load it into a metric of the same class and arguments",
            )
        for name, value in state.items():
            owner, _, attribute = name.rpartition(".")
            setattr(self._owners()[owner], attribute, copy.deepcopy(value))

    def _owners(self) -> dict[str, Any]:
        """The metrics that hold state, by name; a metric alone has none."""
        package = sys.modules["torchmetrics"]
        if isinstance(self.metric, package.MetricCollection):
            return dict(self.metric.items(keep_base=True, copy_state=False))
        return {"": self.metric}

    def _states(self) -> dict[str, Any]:
        return {
            f"{owner}.{name}": value
            for owner, metric in self._owners().items()
            for name, value in {**metric.metric_state, "_update_count": metric._update_count}.items()
        }

    def get_config(self) -> dict[str, Any]:
        """The metric's class by name: enough to say what it was, not to make it again."""
        return {"metric": type(self.metric).__name__, "name": self.name, "dtype": self.dtype}
