"""What `compile` was asked for, matched to the outputs that the model turns out to have."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import torch

from lamina import losses as loss_package
from lamina import metrics as metric_package
from lamina.engine import nest
from lamina.errors import ArgumentError, DataError, nearest, unknown_name
from lamina.losses.targets import check_label_range, check_targets
from lamina.metrics.base import Metric
from lamina.metrics.torch_metric import is_torch_metric
from lamina.training.arrays import as_tensor, is_sparse
from lamina.training.batches import specs_of

_ANY_SHAPE = (None, None)  # stands for shapes that nobody knows before the first batch


class Head:
    """One output of the model with what it is trained and judged by.

    Args:
        name: the output's name.
        loss: a `Loss`, or `None` for an output that is not trained.
        weight: the factor of its loss in the total.
    """

    def __init__(self, name: str, loss: Any, weight: float) -> None:
        self.name = name
        self.loss = loss
        self.weight = weight
        self.tracker: Any = None  # the mean of this output's loss, where there are several outputs
        self.metrics: list[Any] = []
        self.weighted_metrics: list[Any] = []


class Plan:
    """Losses and metrics of a model, one head for each output.

    Nothing is looked up or matched by name in a step: `bind` does it once, when the first batch shows the form of
    the outputs and targets.

    Args:
        loss: a loss, or a list or dict of them by output.
        loss_weights: factors, likewise.
        metrics: metrics, or a list or dict of them by output.
        weighted_metrics: metrics that take sample weights, likewise.

    Raises:
        UnknownNameError: a string names no loss or metric.
        ArgumentError: a factor is no number.
    """

    def __init__(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> None:
        self.loss = loss
        self.loss_weights = loss_weights
        self.metrics = metrics
        self.weighted_metrics = weighted_metrics
        self.heads: list[Head] | None = None
        self.bound_to: Any = None  # what `bind` saw, as plain data
        self._names: list[str] = []
        # What cannot be used is an error of compile, not of the first batch.
        for given in _leaves(loss):
            loss_package.as_loss(given, _ANY_SHAPE, _ANY_SHAPE)
        for given in [*_leaves(metrics), *_leaves(weighted_metrics)]:
            metric_package.as_metric(given, None, _ANY_SHAPE, _ANY_SHAPE)
        for given in _leaves(loss_weights):
            _factor(given)

    @property
    def all_metrics(self) -> list[Any]:
        """The metrics of every head, with names that tell them apart; losses of single outputs first."""
        heads = self.heads or []
        trackers = [head.tracker for head in heads if head.tracker is not None]
        return trackers + [m for head in heads for m in (*head.metrics, *head.weighted_metrics)]

    def named_metrics(self) -> list[tuple[str, Any]]:
        """Each metric with the name that logs give it."""
        return list(zip(self._names, self.all_metrics, strict=True))

    # ------------------------------------------------------------------ once
    def bind(self, y: Any, y_pred: Any, output_names: Sequence[str] | None) -> None:
        """Match losses and metrics to the outputs, and check that the targets suit them.

        Args:
            y: the targets of a batch.
            y_pred: the model's outputs for it.
            output_names: the names of the outputs; by default the keys of a dict, or `output_1`, `output_2`, ...

        Raises:
            ArgumentError: there is a loss for an output that does not exist, or too many or too few of them, or a
                metric object is given twice.
            DataError: there are too many or too few targets.
            TargetError: the targets do not have the form that a loss takes.
        """
        outputs = nest.flatten(y_pred)
        names = _names_of(y_pred, output_names, len(outputs))
        targets = self._in_order(y, names)
        heads = []
        for name, given, weight, target, output in zip(
            names,
            _by_head(self.loss, names, "loss"),
            _by_head(self.loss_weights, names, "loss_weights", default=1.0),
            targets,
            outputs,
            strict=True,
        ):
            loss = None
            if given is not None:
                if target is None:
                    raise _no_target(name, names)
                loss = loss_package.as_loss(given, tuple(target.shape), tuple(output.shape))
                shown = name if len(names) > 1 else None
                check_targets(loss, tuple(target.shape), target.dtype, tuple(output.shape), shown)
            heads.append(Head(name, loss, 1.0 if weight is None else _factor(weight)))
        self._add_metrics(heads, targets, outputs)
        if len(heads) > 1:
            for head in heads:
                if head.loss is not None:
                    head.tracker = metric_package.Mean(name="loss")
        self.heads = heads
        self.bound_to = (specs_of(y), specs_of(y_pred))
        self._names = _distinct_names(heads)

    def _add_metrics(self, heads: list[Head], targets: list[Any], outputs: list[Any]) -> None:
        """Give each head its metrics."""
        names = [head.name for head in heads]
        seen: list[Any] = []
        for source, attribute in ((self.metrics, "metrics"), (self.weighted_metrics, "weighted_metrics")):
            for head, wanted, target, output in zip(
                heads, _metrics_by_head(source, names, attribute), targets, outputs, strict=True
            ):
                shapes = (None if target is None else tuple(target.shape), tuple(output.shape))
                for given in wanted:
                    if isinstance(given, Metric) or is_torch_metric(given):
                        if any(given is other for other in seen):
                            raise _metric_given_twice(given, names)
                        seen.append(given)
                    getattr(head, attribute).append(metric_package.as_metric(given, head.loss, *shapes))

    def check_labels(self, labels: Any, y_pred: Any) -> None:
        """Refuse class numbers that the outputs do not have, before a step uses them; `bind` must have run.

        Args:
            labels: all targets, in the host's memory.
            y_pred: the model's outputs for a batch.

        Raises:
            TargetError: a label is no class.
        """
        heads = self.heads or []
        names = [head.name for head in heads]
        for head, every, output in zip(heads, self._in_order(labels, names), nest.flatten(y_pred), strict=True):
            if every is not None and type(head.loss).__name__ == "SparseCategoricalCrossentropy":
                shown = head.name if len(heads) > 1 else None
                whole = as_tensor(every) if is_sparse(every) else every
                check_label_range(whole, output.shape[head.loss.axis], shown, head.loss.ignore_class)

    def _in_order(self, values: Any, names: list[str]) -> list[Any]:
        """Targets or weights as a list in the order of the outputs; a missing one is `None`."""
        if isinstance(values, dict):
            unknown = [key for key in values if key not in names]
            if unknown:
                raise unknown_name("output", unknown[0], names)
            return [values.get(name) for name in names]
        leaves = nest.flatten(values)
        if len(leaves) == len(names):
            return leaves
        raise DataError(
            f"The model has {len(names)} outputs, but the targets are {len(leaves)}.",
            expected="one target for each of " + ", ".join(names),
            received=f"{len(leaves)} of shapes {', '.join(str(tuple(v.shape)) for v in leaves)}",
            fix="pass y as a list in that order, or a dict by those names",
        )

    # ------------------------------------------------------------------ each step
    def total_loss(self, y: Any, y_pred: Any, sample_weight: Any) -> torch.Tensor | None:
        """The weighted sum of the outputs' losses, `None` where no output has one; `bind` must have run.

        Args:
            y: targets.
            y_pred: outputs.
            sample_weight: weights of the samples, one for all outputs or one for each.
        """
        heads = self.heads or []
        if len(heads) == 1:
            head = heads[0]
            if head.loss is None:
                return None
            value = head.loss(_single(y), _single(y_pred), sample_weight=_single(sample_weight))
            return value if head.weight == 1.0 else value * head.weight
        names = [head.name for head in heads]
        outputs = nest.flatten(y_pred)
        targets = self._in_order(y, names)
        total = None
        for head, target, output, weight in zip(
            heads, targets, outputs, self._weights(sample_weight, names), strict=True
        ):
            if head.loss is None or target is None:
                continue
            value = head.loss(target, output, sample_weight=weight)
            head.tracker.add_sum(value.detach(), output.shape[0], output.shape[0])
            value = value if head.weight == 1.0 else value * head.weight
            total = value if total is None else total + value
        return total

    def update_metrics(self, y: Any, y_pred: Any, sample_weight: Any) -> None:
        """Show a batch to every metric; arguments as for `total_loss`."""
        heads = self.heads or []
        if len(heads) == 1 and not heads[0].weighted_metrics and isinstance(y, torch.Tensor):
            output = _single(y_pred)
            for metric in heads[0].metrics:
                metric.update_state(y, output)
            return
        if not any(head.metrics or head.weighted_metrics for head in heads):
            return
        names = [head.name for head in heads]
        outputs = nest.flatten(y_pred)
        for head, target, output, weight in zip(
            heads, self._in_order(y, names), outputs, self._weights(sample_weight, names), strict=True
        ):
            if target is None:
                continue
            for metric in head.metrics:
                metric.update_state(target, output)
            for metric in head.weighted_metrics:
                metric.update_state(target, output, sample_weight=weight)

    def _weights(self, sample_weight: Any, names: list[str]) -> list[Any]:
        if sample_weight is None or not nest.is_nest(sample_weight):
            return [sample_weight] * len(names)
        return self._in_order(sample_weight, names)


def _single(value: Any) -> Any:
    """The only leaf of a nest of one, or the value itself."""
    if isinstance(value, (list, tuple, dict)):
        leaves = nest.flatten(value)
        return leaves[0] if len(leaves) == 1 else value
    return value


def _leaves(given: Any) -> list[Any]:
    """The losses or metrics in a list or dict of them, configs left whole."""
    if isinstance(given, dict) and "class_name" not in given:
        return [leaf for value in given.values() for leaf in _leaves(value)]
    if isinstance(given, (list, tuple)):
        return [leaf for value in given for leaf in _leaves(value)]
    return [] if given is None else [given]


def _names_of(y_pred: Any, output_names: Sequence[str] | None, count: int) -> list[str]:
    """The outputs' names, each different from the others."""
    if isinstance(y_pred, dict) and len(y_pred) == count:
        return [str(key) for key in y_pred]
    names = list(output_names) if output_names is not None and len(output_names) == count else []
    found: list[str] = []
    for name in names or [f"output_{i + 1}" for i in range(count)]:
        found.append(_numbered(name, {*names, *found}) if name in found else name)
    return found


