"""`Loss`, and the base of those losses that are a function of labels and predictions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from lamina import config
from lamina.activations.logits import carried
from lamina.configurable import Configurable
from lamina.dtypes import get_policy, torch_dtype
from lamina.engine.masking import get_mask
from lamina.errors import LaminaError
from lamina.losses.alignment import align_ranks, as_tensor, refuse_pairwise
from lamina.losses.reduction import AVERAGES, check_reduction, reduce_weighted
from lamina.losses.targets import TargetForm
from lamina.registry import snake_case


class Loss(Configurable):
    """A number to make small, computed from labels and predictions.

    A subclass writes `call`, which gives one value a sample; sample weights, masks and the reduction are done
    here. Labels of shape `(N,)` meet predictions of shape `(N, 1)`, or the reverse, in one shape.

    Args:
        name: how messages and logs call it; by default the class name in snake_case.
        reduction: `"sum_over_batch_size"` or `"mean"` averages over all values, `"sum"` adds them,
            `"mean_with_sample_weight"` divides their sum by that of the weights, `"none"` or `None` gives the
            values themselves.
        dtype: the dtype to compute in; `None` for `config.floatx()`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> class Cubed(Loss):
        ...     def call(self, y_true, y_pred):
        ...         return (y_true - y_pred).abs().pow(3).mean(dim=-1)
        >>> Cubed()(torch.zeros(2, 1), torch.tensor([[1.0], [2.0]]))
        tensor(4.5000)
        >>> Cubed()(torch.zeros(2, 1), torch.tensor([[1.0], [2.0]]), sample_weight=torch.tensor([1.0, 0.0]))
        tensor(0.5000)
    """

    target_form: TargetForm | None = None
    """The form of the labels, for `check_targets`; `None` when anything may come."""
    integer_targets: ClassVar[bool] = False
    """Whether `call` takes class numbers as integers; other labels come in the loss's dtype."""

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.reduction = check_reduction(reduction)
        self.dtype = get_policy(dtype or config.floatx()).compute_dtype

    @property
    def display_name(self) -> str:
        """The name of the class as a message to the user gives it."""
        return type(self).__name__

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The loss of a batch.

        Args:
            y_true: the labels.
            y_pred: the predictions; a mask that rides on them says which ones count.
            sample_weight: one weight a sample, or one a sample and step.

        Returns:
            A tensor without axes, or one value a sample for the reduction `"none"`.

        Raises:
            ShapeError: labels, predictions and weights do not fit each other.
            TargetError: the labels are not of the form that the loss takes.
        """
        y_pred = as_tensor(y_pred)
        mask = get_mask(y_pred)
        values = self.sample_values(y_true, y_pred)
        own_mask = get_mask(values)
        if mask is None:
            mask = own_mask
        elif own_mask is not None:
            mask = mask.bool() & own_mask
        if sample_weight is not None:
            sample_weight = as_tensor(sample_weight).to(device=values.device, dtype=values.dtype)
        return reduce_weighted(values, sample_weight, mask, self.reduction)

    def sample_values(self, y_true: Any, y_pred: Any) -> Tensor:
        """What `call` gives for labels and predictions of any kind, before weights and reduction.

        Args:
            y_true: the labels.
            y_pred: the predictions.

        Returns:
            One value a sample, or one a sample and step.

        Raises:
            ShapeError: the result holds every label against every prediction.
        """
        y_true, y_pred = self._converted(y_true, y_pred)
        values = self.call(y_true, y_pred)
        refuse_pairwise(values, y_true, y_pred, self.name)
        return values

    def _converted(self, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
        """Labels and predictions as `call` takes them."""
        y_pred, kind = as_tensor(y_pred), torch_dtype(self.dtype)
        y_pred = carried(y_pred, y_pred.to(kind), lambda scores: scores.to(kind))
        y_true = self.convert_labels(as_tensor(y_true).to(y_pred.device))
        if y_true.ndim + y_pred.ndim == 3 and not self.integer_targets:  # (N,) and (N, 1)
            return align_ranks(y_true, y_pred)
        return y_true, y_pred

    def convert_labels(self, y_true: Tensor) -> Tensor:
        """Labels in the dtype in which `call` takes them.

        Args:
            y_true: the labels.

        Returns:
            The labels in the loss's dtype, or as 64-bit integers.
        """
        return y_true.to(torch.int64 if self.integer_targets else torch_dtype(self.dtype))

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """One value a sample; a subclass writes this.

        Args:
            y_true: the labels, in the loss's dtype and on the device of the predictions.
            y_pred: the predictions, in the loss's dtype.

        Returns:
            A tensor whose first axis is that of the samples.

        Raises:
            LaminaError: the subclass did not write it.
        """
        raise LaminaError(
            f"{type(self).__name__} does not say how to compute its values.",
            expected="a method call(self, y_true, y_pred)",
            received="a subclass of Loss without one",
            fix="write call so that it returns one value a sample",
        )

    def __getattr__(self, name: str) -> Any:
        if name in ("name", "reduction", "dtype"):
            raise LaminaError(
                f"{type(self).__name__} was not initialised as a loss.",
                expected="super().__init__(name=name, reduction=reduction), first in its __init__",
                received="an __init__ that does not call it",
                fix="call super().__init__ before anything else",
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} reduction={self.reduction!r}>"


class FunctionLoss(Loss):
    """A loss whose `call` is a function of labels and predictions.

    A subclass names the function as `fn`, and stores an attribute for each parameter that the function has
    beside the first two; the attributes are what the function is called with. It may name a `mean_fn` of the
    same parameters: the mean of what `fn` gives, in one kernel, or `None` where there is none for them.

    Args:
        reduction: as in `Loss`.
        name: as in `Loss`.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: there is no such reduction.

    Example:
        >>> def pinball(y_true, y_pred, tau=0.5):
        ...     error = y_true - y_pred
        ...     return torch.maximum(tau * error, (tau - 1) * error).mean(dim=-1)
        >>> class Pinball(FunctionLoss):
        ...     fn = staticmethod(pinball)
        ...     def __init__(self, tau=0.5, **kwargs):
        ...         super().__init__(**kwargs)
        ...         self.tau = tau
        >>> Pinball(tau=0.9)(torch.ones(2, 1), torch.zeros(2, 1))
        tensor(0.9000)
    """

    fn: ClassVar[Callable[..., Tensor]]
    mean_fn: ClassVar[Callable[..., Tensor | None] | None] = None
    _settings: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "fn" in cls.__dict__:
            cls._settings = tuple(inspect.signature(cls.fn).parameters)[2:]
        if {"fn", "call", "sample_values"} & cls.__dict__.keys() and "mean_fn" not in cls.__dict__:
            cls.mean_fn = None  # the parent's is the mean of other values

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        kind = type(self)
        if kind.mean_fn is not None and sample_weight is None and self.reduction in AVERAGES:
            y_pred = as_tensor(y_pred)
            if get_mask(y_pred) is None and 0 not in y_pred.shape:
                value = kind.mean_fn(*self._converted(y_true, y_pred), **self._arguments())
                if value is not None:
                    return value
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return type(self).fn(y_true, y_pred, **self._arguments())

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._settings}
