"""`torch.optim` optimizers and schedulers, taken as they are."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import lr_scheduler

from lamina.errors import ArgumentError
from lamina.optimizers.arguments import as_rate
from lamina.optimizers.base import Optimizer
from lamina.optimizers.groups import ParameterSet, no_gradients
from lamina.optimizers.state import check_keys
from lamina.optimizers.stepping import Gradients
from lamina.optimizers.torch_objects import describe, given_rate, make_again, set_rate
from lamina.registry import OPTIMIZERS

_EACH_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)


@OPTIMIZERS.register()
class TorchOptimizer(Optimizer):
    """A `torch.optim` optimizer, and a scheduler if there is one, in the place of an optimizer of lamina's.

    `compile` makes it by itself from `optimizer=torch.optim.Adam(model.parameters())`, from a class or a
    `functools.partial` of one, and from a pair `(optimizer, scheduler)`.

    Args:
        optimizer: a `torch.optim.Optimizer` over the parameters of the model; or its class, a partial of it, or any
            function that makes one of a list of parameters, which is called in `build`.
        scheduler: a scheduler over that optimizer; or its class, a partial of it, or any function that makes one of
            an optimizer.
        scheduler_interval: when the scheduler steps: after each `"epoch"` or each `"batch"`. By default an epoch,
            but a batch for `OneCycleLR` and `CyclicLR`, as torch's documentation has it.
        monitor: the name in an epoch's logs that `ReduceLROnPlateau` watches; by default `val_loss`, or `loss` where
            there is no validation.
        name: a name; by default the class's, numbered.

    Raises:
        ArgumentError: an argument is not what it should be.

    Example:
        >>> import functools, torch
        >>> from torch.optim import lr_scheduler
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> halve = functools.partial(lr_scheduler.StepLR, step_size=1, gamma=0.5)
        >>> optimizer = TorchOptimizer(functools.partial(torch.optim.SGD, lr=0.5), halve)
        >>> optimizer.apply([torch.tensor([1.0])], [weight])
        >>> optimizer.on_epoch_end()
        >>> weight.item(), optimizer.learning_rate
        (0.5, 0.25)
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer | Callable[..., torch.optim.Optimizer],
        scheduler: Any = None,
        scheduler_interval: str | None = None,
        monitor: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(0.0, name=name)
        if not isinstance(optimizer, torch.optim.Optimizer) and not callable(optimizer):
            raise ArgumentError(
                "This is no torch optimizer.",
                expected="a torch.optim optimizer, its class, or a functools.partial of it",
                received=repr(optimizer),
                fix="torch.optim.Adam(model.parameters())",
            )
        if scheduler_interval not in (None, "epoch", "batch"):
            raise ArgumentError(
                "Unknown interval of a scheduler.",
                expected="'epoch' or 'batch'",
                received=f"scheduler_interval={scheduler_interval!r}",
                fix="scheduler_interval='epoch'",
            )
        self.optimizer = optimizer
        self.scheduler: Any = scheduler
        self.scheduler_interval = scheduler_interval
        self.monitor = monitor
        self._made = optimizer if isinstance(optimizer, torch.optim.Optimizer) else None
        self._schedule: Any = None
        self._needs_closure = False
        self._rate_to_be: Any = None  # set before there was an optimizer to take it
        if self._made is not None:
            self._make_schedule(self._made)

    @property
    def made(self) -> torch.optim.Optimizer:
        """The torch optimizer itself.

        Raises:
            NotBuiltError: there is none before `build`, if a class or function was given.
        """
        if self._made is None:
            self.known()
        return self._made  # type: ignore[return-value]

    def _make_schedule(self, made: torch.optim.Optimizer) -> None:
        given: Any = self.scheduler
        self._schedule = given if given is None or _is_made(given) else given(made)
        owner = getattr(self._schedule, "optimizer", made)
        if owner is not made:
            raise ArgumentError(
                "The scheduler steers another optimizer.",
                expected=f"a scheduler over the {type(made).__name__} given",
                received=f"one over another {type(owner).__name__}",
                fix="make the scheduler with this optimizer",
            )

    def build(self, variables: Iterable[Tensor], names: Mapping[Any, Any] | None = None) -> None:
        """Make the torch optimizer over the parameters, or check that it is over them.

        Args:
            variables: the parameters of the model.
            names: their names, for messages.

        Raises:
            ArgumentError: the optimizer given moves other parameters than the model's trainable ones.
        """
        if self.built:
            return
        known = ParameterSet(variables, names)
        if self._made is None:
            made: Any = self.optimizer(known.parameters)  # type: ignore[operator]
            if not isinstance(made, torch.optim.Optimizer):
                raise ArgumentError(
                    "The function given as an optimizer did not make one.",
                    expected="a torch.optim.Optimizer",
                    received=repr(made),
                    fix="functools.partial(torch.optim.Adam, lr=0.001)",
                )
            self._made = made
            self._make_schedule(made)
        closure = inspect.signature(self.made.step).parameters.get("closure")
        self._needs_closure = closure is not None and closure.default is inspect.Parameter.empty
        held = {p for group in self.made.param_groups for p in group["params"] if p.requires_grad}
        missing, foreign = set(known.parameters) - held, {p for p in held if p not in known}
        if missing or foreign:
            raise ArgumentError(
                "The torch optimizer does not move the parameters of this model.",
                expected=f"the model's {len(known)} trainable parameters",
                received=f"{len(missing)} of them missing, {len(foreign)} that are not the model's",
                fix=f"torch.optim.{type(self.made).__name__}(model.parameters()), the rest with requires_grad_(False)",
            )
        self._parameters = known
        rate = self._rate_to_be
        if self._waiting is not None:
            self.load_state_dict(self._waiting)
        if rate is not None:
            set_rate(self.made, rate)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step with the gradients that `backward` left in the parameters.

        Args:
            closure: a function that computes the loss and calls `backward`; LBFGS needs it, for it calls it often.

        Returns:
            What `closure` returned.

        Raises:
            ArgumentError: the optimizer needs a closure and there is none, or no parameter has a gradient.
        """
        if closure is None or not self.built:
            return super().step()
        loss = self.made.step(closure)
        self._stepped()
        return loss

    def advance(self, grads: Gradients, skip: Tensor | None = None, applied: Tensor | None = None) -> None:
        """One step from gradients in the order of the parameters, which become the parameters' `.grad`.

        A fused torch optimizer takes `skip` on the device; for any other the host waits to read it, as
        `torch.amp.GradScaler` does, and for SGD, which would start from an uninitialized momentum.
        """
        made = self.made
        if not grads:
            return
        if all(grad is None for grad in grads):
            raise no_gradients(len(grads))
        if self._needs_closure:
            raise _needs_closure(made)
        for parameter, grad in zip(self.known().parameters, grads, strict=True):
            if parameter.grad is not grad:
                parameter.grad = grad
        if skip is None:
            made.step()
        elif getattr(made, "_step_supports_amp_scaling", False) and not isinstance(made, torch.optim.SGD):
            made.found_inf, made.grad_scale = skip, None  # type: ignore[attr-defined]
            made.step()
            del made.found_inf, made.grad_scale  # type: ignore[attr-defined]
        elif bool(skip):
            self._steps += 1
            return
        else:
            made.step()
        self._stepped()

    def _stepped(self) -> None:
        self._steps += 1
        if self._interval == "batch":
            self._schedule.step()

    @property
    def _interval(self) -> str | None:
        """When the scheduler steps; `None` if there is none."""
        if self._schedule is None:
            return None
        return self.scheduler_interval or ("batch" if isinstance(self._schedule, _EACH_BATCH) else "epoch")

    def on_epoch_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Step a scheduler of epochs.

        Args:
            logs: the epoch's losses and metrics; `ReduceLROnPlateau` is given the monitored one.

        Raises:
            ArgumentError: `ReduceLROnPlateau` finds nothing to watch in `logs`.
        """
        if self._interval != "epoch":
            return
        if isinstance(self._schedule, lr_scheduler.ReduceLROnPlateau):
            self._schedule.step(_watched(logs or {}, self.monitor))
        else:
            self._schedule.step()

    @property
    def learning_rate(self) -> float:
        """The rate of the first parameter group. Setting it keeps the other groups in proportion to the first."""
        if self._made is not None:
            return float(self._made.param_groups[0]["lr"])
        rate = self._rate_to_be if self._rate_to_be is not None else given_rate(self.optimizer)
        return float(self.made.param_groups[0]["lr"]) if rate is None else rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        rate = _number(value)
        if self._made is None:
            self._rate_to_be = rate
        else:
            set_rate(self._made, rate)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Refused: in torch, weight decay is a setting of parameter groups."""
        raise _decay_is_of_groups()

    @property
    def variables(self) -> list[Tensor]:
        """The state tensors of the torch optimizer, parameter by parameter."""
        if self._made is None:
            return []
        return [v for state in self._made.state.values() for v in state.values() if isinstance(v, Tensor)]

    def state_dict(self) -> dict[str, Any]:
        """The state of the torch optimizer and scheduler; `None` for each that is not made yet.

        Returns:
            A dict for `load_state_dict`; its tensors are the optimizer's own.
        """
        schedule = None if self._schedule is None else self._schedule.state_dict()
        made = None if self._made is None else self._made.state_dict()
        return {"steps": self._steps, "optimizer": made, "scheduler": schedule}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; before the torch optimizer is made, it waits for it.

        Args:
            state_dict: from a `TorchOptimizer` of the same kind.

        Raises:
            WeightsError: it is from another kind of optimizer.
        """
        check_keys(state_dict, ("steps", "optimizer", "scheduler"), self.name)
        own = copy.deepcopy(dict(state_dict))  # torch would share the tensors
        if self._made is None:
            self._waiting, self._rate_to_be = own, None
            return
        self._steps = int(own["steps"])
        if own["optimizer"] is not None:
            self._made.load_state_dict(own["optimizer"])
        if self._schedule is not None and own["scheduler"] is not None:
            self._schedule.load_state_dict(own["scheduler"])
        self._waiting = None

    def get_config(self) -> dict[str, Any]:
        """The classes of the torch objects, and their arguments where these can be told from them."""
        return {
            "optimizer": describe(self._made if self._made is not None else self.optimizer),
            "scheduler": describe(self._schedule if self._schedule is not None else self.scheduler),
            "scheduler_interval": self.scheduler_interval,
            "monitor": self.monitor,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TorchOptimizer:
        """An adapter of new torch objects like those described; they are made in `build`.

        Args:
            config: what `get_config` gave.

        Returns:
            The adapter.

        Raises:
            LoadError: the optimizer or scheduler is none of torch's own.
        """
        optimizer = make_again(config["optimizer"], torch.optim, torch.optim.Optimizer)
        scheduler = make_again(config.get("scheduler"), lr_scheduler, lr_scheduler.LRScheduler)
        rest = {key: config[key] for key in ("scheduler_interval", "monitor", "name") if key in config}
        return cls(optimizer, scheduler, **rest)

    def __repr__(self) -> str:
        kind = getattr(self.optimizer, "func", self.optimizer)
        kind = kind if inspect.isclass(kind) else type(kind)
        return f"<TorchOptimizer {self.name!r} of {kind.__name__}{'' if self.built else ', not built'}>"


def _is_made(scheduler: Any) -> bool:
    """Whether this is a scheduler already, not a class or function that makes one."""
    return hasattr(scheduler, "step") and not inspect.isclass(scheduler)


def _needs_closure(optimizer: torch.optim.Optimizer) -> ArgumentError:
    return ArgumentError(
        f"{type(optimizer).__name__} evaluates the loss several times in one step.",
        expected="step(closure)",
        received="a step without a closure",
        fix="call optimizer.step(closure) in a loop of your own, or take another optimizer",
    )


def _watched(logs: Mapping[str, Any], monitor: str | None) -> float:
    """The value in an epoch's logs that `ReduceLROnPlateau` watches."""
    monitor = monitor or ("val_loss" if "val_loss" in logs else "loss")
    if monitor not in logs:
        raise ArgumentError(
            "ReduceLROnPlateau finds nothing to watch.",
            expected=f"{monitor!r} in the epoch's logs",
            received=f"logs of {sorted(logs)}",
            fix="TorchOptimizer(optimizer, scheduler, monitor=...) names another",
        )
    return float(logs[monitor])


def _decay_is_of_groups() -> ArgumentError:
    return ArgumentError(
        "Weight decay of a torch optimizer is a setting of its parameter groups.",
        expected="groups with a weight_decay of their own",
        received="a call of exclude_from_weight_decay",
        fix="torch.optim.AdamW([{'params': kernels}, {'params': biases, 'weight_decay': 0.0}])",
    )


def _number(rate: Any) -> float:
    """A learning rate that is no schedule."""
    found = as_rate(rate)
    if isinstance(found, float):
        return found
    raise ArgumentError(
        "A torch optimizer takes its schedule from torch.",
        expected="a number",
        received=repr(rate),
        fix="compile(optimizer=(optimizer, scheduler))",
    )