def _numbered(name: str, taken: Collection[str]) -> str:
    """`name_1`, `name_2`, ...: the first that is not taken."""
    return next(f"{name}_{i}" for i in itertools.count(1) if f"{name}_{i}" not in taken)


def _factor(weight: Any) -> float:
    """A loss weight as a float."""
    try:
        return float(weight)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            "A loss weight is not a number.",
            expected="a number for each output",
            received=repr(weight),
            fix="loss_weights=[1.0, 0.5]",
        ) from error


def _no_target(name: str, names: list[str]) -> DataError:
    return DataError(
        f"The output {name!r} has a loss, but no target.",
        expected="a target for each of " + ", ".join(names),
        received=f"none for {name!r}",
        fix=f"add it to y, or give that output no loss: loss={{..., {name!r}: None}}",
    )


def _metric_given_twice(metric: Any, names: list[str]) -> ArgumentError:
    return ArgumentError(
        "One metric object cannot count for two.",
        expected=f"an object for each use: outputs {', '.join(map(repr, names))}, with and without weights",
        received=f"{metric!r} twice",
        fix="pass its name or class, or make one object for each",
    )


def _by_head(given: Any, names: list[str], what: str, default: Any = None) -> list[Any]:
    """One entry for each output, from one for all, a list in order, or a dict by name."""
    if isinstance(given, dict) and "class_name" not in given:
        for key in given:
            if key not in names:
                guess = nearest(str(key), names)
                raise ArgumentError(
                    f"{what} names an output that the model does not have.",
                    expected=", ".join(map(repr, names)),
                    received=repr(key),
                    fix=f"did you mean {guess!r}?" if guess else "use the names above",
                )
        return [given.get(name, default) for name in names]
    if isinstance(given, (list, tuple)):
        if len(given) != len(names):
            raise ArgumentError(
                f"{what} has {len(given)} entries for {len(names)} outputs.",
                expected="one for each of " + ", ".join(map(repr, names)),
                received=repr(given),
                fix=f"pass a list of {len(names)}, or a dict by output name",
            )
        return list(given)
    return [default if given is None else given] * len(names)


