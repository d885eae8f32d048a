"""A loss scale that finds its own size, for training in float16."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError
from lamina.optimizers import clipping, lookup
from lamina.optimizers.arithmetic import lists
from lamina.optimizers.base import Optimizer
from lamina.optimizers.state import check_keys
from lamina.optimizers.stepping import Gradients
from lamina.registry import OPTIMIZERS


@OPTIMIZERS.register()
class LossScaleOptimizer(Optimizer):
    """Wraps an optimizer; scales the loss so that small gradients survive float16.

    Multiply the loss by the scale (`scale_loss`), call `backward`, then `step` or `apply`: the gradients are divided
    by the scale again. If one of them is not finite, the update is skipped and the scale halved; after
    `dynamic_growth_steps` finite ones in a row it is doubled. Gradients, parameters and the decision to skip stay on
    the device; the host does not wait. So a schedule and `ema_overwrite_frequency` also count skipped steps, and with
    gradient accumulation one step that is not finite discards the update of its whole round.

    Args:
        inner_optimizer: the optimizer that makes the updates, or what `lamina.optimizers.get` takes. A constant
            `loss_scale_factor` of its own is switched off.
        initial_scale: the scale at the start; too large a one is soon halved.
        dynamic_growth_steps: after how many finite steps the scale is doubled.
        name: a name; by default the class's, numbered.

    Raises:
        ArgumentError: the inner optimizer is a `LossScaleOptimizer` itself, or a number is not positive.

    Example:
        >>> import torch
        >>> from lamina.optimizers import SGD
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> optimizer = LossScaleOptimizer(SGD(0.5), initial_scale=4.0)
        >>> optimizer.build([weight])
        >>> optimizer.scale_loss(weight.sum()).backward()
        >>> weight.grad.item()
        4.0
        >>> optimizer.step()
        >>> weight.item(), optimizer.skipped_steps.item()
        (0.5, 0)

    Reference:
        Micikevicius et al., 2017, "Mixed Precision Training", https://arxiv.org/abs/1710.03740
    """

    def __init__(
        self,
        inner_optimizer: Any,
        initial_scale: float = 32768.0,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
    ) -> None:
        inner = lookup.get(inner_optimizer)
        if isinstance(inner, LossScaleOptimizer) or inner is None:
            raise ArgumentError(
                "The inner optimizer cannot be scaled.",
                expected="an optimizer without a dynamic loss scale of its own",
                received=repr(inner_optimizer),
                fix="LossScaleOptimizer(Adam())",
            )
        for argument, value in (("initial_scale", initial_scale), ("dynamic_growth_steps", dynamic_growth_steps)):
            if not value > 0:
                raise ArgumentError(
                    f"`{argument}` of LossScaleOptimizer must be positive.",
                    expected=f"{argument} > 0",
                    received=f"{argument}={value!r}",
                    fix="leave it out to have Keras's default",
                )
        self.inner_optimizer: Optimizer = inner
        super().__init__(0.0, name=name)
        inner.loss_scale_factor = None
        self.use_ema = inner.use_ema  # so that `fit` finalizes the parameters
        self.initial_scale = initial_scale
        self.dynamic_growth_steps = dynamic_growth_steps
        self._place(torch.device("cpu"))

    def _place(self, device: torch.device) -> None:
        """Put the scale and the counts on a device, at their start."""
        self.dynamic_scale = torch.full((), float(self.initial_scale), device=device)
        self.step_counter = torch.zeros((), dtype=torch.int32, device=device)
        self.skipped_steps = torch.zeros((), dtype=torch.int64, device=device)
        self._overflowed = torch.zeros((), device=device)  # whether this round of accumulation met a bad gradient

    def build(self, variables: Iterable[Tensor], names: Mapping[Any, Any] | None = None) -> None:
        """Build the inner optimizer.

        Args:
            variables: the parameters.
            names: their names, such as `dict(model.named_parameters())`.
        """
        if self.built:
            return
        self.inner_optimizer.build(variables, names)
        self._parameters = self.inner_optimizer.known()
        if len(self._parameters):
            self._place(self._parameters.parameters[0].device)
        if self._waiting is not None:
            self.load_state_dict(self._waiting)

    @torch.no_grad()
    def advance(self, grads: Gradients, skip: Tensor | None = None, applied: Tensor | None = None) -> None:
        """One step from scaled gradients that are in the order of the parameters; see `Stepping.advance`."""
        inner, device = self.inner_optimizer, self.dynamic_scale.device
        present = [i for i, grad in enumerate(grads) if grad is not None]
        unscaled: list[Tensor | None] = [None] * len(grads)
        groups = []
        inverse = self.dynamic_scale.reciprocal()
        for positions in _alike(grads, present):
            own: Any = [grads[i] for i in positions]
            divided = lists._foreach_mul(own, inverse.to(device=own[0].device, dtype=own[0].dtype))
            groups.append(divided)
            for i, grad in zip(positions, divided, strict=True):
                unscaled[i] = grad
        if not present:
            inner.advance(grads)  # says that there are no gradients
            return
        bad = (~torch.isfinite(clipping.global_norm(groups, float("inf")))).float().to(device)
        torch.maximum(self._overflowed, bad, out=self._overflowed)
        # In double precision, for 1 - beta_2**t loses digits; where a device has none, single must do.
        exact = torch.float32 if device.type == "mps" else torch.float64
        count = (inner.iterations - self.skipped_steps).to(exact)
        skip = self._overflowed.clone()
        completes = inner.updates_next
        inner.advance(unscaled, skip, count)
        if completes:
            self.skipped_steps += skip.long()
            self._overflowed.zero_()
        lists._amp_update_scale_(self.dynamic_scale, self.step_counter, bad, 2.0, 0.5, self.dynamic_growth_steps)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss times the present scale.

        Args:
            loss: the loss.

        Returns:
            What to call `backward` on.
        """
        return loss * self.dynamic_scale.to(loss.device)

    @property
    def iterations(self) -> int:
        """How many updates have been made, skipped ones left out. Reading it waits for the device."""
        return self.inner_optimizer.iterations - int(self.skipped_steps)

    @property
    def updates_next(self) -> bool:
        """Whether the next step moves the parameters, instead of only accumulating gradients."""
        return self.inner_optimizer.updates_next

    @property
    def learning_rate(self) -> float:
        """The inner optimizer's learning rate. A number or a schedule can be assigned."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    def variables(self) -> list[Tensor]:
        """The count of finite steps, the scale, the count of skipped steps, and the inner optimizer's state."""
        return [self.step_counter, self.dynamic_scale, self.skipped_steps, *self.inner_optimizer.variables]

    def exclude_from_weight_decay(
        self, var_list: Iterable[Tensor] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave some parameters out of the inner optimizer's weight decay.

        Args:
            var_list: the parameters.
            var_names: regular expressions; a parameter in whose name one of them is found is left out.
        """
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def finalize_variable_values(self, var_list: Iterable[Tensor]) -> None:
        """End training as the inner optimizer does.

        Args:
            var_list: the parameters.
        """
        self.inner_optimizer.finalize_variable_values(var_list)

    def on_epoch_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End an epoch as the inner optimizer does.

        Args:
            logs: the epoch's losses and metrics.
        """
        self.inner_optimizer.on_epoch_end(logs)

    def state_dict(self) -> dict[str, Any]:
        """The scale, its counts and the inner optimizer's state.

        Returns:
            A dict for `load_state_dict`; its tensors are the optimizer's own.
        """
        own = {key: getattr(self, key) for key in _OWN}
        return {**own, "inner": self.inner_optimizer.state_dict()}

    @torch.no_grad()
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; before `build`, it waits for it.

        Args:
            state_dict: from a `LossScaleOptimizer` around an optimizer of the same class and arguments.

        Raises:
            WeightsError: the state is of another optimizer or of other parameters.
        """
        check_keys(state_dict, (*_OWN, "inner"), self.name)
        if not self.built:
            self._waiting = copy.deepcopy(dict(state_dict))
            return
        self.inner_optimizer.load_state_dict(state_dict["inner"])
        for key in _OWN:
            getattr(self, key).copy_(state_dict[key])
        self._waiting = None

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__` as plain data."""
        return {
            "name": self.name,
            "inner_optimizer": OPTIMIZERS.serialize(self.inner_optimizer),
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
        }

    def __repr__(self) -> str:
        return f"<LossScaleOptimizer {self.name!r} around {self.inner_optimizer!r}>"


_OWN = ("dynamic_scale", "step_counter", "skipped_steps", "_overflowed")


def _alike(tensors: Sequence[Tensor | None], positions: Iterable[int]) -> list[list[int]]:
    """Positions of tensors, those of one device and dtype together."""
    found: dict[Any, list[int]] = {}
    for i in positions:
        found.setdefault((tensors[i].device, tensors[i].dtype), []).append(i)  # type: ignore[union-attr]
    return list(found.values())
