"""What one batch does: forward, loss, backward, update; each part can be overridden."""

from __future__ import annotations

from typing import Any

import torch

from lamina import metrics as metric_package
from lamina.callbacks.lazy_logs import LazyLogs
from lamina.engine import nest
from lamina.engine.added import added_losses
from lamina.engine.weights import WeightOwner
from lamina.errors import ArgumentError, DataError, NotCompiledError
from lamina.metrics.base import Metric
from lamina.training.batches import unpack_x_y_sample_weight
from lamina.training.nans import check_loss
from lamina.training.plan import Plan


class Steps:
    """The steps of training, evaluation and prediction, as methods of a model."""

    optimizer: Any
    _plan: Plan | None
    _loss_tracker: Any
    _labels: Any
    _log_names: Any
    _logged: list[Any]
    _penalized: bool | None
    _compiled_forward: Any
    _chooser: Any
    _accelerating: Any
    _debug_nans: bool

    def _init_steps(self) -> None:
        """Set up before `compile`."""
        self.__dict__.update(
            optimizer=None,
            _plan=None,
            _loss_tracker=metric_package.Mean(name="loss"),
            _labels=None,
            _log_names=None,
            _logged=[],
            _penalized=None,
            _compiled_forward=None,
            _chooser=None,  # of `jit_compile="auto"`
            _accelerating=None,  # the same, while it runs the steps
        )

    # ------------------------------------------------------------------ steps
    def train_step(self, data: Any) -> Any:
        """Learn from one batch.

        Override it to train in another way; call `compute_loss`, `self.optimizer` and `compute_metrics` from there.

        Args:
            data: what the data give for a batch: `x`, `(x,)`, `(x, y)` or `(x, y, sample_weight)`, on the device.

        Returns:
            A dict of losses and metrics so far; a value is fetched from the device when it is read.

        Raises:
            ArgumentError: there is no loss, or nothing to train.
            NotCompiledError: there is no optimizer.
        """
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self._run_model(x)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
        samples = _batch_size(x)
        self._loss_tracker.add_sum(loss.detach(), samples, samples)
        if self._debug_nans:
            check_loss(loss)  # before it reaches the weights
        optimizer = self.optimizer
        if not (loss.requires_grad and getattr(optimizer, "built", False)):
            self._build_optimizer(loss)
        optimizer.zero_grad()
        optimizer.scale_loss(loss).backward()
        optimizer.step()
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def test_step(self, data: Any) -> Any:
        """Judge one batch; arguments and result as for `train_step`."""
        x, y, sample_weight = unpack_x_y_sample_weight(data)
        y_pred = self._run_model(x)
        loss = self.compute_loss(x, y, y_pred, sample_weight, training=False)
        samples = _batch_size(x)
        self._loss_tracker.add_sum(loss, samples, samples)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def predict_step(self, data: Any) -> Any:
        """The model's outputs for one batch."""
        x, _, _ = unpack_x_y_sample_weight(data)
        return self._run_model(x)

    def _run_model(self, x: Any) -> Any:
        run: Any = self if self._compiled_forward is None else self._compiled_forward
        return run(x)

    def _build_optimizer(self, loss: torch.Tensor) -> None:
        """Give the optimizer the weights to train; they are all there after the first forward pass."""
        if self.optimizer is None:
            raise NotCompiledError(
                f"{type(self).__name__} {self.name!r} has no optimizer to train it.",
                expected="an optimizer or its name in compile()",
                received="optimizer=None",
                fix="call model.compile(optimizer='adam', ...)",
            )
        if not loss.requires_grad:
            raise ArgumentError(
                "There is nothing to train: the loss depends on no trainable weight.",
                expected="at least one trainable weight between the inputs and the loss",
                received=f"{len(self.trainable_weights)} trainable weights in the model",
                fix="set layer.trainable = True, and compute the loss from the outputs, outside of torch.no_grad()",
            )
        self.optimizer.build(self.trainable_weights, dict(self.named_parameters()))

    # ------------------------------------------------------------------ loss
    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> torch.Tensor:
        """The total loss of a batch: those of the outputs, penalties on weights, and what `add_loss` added.

        Args:
            x: inputs.
            y: targets.
            y_pred: the model's outputs.
            sample_weight: weights of the samples.
            training: whether this is a training step.

        Returns:
            A tensor without axes.

        Raises:
            NotCompiledError: `compile` has not been called.
            ArgumentError: there is no loss at all.
            TargetError: the targets do not suit the loss.
        """
        plan = self._bound_plan(y, y_pred)
        total = None if y is None else plan.total_loss(y, y_pred, sample_weight)
        if self._penalized or added_losses.in_use:
            for term in self.losses:
                total = term if total is None else total + term
        if total is None:
            raise _no_loss(plan, y)
        return total

    def _bound_plan(self, y: Any, y_pred: Any) -> Plan:
        plan = self._plan
        if plan is None:
            raise not_compiled(self, "compute a loss")
        if self._penalized is None:
            self.__dict__["_penalized"] = any(isinstance(m, WeightOwner) and m._regularizers for m in self.modules())
        if y is not None:
            if plan.heads is None:
                plan.bind(y, y_pred, getattr(self, "output_names", None))
                self.__dict__["_log_names"] = None
            if self._labels is not None:  # once in each fit
                plan.check_labels(self._labels, y_pred)
                self.__dict__["_labels"] = None
        return plan

    # ------------------------------------------------------------------ metrics
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Show a batch to the metrics.

        Args:
            x: inputs.
            y: targets.
            y_pred: the model's outputs.
            sample_weight: weights of the samples.

        Returns:
            The results so far, fetched when they are read.
        """
        plan = self._bound_plan(y, y_pred)
        if y is not None:
            with torch.no_grad():
                plan.update_metrics(y, y_pred, sample_weight)
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[Any]:
        """The mean loss, what `compile` was given, and metrics that the model and its layers keep in attributes."""
        return [metric for _, metric in self._found_metrics()]

    @property
    def metrics_names(self) -> list[str]:
        """The names of `metrics`, as logs have them: each once."""
        return list(dict(self._named_metrics()))

    def _named_metrics(self) -> list[tuple[str, Any]]:
        """Each metric with its name: those that are found, and those that an overridden `metrics` gives."""
        found = self._found_metrics()
        if type(self).metrics is not Steps.metrics:
            known = {id(metric) for _, metric in found}
            found += [(metric.name, metric) for metric in self.metrics if id(metric) not in known]
        return found

    def _found_metrics(self) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        if self._plan is not None:
            found = [("loss", self._loss_tracker), *self._plan.named_metrics()]
        known = {id(metric) for _, metric in found} | {id(self._loss_tracker)}
        for module in self.modules():
            if module is not self and isinstance(module, Steps):
                continue  # a model inside has a training of its own
            for metric in own_metrics(module):
                if id(metric) not in known:
                    known.add(id(metric))
                    found.append((metric.name, metric))
        return found

    def get_metrics_result(self) -> Any:
        """All metrics' results so far by name, fetched from the device when they are read.

        A metric of the model's own goes before one of `compile` that has the same name.
        """
        if self._log_names is None:
            named = dict(self._named_metrics())
            results = {name: metric.result() for name, metric in named.items()}
            if any(isinstance(result, dict) for result in results.values()):
                flat: dict[str, Any] = {}
                for name, result in results.items():
                    flat.update(result if isinstance(result, dict) else {name: result})
                return LazyLogs(flat)
            self.__dict__.update(_log_names=dict.fromkeys(results), _logged=list(named.values()))
        return LazyLogs.from_provider(self._log_names, self._metric_results)

    def _metric_results(self) -> list[Any]:
        return [metric.result() for metric in self._logged]

    def reset_metrics(self) -> None:
        """Start all metrics anew, those that are new since the last time too."""
        named = self._named_metrics()
        for _, metric in named:
            metric.reset_state()
        if self._log_names is not None and list(self._log_names) != list(dict(named)):
            self.__dict__["_log_names"] = None


def own_metrics(module: torch.nn.Module) -> list[Metric]:
    """The metrics in a module's attributes, and in lists and dicts of its user.

    Args:
        module: the layers inside are not looked into.
    """
    found: list[Metric] = []
    for name, value in module.__dict__.items():
        if isinstance(value, (Metric, list, tuple, dict)):
            if isinstance(value, Metric):
                found.append(value)
            elif name[0] != "_":
                members = value.values() if isinstance(value, dict) else value
                found.extend(member for member in members if isinstance(member, Metric))
    return found


def not_compiled(model: Any, what: str) -> NotCompiledError:
    """The error for a model that must be compiled first.

    Args:
        model: which one.
        what: what was asked of it.
    """
    return NotCompiledError(
        f"{type(model).__name__} {model.name!r} cannot {what} before compile().",
        expected="a compiled model",
        received="no loss and no optimizer",
        fix="call model.compile('adam', 'sparse_categorical_crossentropy', metrics=['accuracy'])",
    )


def _no_loss(plan: Plan, y: Any) -> Exception:
    """The error for a step without any loss."""
    if y is None and plan.loss is not None:
        return DataError(
            "There are no targets for the loss.",
            expected="x and y",
            received="x alone",
            fix="pass y=..., or let the data give (x, y)",
        )
    return ArgumentError(
        "There is no loss to train on.",
        expected="loss= in compile(), or add_loss() in a layer",
        received="loss=None",
        fix="compile the model with a loss",
    )


def _batch_size(x: Any) -> int:
    """The number of samples in a batch."""
    leaf = x
    while isinstance(leaf, (list, tuple, dict)):
        leaf = nest.flatten(leaf)[0]
    return leaf.shape[0] if getattr(leaf, "shape", None) else 1
