"""A training step whose forward pass is compiled and replayed, and the way back from one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.masking import get_mask, set_mask

_LISTS: Any = torch  # torch's functions on lists of tensors, which its typed interface leaves out


class Undo:
    """What a forward and a backward pass change besides gradients, so that a failed one leaves no trace.

    Args:
        model: whose buffers, and whose means of losses, are kept.

    Example:
        >>> from lamina.layers import BatchNormalization, Input
        >>> from lamina.models import Sequential
        >>> model = Sequential([Input((1,)), BatchNormalization()])
        >>> model.compile("sgd", "mse")
        >>> undo = Undo(model)
        >>> undo.take()
        >>> y = model(torch.full((4, 1), 8.0), training=True)
        >>> undo.back()
        >>> model.layers[-1].moving_mean.item()
        0.0
    """

    def __init__(self, model: Any) -> None:
        trackers = [
            model._loss_tracker,
            *(head.tracker for head in model._plan.heads or () if head.tracker is not None),
        ]
        held = [tensor for tracker in trackers for tensor in tracker.variables]
        self._tensors = [*model.buffers(), *held]
        self._copies = [tensor.clone() for tensor in self._tensors]

    @torch.no_grad()
    def take(self) -> None:
        """Remember the values of this moment."""
        if self._copies:
            _LISTS._foreach_copy_(self._copies, self._tensors)

    @torch.no_grad()
    def back(self) -> None:
        """Put back what `take` remembered."""
        if self._copies:
            _LISTS._foreach_copy_(self._tensors, self._copies)


def compiled_for_replay(model: torch.nn.Module) -> Callable[[Any], Any]:
    """The forward pass of `model`, to be recorded in CUDA graphs together with its backward pass.

    A recorded pass writes its results to the same memory each time. They are copied, so that whoever keeps an output
    keeps its values.

    Args:
        model: of fixed shapes; the first calls compile and record.

    Returns:
        A function of the model's inputs.
    """
    run: Callable[[Any], Any] = torch.compile(model, mode="reduce-overhead", dynamic=False)

    def replay(x: Any) -> Any:
        torch.compiler.cudagraph_mark_step_begin()
        return nest.map_nest(_own_copy, run(x))

    return replay


def _own_copy(leaf: Any) -> Any:
    """An output and its mask in memory of their own."""
    if not isinstance(leaf, torch.Tensor):
        return leaf
    mask = get_mask(leaf)
    return set_mask(leaf.clone(), mask.clone() if isinstance(mask, torch.Tensor) else mask)


@contextmanager
def update_noticed(optimizer: Any) -> Iterator[list[bool]]:
    """Gives a list that is not empty any more once the optimizer has begun to move the weights.

    Args:
        optimizer: whose `step` is looked at.

    Example:
        >>> from lamina.optimizers import SGD
        >>> weight = torch.nn.Parameter(torch.ones(1))
        >>> optimizer = SGD(0.5)
        >>> optimizer.build([weight])
        >>> weight.sum().backward()
        >>> with update_noticed(optimizer) as begun:
        ...     optimizer.step()
        >>> begun, weight.item()
        ([True], 0.5)
    """
    begun: list[bool] = []
    step, own = optimizer.step, vars(optimizer).get("step")

    def noticed(*args: Any, **kwargs: Any) -> Any:
        begun.append(True)
        return step(*args, **kwargs)

    vars(optimizer)["step"] = noticed
    try:
        yield begun
    finally:
        del vars(optimizer)["step"]
        if own is not None:
            vars(optimizer)["step"] = own
