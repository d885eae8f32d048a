"""Plain functions and losses as metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from lamina.losses.alignment import align_ranks, refuse_pairwise
from lamina.losses.base import Loss
from lamina.losses.lookup import as_loss
from lamina.losses.lookup import serialize as serialize_loss
from lamina.losses.wrapper import check_function, function_name
from lamina.metrics.reduction import FunctionMetric
from lamina.registry import LOSSES, METRICS


@METRICS.register()
class MeanMetricWrapper(FunctionMetric):
    """The mean of a function of labels and predictions.

    Args:
        fn: `f(y_true, y_pred)`, which gives one value a sample, or one for the batch; or the name of one that
            is registered.
        name: as in `Metric`; by default the function's name in snake_case.
        dtype: as in `Metric`.
        **kwargs: further arguments for the function.

    Raises:
        ArgumentError: `fn` cannot be called, or is one of `torch.nn.functional`, which takes predictions first.

    Example:
        >>> def largest_error(y_true, y_pred):
        ...     return (y_true - y_pred).abs().amax(dim=-1)
        >>> metric = MeanMetricWrapper(largest_error)
        >>> metric([[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [0.0, 1.0]])
        tensor(1.5000)
    """

    def __init__(
        self, fn: Callable[..., Tensor] | str, name: str | None = None, dtype: Any = None, **kwargs: Any
    ) -> None:
        self.function = check_function(METRICS[fn] if isinstance(fn, str) else fn, "metric")
        super().__init__(name or function_name(self.function), dtype)
        self.kwargs = kwargs

    def sample_values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        y_true, y_pred = align_ranks(y_true, y_pred)
        values = self.function(y_true, y_pred, **self.kwargs)
        refuse_pairwise(values, y_true, y_pred, self.name)
        return values

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, the function by its name."""
        name = getattr(self.function, "__name__", function_name(self.function))
        return {"fn": name, "name": self.name, "dtype": self.dtype, **self.kwargs}


@METRICS.register()
class LossMetric(FunctionMetric):
    """A loss followed as a metric: the mean of its values over all samples.

    Args:
        loss: a loss, or whatever `losses.as_loss` takes.
        name: as in `Metric`; by default the name of the loss.
        dtype: as in `Metric`.

    Raises:
        UnknownNameError: no loss has that name.

    Example:
        >>> LossMetric("huber")([[0.0], [0.0]], [[1.0], [3.0]])
        tensor(1.5000)
    """

    direction = "down"

    def __init__(self, loss: Any, name: str | None = None, dtype: Any = None) -> None:
        self.loss: Loss = as_loss(LOSSES.deserialize(loss) if isinstance(loss, dict) else loss)
        super().__init__(name or self.loss.name, dtype)

    def sample_values(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return self.loss.sample_values(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, the loss as data."""
        return {"loss": serialize_loss(self.loss), "name": self.name, "dtype": self.dtype}
