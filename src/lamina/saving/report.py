"""What became of the weights of a file."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from lamina.errors import WeightsError

_log = logging.getLogger("lamina")


@dataclass
class WeightsReport:
    """Which weights a file gave to a model.

    Attributes:
        restored: the names of the weights that have the file's values now.
        skipped: what was left out, each with the reason.
        missing: the names of the model's weights that the file did not give.
        waiting: whether the weights are kept until the model is built; nothing is restored before that.
    """

    restored: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    waiting: bool = False

    def __str__(self) -> str:
        if self.waiting:
            return "the weights wait until the model is built"
        text = f"restored {len(self.restored)} of {len(self.restored) + len(self.missing)}"
        if self.skipped:
            shown = ", ".join(self.skipped[:5]) + (
                f" and {len(self.skipped) - 5} more" if len(self.skipped) > 5 else ""
            )
            text += f", skipped: {shown}"
        return text

    __repr__ = __str__


@dataclass
class Assignment:
    """A weight and the value that a file has for it, which is read when it is wanted.

    Attributes:
        name: the weight's name.
        tensor: the weight.
        shape: the shape of the value.
        kind: the dtype of the value.
        read: gives the value.
    """

    name: str
    tensor: torch.Tensor
    shape: tuple[int, ...]
    kind: torch.dtype
    read: Callable[[], torch.Tensor]

    def obstacle(self) -> str | None:
        """Why the weight cannot take the value, or `None`."""
        if tuple(self.tensor.shape) != self.shape:
            return f"{self.name} of shape {self.shape}"
        if not torch.can_cast(self.kind, self.tensor.dtype):
            return f"{self.name} of shape {self.shape}, {self.kind}"
        return None


@dataclass
class Plan:
    """What a file has for a model, before anything is changed.

    Attributes:
        assignments: weights and values that belong together.
        missing: the shapes of weights for which the file has nothing, by name.
        extra: what the file has beyond them.
        problems: what does not fit and is no single weight, such as a layer with another number of weights.
    """

    assignments: list[Assignment] = field(default_factory=list)
    missing: dict[str, tuple[int, ...]] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def carry_out(plan: Plan, source: str, partial: bool = False, skip_mismatch: bool = False) -> WeightsReport:
    """Give the weights their values, all or, where it is allowed, those that fit.

    Args:
        plan: what belongs together.
        source: the file, for messages.
        partial: whether the file may have more or less than the model.
        skip_mismatch: whether what does not fit is passed over.

    Returns:
        What was done.

    Raises:
        WeightsError: something does not fit; nothing is changed then.
    """
    wrong = {id(a): reason for a in plan.assignments if (reason := a.obstacle()) is not None}
    misfits = sorted((a for a in plan.assignments if id(a) in wrong), key=lambda a: a.name)
    whole = not (partial or skip_mismatch)
    if (whole and (plan.missing or plan.extra)) or (not skip_mismatch and (wrong or plan.problems)):
        missing, extra = (sorted(plan.missing), plan.extra) if whole else ([], [])
        shown = [f"no {name}" for name in missing[:3]] + [f"{name}, which the model lacks" for name in extra[:3]]
        shown += plan.problems[:3] + [wrong[id(a)] for a in misfits[:3]]
        wanted = [
            *(f"{name} {plan.missing[name]}" for name in missing),
            *(f"{a.name} {tuple(a.tensor.shape)}" for a in misfits),
        ]
        raise WeightsError(
            f"The weights in {source} do not fit the model.",
            expected=", ".join(wanted[:3]) or f"{len(plan.assignments)} weights",
            received="; ".join(shown),
            fix="load them into a model of the same layers and names, or pass skip_mismatch=True to load what fits",
        )
    fitting = [a for a in plan.assignments if id(a) not in wrong]
    values = [assignment.read() for assignment in fitting]
    with torch.no_grad():
        for assignment, value in zip(fitting, values, strict=True):
            assignment.tensor.copy_(value)
    report = WeightsReport(
        [a.name for a in fitting],
        [*wrong.values(), *plan.problems, *plan.extra],
        [*plan.missing, *(a.name for a in plan.assignments if id(a) in wrong)],
    )
    if report.skipped:
        _log.warning("%s: %s", source, report)
    return report


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """An array of a file as a tensor.

    Args:
        array: the values.
    """
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # bfloat16, which NumPy does not know
        return torch.from_numpy(array.view(np.uint16).astype(np.int32).astype(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))