def _metrics_by_head(given: Any, names: list[str], what: str) -> list[list[Any]]:
    """A list of metrics for each output."""
    if given is None:
        return [[] for _ in names]
    if isinstance(given, (list, tuple)) and len(names) == 1:
        flat = [leaf for one in given for leaf in (one if isinstance(one, (list, tuple)) else [one])]
        return [flat]
    flat = isinstance(given, (list, tuple)) and not any(isinstance(one, (list, tuple)) for one in given)
    if flat and len(given) != len(names):  # one list for every output
        given = [list(given)] * len(names)
    entries = _by_head(given, names, what)
    return [list(one) if isinstance(one, (list, tuple)) else [] if one is None else [one] for one in entries]


def _distinct_names(heads: list[Head]) -> list[str]:
    """The name of each metric in logs: with its output's in front where there are several, never twice the same."""
    names = ["loss"]  # that of the total
    front = [f"{head.name}_" if len(heads) > 1 else "" for head in heads]

    def add(name: str, otherwise: str) -> None:
        name = otherwise if name in names else name
        names.append(_numbered(name, names) if name in names else name)

    for head, prefix in zip(heads, front, strict=True):
        if head.tracker is not None:
            add(f"{prefix}loss", f"{prefix}loss")
    for head, prefix in zip(heads, front, strict=True):
        for metric in head.metrics:
            add(f"{prefix}{metric.name}", f"{prefix}{metric.name}")
        for metric in head.weighted_metrics:
            add(f"{prefix}{metric.name}", f"{prefix}weighted_{metric.name}")
    return names[1:]
