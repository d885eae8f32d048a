"""`Optimizer`: everything about a training step but the rule that moves the parameters."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError
from lamina.naming import auto_name_of
from lamina.optimizers import arithmetic, clipping
from lamina.optimizers.arguments import LearningRate, as_rate, check_arguments
from lamina.optimizers.arithmetic import Factor, lists
from lamina.optimizers.averaging import adopt_averages, move_averages
from lamina.optimizers.groups import Group, ParameterSet
from lamina.optimizers.schedules.base import LearningRateSchedule, serialize
from lamina.optimizers.skipping import kept_where
from lamina.optimizers.state import State, check_keys
from lamina.optimizers.stepping import Gradients, Stepping

Present = list[tuple[Group, list[Tensor]]]


class Optimizer(Stepping):
    """Moves parameters against their gradients; the base of every optimizer.

    A subclass names its state in `slots` and moves a group of parameters in `update`. Both work on lists of
    tensors, so that a step takes a few kernels however many parameters there are, and neither waits for the device.

    Args:
        learning_rate: a number, a `LearningRateSchedule`, or a function without arguments that gives a number.
        weight_decay: each update first multiplies the parameters by `1 - learning_rate * weight_decay`; `None` for
            no decay.
        clipnorm: the greatest L2 norm of the gradient of one parameter.
        clipvalue: the greatest absolute value of each number of a gradient.
        global_clipnorm: the greatest L2 norm of all gradients together. At most one of these three can be given.
        use_ema: whether to keep an exponential moving average of the parameters.
        ema_momentum: how much of the average stays at each step.
        ema_overwrite_frequency: after how many updates the parameters become their average; `None` for only in
            `finalize_variable_values`, at the end of training.
        loss_scale_factor: a constant by which `scale_loss` multiplies the loss and `apply` divides the gradients.
        gradient_accumulation_steps: how many steps' gradients are averaged into one update; `None` for one.
        name: a name; by default the class's, numbered.

    Raises:
        ArgumentError: an argument is out of its range, or two ways of clipping are asked for.

    Example:
        >>> import torch
        >>> class SignDescent(Optimizer):
        ...     def update(self, group, grads, learning_rate, step):
        ...         torch._foreach_sub_(group.parameters, [learning_rate * g.sign() for g in grads])
        >>> weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
        >>> optimizer = SignDescent(learning_rate=0.5)
        >>> optimizer.build([weight])
        >>> (weight[0] - weight[1]).backward()
        >>> optimizer.step()
        >>> weight.tolist()
        [0.5, 2.5]
    """

    def __init__(
        self,
        learning_rate: LearningRate,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name if name is not None else auto_name_of(type(self)))
        self._learning_rate: LearningRate = as_rate(learning_rate)
        self.weight_decay = weight_decay
        self.clipnorm = clipnorm
        self.clipvalue = clipvalue
        self.global_clipnorm = global_clipnorm
        self.use_ema = use_ema
        self.ema_momentum = ema_momentum
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.loss_scale_factor = loss_scale_factor
        self.gradient_accumulation_steps = gradient_accumulation_steps
        check_arguments(self)
        self._steps = 0  # calls of advance, also those that only accumulate
        self._state: State | None = None
        self._excluded: tuple[list[Tensor], list[str]] = ([], [])
        self._waiting: Mapping[str, Any] | None = None  # what load_state_dict got before build

    def slots(self) -> list[tuple[str, ...]]:
        """The names of the state that each parameter has; those of one tuple lie side by side in `variables`."""
        return []

    def make_slot(self, name: str, parameter: Tensor) -> Tensor:
        """The state `name` of one parameter at the start: zeros, in the parameter's memory layout."""
        return torch.zeros_like(parameter, requires_grad=False)

    def update(self, group: Group, grads: list[Tensor], learning_rate: float, step: Factor, skip: Any = None) -> None:
        """Move the parameters of a group, in place.

        Args:
            group: parameters of one device and dtype, and their `slots`.
            grads: a gradient for each.
            learning_rate: the rate of this step.
            step: the number of this update, 1 at the first; under a dynamic loss scale a tensor of no dimensions.
            skip: given only where `can_skip` says so: a tensor that is 1 where nothing may change, else 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define update(self, group, grads, learning_rate, step)")

    def can_skip(self, group: Group) -> bool:
        """Whether `update` takes `skip`; otherwise the state before the update is kept to fall back on."""
        return False

    def decay(self, group: Group, learning_rate: float, skip: Tensor | None = None) -> None:
        """Apply weight decay to a group of parameters, unless the tensor `skip` is 1."""
        amount: Factor = learning_rate * float(self.weight_decay or 0.0)
        if skip is not None:
            amount = amount * (1 - skip)
        arithmetic.multiply_(group.parameters, 1 - amount)

    def build(self, variables: Iterable[Tensor], names: Mapping[Any, Any] | None = None) -> None:
        """Make the state for a set of parameters; a second call changes nothing.

        Args:
            variables: the parameters; those with `requires_grad=False` are ignored for good.
            names: their names, such as `dict(model.named_parameters())`; messages and
                `exclude_from_weight_decay(var_names=...)` use them.

        Raises:
            DtypeError: one of `variables` is not a tensor.
            ArgumentError: parameters are excluded from weight decay by name, and `names` is missing.
        """
        if self._state is not None:
            return
        known = ParameterSet(variables, names)
        shared = [("average",)] if self.use_ema else []
        if self.gradient_accumulation_steps:
            shared.append(("gradient_accumulator",))
        state = State(known, shared + self.slots(), self.make_slot, self.weight_decay is not None)
        state.exclude(*self._excluded)
        self._parameters, self._state = known, state
        if self._waiting is not None:
            self.load_state_dict(self._waiting)

    @property
    def state(self) -> State:
        """The tensors kept for the parameters."""
        self.known()
        return self._state  # type: ignore[return-value]

    def exclude_from_weight_decay(
        self, var_list: Iterable[Tensor] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave some parameters out of weight decay.

        Args:
            var_list: the parameters.
            var_names: regular expressions; a parameter in whose name one of them is found is left out.

        Raises:
            ArgumentError: the optimizer was built without names.
        """
        self._excluded = (list(var_list or ()), list(var_names or ()))
        if self._state is not None:
            self._state.exclude(*self._excluded)

    @torch.no_grad()
    def advance(self, grads: Gradients, skip: Tensor | None = None, applied: Tensor | None = None) -> None:
        """One step from gradients that are in the order of the parameters; see `Stepping.advance`."""
        if not grads:
            return
        present = self.state.meet(grads)
        if self.loss_scale_factor is not None:
            present = [(group, list(lists._foreach_div(gs, self.loss_scale_factor))) for group, gs in present]
        step: Factor = self.iterations + 1 if applied is None else applied + 1
        if self.gradient_accumulation_steps:
            present = self._accumulated(present)
        if self.updates_next:
            rate, clipped = self.learning_rate, self._clipped([gs for _, gs in present])
            for (group, _), gs in zip(present, clipped, strict=True):
                if skip is None or self.can_skip(group):
                    self._move(group, gs, rate, step, skip)
                    continue
                own = [tensor for block in self.slots() for name in block for tensor in group.slots[name]]
                with kept_where(skip, [*group.parameters, *own]):
                    self._move(group, gs, rate, step, None)
            if self.gradient_accumulation_steps:
                lists._foreach_zero_(self.state.slots["gradient_accumulator"])
        if self.use_ema:
            move_averages(self.state.groups, self.ema_momentum, step, skip)
            if self.ema_overwrite_frequency and (self.iterations + 1) % self.ema_overwrite_frequency == 0:
                adopt_averages(self.state.groups, skip)
        self._steps += 1

    @property
    def updates_next(self) -> bool:
        """Whether the next step moves the parameters, instead of only accumulating gradients."""
        return (self._steps + 1) % (self.gradient_accumulation_steps or 1) == 0

    def _accumulated(self, present: Present) -> Present:
        """Add gradients to the sums kept; the sums become averages when this completes them."""
        sums = [(group, group.slots["gradient_accumulator"]) for group, _ in present]
        for (_, total), (_, grads) in zip(sums, present, strict=True):
            lists._foreach_add_(total, grads)
            if self.updates_next:
                lists._foreach_div_(total, float(self.gradient_accumulation_steps or 1))
        return sums

    def _clipped(self, gradients: list[list[Tensor]]) -> list[list[Tensor]]:
        if self.clipnorm and self.clipnorm > 0:
            return [clipping.clip_by_norm(grads, self.clipnorm) for grads in gradients]
        if self.clipvalue and self.clipvalue > 0:
            return [clipping.clip_by_value(grads, self.clipvalue) for grads in gradients]
        if self.global_clipnorm and self.global_clipnorm > 0:
            return clipping.clip_by_global_norm(gradients, self.global_clipnorm)
        return gradients

    def _move(self, group: Group, grads: list[Tensor], rate: float, step: Factor, skip: Tensor | None) -> None:
        """Decay and update one group."""
        step = step.to(group.device, non_blocking=True) if isinstance(step, Tensor) else step
        inside = () if skip is None else (skip.to(group.device, non_blocking=True),)
        if group.decays:
            self.decay(group, rate, *inside)
        self.update(group, grads, rate, step, *inside)

    @torch.no_grad()
    def finalize_variable_values(self, var_list: Iterable[Tensor]) -> None:
        """End training: with `use_ema`, the parameters become their moving averages.

        Args:
            var_list: the parameters that the optimizer was built on.

        Raises:
            WeightsError: they are others.
        """
        if self.use_ema:
            self.known().check_same(var_list)
            adopt_averages(self.state.groups)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss to call `backward` on.

        Args:
            loss: the loss.

        Returns:
            The loss times `loss_scale_factor`, if there is one.
        """
        return loss if self.loss_scale_factor is None else loss * self.loss_scale_factor

    @property
    def iterations(self) -> int:
        """How many updates have been made."""
        return self._steps // (self.gradient_accumulation_steps or 1)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step. A number or a schedule can be assigned."""
        rate = self._learning_rate
        if isinstance(rate, LearningRateSchedule):
            return float(rate(self._steps))
        return float(rate()) if callable(rate) else rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        rate = as_rate(value)
        if not callable(rate) and isinstance(self._learning_rate, LearningRateSchedule):
            raise ArgumentError(
                f"The learning rate of {self.name} follows a schedule, so it cannot be set to a number.",
                expected="another schedule",
                received=f"{rate!r}",
                fix="make the optimizer with a number, or assign a LearningRateSchedule",
            )
        self._learning_rate = rate

    @property
    def variables(self) -> list[Tensor]:
        """The state tensors in Keras's order; `iterations` and `learning_rate` are kept apart, as numbers."""
        return self._state.in_order() if self._state is not None else []

    def state_dict(self) -> dict[str, Any]:
        """All that training needs to go on as if it had not stopped, as numbers and tensors.

        Returns:
            A dict with the number of steps, the learning rate (`None` if a schedule gives it) and the state tensors,
            which are the optimizer's own: copy them if training goes on meanwhile.
        """
        rate = None if callable(self._learning_rate) else self._learning_rate
        slots = self._state.slots if self._state is not None else {}
        return {"steps": self._steps, "learning_rate": rate, "slots": {k: list(v) for k, v in slots.items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; before `build`, it waits for it.

        Args:
            state_dict: from an optimizer of the same class and arguments, over parameters of the same shapes.

        Raises:
            WeightsError: the state is of another optimizer or of other parameters.
        """
        check_keys(state_dict, ("steps", "learning_rate", "slots"), self.name)
        if self._state is None:  # its owner may train on meanwhile, and another rate be set here
            self._waiting = copy.deepcopy({**state_dict, "learning_rate": None})
        else:
            if state_dict["slots"] or state_dict["steps"]:  # otherwise it was saved before the first step
                self._state.load(state_dict["slots"], self.name)
            self._steps, self._waiting = int(state_dict["steps"]), None
        if state_dict["learning_rate"] is not None and not callable(self._learning_rate):
            self._learning_rate = float(state_dict["learning_rate"])

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__` as plain data; the learning rate is the present one."""
        config = super().get_config()
        rate = self._learning_rate
        config["learning_rate"] = serialize(rate) if isinstance(rate, LearningRateSchedule) else rate
        return config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, learning_rate={self._learning_rate!r}>"
