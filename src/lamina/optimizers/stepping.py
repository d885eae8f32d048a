"""The ways to ask for a step: with gradients, with pairs, or with what `backward` left behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.configurable import Configurable
from lamina.errors import NotBuiltError
from lamina.optimizers.arithmetic import lists
from lamina.optimizers.groups import ParameterSet

Gradients = Sequence[Tensor | None]


class Stepping(Configurable):
    """What optimizers of every kind do alike: they match gradients with parameters and call `advance`.

    Args:
        name: a name for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._parameters: ParameterSet | None = None

    @property
    def built(self) -> bool:
        """Whether the optimizer knows the parameters that it moves."""
        return self._parameters is not None

    def build(self, variables: Iterable[Tensor], names: Mapping[Any, Any] | None = None) -> None:
        """Learn which parameters to move; a second call changes nothing.

        Args:
            variables: the parameters; those with `requires_grad=False` are ignored for good.
            names: their names, such as `dict(model.named_parameters())`; messages and
                `exclude_from_weight_decay(var_names=...)` use them.

        Raises:
            DtypeError: one of `variables` is not a tensor.
        """
        if self._parameters is None:
            self._parameters = ParameterSet(variables, names)

    def advance(self, grads: Gradients, skip: Tensor | None = None, applied: Tensor | None = None) -> None:
        """One step from gradients that are in the order of the parameters.

        Args:
            grads: a gradient or `None` for each parameter.
            skip: a tensor that is 1 if this step must change nothing, else 0.
            applied: how many updates were not skipped before this one, as a tensor; `None` for all of them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define advance(self, grads, skip, applied)")

    @property
    def iterations(self) -> int:
        """How many updates have been made."""
        raise NotImplementedError(f"{type(self).__name__} must define iterations")

    def known(self) -> ParameterSet:
        """The parameters that the optimizer moves.

        Raises:
            NotBuiltError: it has not been told yet.
        """
        if self._parameters is None:
            raise NotBuiltError(
                f"{self.name} does not know its parameters yet.",
                expected="a call of build, or parameters beside the gradients",
                received="neither",
                fix="optimizer.build(model.parameters())",
            )
        return self._parameters

    def apply(self, grads: Iterable[Tensor | None], trainable_variables: Iterable[Tensor] | None = None) -> None:
        """Make one step with these gradients.

        Args:
            grads: one for each parameter; a parameter whose gradient is `None` stays as it is.
            trainable_variables: the parameters they belong to; may be left out once the optimizer is built.

        Raises:
            NotBuiltError: the optimizer is not built and the parameters are not given.
            ArgumentError: all gradients are `None`, their number is wrong, or a parameter is unknown.
            ShapeError: a gradient has another shape than its parameter.
        """
        grads = list(grads)
        if not grads:
            return
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            self.build(trainable_variables)
        self.advance(self.known().align(grads, trainable_variables))

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Tensor | None, Tensor]]) -> int:
        """Make one step with pairs of a gradient and its parameter.

        Args:
            grads_and_vars: the pairs.

        Returns:
            How many updates have been made.
        """
        pairs = list(grads_and_vars)
        self.apply([grad for grad, _ in pairs], [variable for _, variable in pairs])
        return self.iterations

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step with the gradients that `backward` left in the parameters.

        Args:
            closure: a function that computes the loss and calls `backward`, run first.

        Returns:
            What `closure` returned.

        Raises:
            NotBuiltError: the optimizer is not built.
            ArgumentError: no parameter has a gradient.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.advance(self.known().gradients())
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the parameters.

        Args:
            set_to_none: whether to drop the tensors, instead of filling them with zeros.
        """
        parameters = self.known().parameters
        if set_to_none:
            for parameter in parameters:
                parameter.grad = None
        else:
            grads = [p.grad for p in parameters if p.grad is not None]
            if grads:
                lists._foreach_zero_(grads)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss to call `backward` on.

        Args:
            loss: the loss.

        Returns:
            The loss, scaled if the optimizer asks for it.
        """
        return loss

    def on_epoch_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Called by `fit` after each epoch; only an adapted torch scheduler does something here.

        Args:
            logs: the epoch's losses and metrics.
        """
