"""torch's own losses, and any module of that kind, as losses of lamina."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from lamina.configurable import init_parameters
from lamina.engine.masking import get_mask
from lamina.errors import ArgumentError, LoadError, ShapeError
from lamina.losses.alignment import align_ranks, as_tensor
from lamina.losses.base import Loss
from lamina.losses.targets import TargetForm
from lamina.registry import LOSSES, snake_case

_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)
_BINARY = (nn.BCELoss, nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)
_ELEMENTWISE = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.PoissonNLLLoss,
    nn.KLDivLoss,
    nn.SoftMarginLoss,
    nn.HingeEmbeddingLoss,
)


@LOSSES.register()
class TorchLoss(Loss):
    """A loss module of torch's, called as `module(y_pred, y_true)` and otherwise used like any other loss.

    The class axis of predictions, the last one here, is moved to where `CrossEntropyLoss` and `NLLLoss` want
    it, and labels get the dtype and shape that the module needs. The module's own reduction holds.

    Args:
        module: a loss of `torch.nn`, its class, or any module that takes predictions and labels; or what
            `get_config` wrote of one of torch's.
        reduction: what to do with the values when the module's own reduction is `"none"`; as in `Loss`.
        name: as in `Loss`; by default the module's class in snake_case.
        dtype: as in `Loss`.

    Raises:
        ArgumentError: the module needs more than predictions and labels.
        LoadError: a config names no loss of `torch.nn`.

    Example:
        >>> TorchLoss(nn.CrossEntropyLoss())([1, 0], torch.zeros(2, 5))
        tensor(1.6094)
        >>> TorchLoss(nn.BCEWithLogitsLoss())([1, 0], torch.zeros(2, 1))
        tensor(0.6931)
    """

    def __init__(
        self,
        module: nn.Module | type[nn.Module] | dict[str, Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if isinstance(module, dict):
            module = _module_from(module)
        self.module: nn.Module = module() if inspect.isclass(module) else module
        _check_arguments(self.module)
        super().__init__(name or snake_case(type(self.module).__name__), reduction, dtype)
        self._placed: torch.device | None = None

    @property
    def display_name(self) -> str:
        """The module's class."""
        return f"torch.nn.{type(self.module).__name__}" if _is_torchs(self.module) else type(self.module).__name__

    @property
    def target_form(self) -> TargetForm | None:  # type: ignore[override]
        """The form of the labels that the module takes, where that is known."""
        if isinstance(self.module, nn.CrossEntropyLoss):
            return "class_index_or_one_hot"
        if isinstance(self.module, (nn.NLLLoss, nn.MultiMarginLoss)):
            return "class_index"
        if isinstance(self.module, _BINARY):
            return "binary"
        return "elementwise" if isinstance(self.module, _ELEMENTWISE) else None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """The module's loss of a batch.

        Args:
            y_true: the labels.
            y_pred: the predictions.
            sample_weight: one weight a sample, for a module whose reduction is `"none"`.

        Returns:
            A tensor without axes, or the values themselves when both reductions are `"none"`.

        Raises:
            ArgumentError: there are weights or a mask, and the module averages before they can act.
            ShapeError: labels and predictions do not fit each other.
        """
        masked = get_mask(as_tensor(y_pred)) is not None
        if (sample_weight is not None or masked) and getattr(self.module, "reduction", "none") != "none":
            kind = type(self.module).__name__
            raise ArgumentError(
                f"{self.display_name} averages over the samples itself, so {'a mask' if masked else 'weights'} "
                "cannot act on them.",
                expected="a module with reduction='none'",
                received=f"reduction={self.module.reduction!r}",
                fix=f"pass {kind}(reduction='none'), which is then averaged here",
            )
        return super().__call__(y_true, y_pred, sample_weight)

    def convert_labels(self, y_true: Tensor) -> Tensor:
        # Integers stay integers: a module of the user's may count on them.
        return super().convert_labels(y_true) if y_true.dtype.is_floating_point else y_true

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        if self._placed != y_pred.device and isinstance(y_pred, Tensor):
            self.module.to(y_pred.device)  # class weights follow the predictions
            self._placed = y_pred.device
        if isinstance(self.module, _BY_CLASS):
            y_true, y_pred = self._class_labels(y_true, y_pred)
        elif isinstance(self.module, nn.MultiLabelMarginLoss):
            y_true = y_true.long()
        elif _is_torchs(self.module) or y_true.dtype.is_floating_point:
            y_true, y_pred = align_ranks(y_true.to(y_pred.dtype), y_pred)
            if _is_torchs(self.module) and y_true.shape != y_pred.shape:
                raise ShapeError(
                    f"{self.display_name} compares each label with one prediction.",
                    expected=f"labels of shape {tuple(y_pred.shape)}",
                    received=f"labels of shape {tuple(y_true.shape)}",
                    fix="reshape the labels, or give the last layer one unit a label",
                )
        return self.module(y_pred, y_true)

    def _class_labels(self, y_true: Tensor, y_pred: Tensor) -> tuple[Tensor, Tensor]:
        """Class numbers as integers without a class axis, or shares of classes beside predictions; axis 1 last."""
        if y_true.shape == y_pred.shape and isinstance(self.module, nn.CrossEntropyLoss) and y_pred.ndim > 1:
            y_true = y_true.to(y_pred.dtype)
            return (y_true.movedim(-1, 1), y_pred.movedim(-1, 1)) if y_pred.ndim > 2 else (y_true, y_pred)
        if y_true.ndim == y_pred.ndim and y_true.shape[-1] == 1:
            y_true = y_true.squeeze(-1)
        return y_true.long(), (y_pred.movedim(-1, 1) if y_pred.ndim > 2 else y_pred)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, the module as the name of its class and its arguments."""
        return {**super().get_config(), "module": _module_config(self.module)}


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__ == "torch.nn.modules.loss"


def _check_arguments(module: nn.Module) -> None:
    """Refuse a module whose forward cannot be called with predictions and labels alone."""
    if not isinstance(module, nn.Module):
        raise ArgumentError(
            "This is no loss module.",
            expected="a torch.nn.Module that takes predictions and labels",
            received=f"{module!r} of type {type(module).__name__}",
            fix="pass one such as torch.nn.CrossEntropyLoss()",
        )
    parameters = list(inspect.signature(module.forward).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p.name for p in parameters if p.kind in positional and p.default is p.empty]
    variable = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    if len(needed) > 2 or (sum(p.kind in positional for p in parameters) < 2 and not variable):
        raise ArgumentError(
            f"{type(module).__name__} cannot be a model's loss as it is.",
            expected="a module that takes predictions and labels, and nothing else",
            received=f"forward({', '.join(p.name for p in parameters)})",
            fix="write a function f(y_true, y_pred) that calls it with what it needs",
        )


def _module_config(module: nn.Module) -> dict[str, Any]:
    """The class of a loss of torch's and the arguments that made it, as plain data."""
    names = [name for name in init_parameters(type(module)) if name not in ("size_average", "reduce")]
    arguments = {name: getattr(module, name) for name in names if hasattr(module, name)}
    plain = {name: value.tolist() if isinstance(value, Tensor) else value for name, value in arguments.items()}
    return {"class_name": type(module).__name__, "config": plain if _is_torchs(module) else {}}


def _module_from(config: dict[str, Any]) -> nn.Module:
    """The loss of torch's that `_module_config` described; no other class can be named."""
    known: dict[str, Any] = {
        name: kind
        for name, kind in vars(nn).items()
        if inspect.isclass(kind) and kind.__module__ == "torch.nn.modules.loss"
    }
    name = config.get("class_name")
    if name not in known:
        raise LoadError(
            f"The loss {name!r} is no loss of torch.nn, so its code is not in this config.",
            expected="one of " + ", ".join(sorted(known)),
            received=repr(name),
            fix="load with compile=False, then compile with the module itself",
        )
    arguments = config.get("config", {})
    tensors = {n: torch.tensor(v) if isinstance(v, list) else v for n, v in arguments.items()}
    return known[name](**tensors)
