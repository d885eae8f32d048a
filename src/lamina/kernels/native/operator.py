"""Functions of tensors as operators of torch, so that symbolic tensors, `torch.compile` and profilers see them.

`torch.library.custom_op` would do the same in three times the time (23 us a call against 7), which a small network
feels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

_library: Any = torch.library.Library("lamina", "FRAGMENT")
_torch: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_below: Any = _torch._AutoDispatchBelowAutograd
_listeners: Callable[[], int] = _torch._len_torch_dispatch_stack  # modes that want to see every operator
_overriders: Callable[[], int] = _torch._len_torch_function_stack  # modes that want to see every function


def operator(
    schema: str,
    compute: Callable[..., Any],
    fake: Callable[..., Any],
    save: Callable[..., None] | None = None,
    gradients: Callable[..., Any] | None = None,
    again: Callable[..., Any] | None = None,
) -> Any:
    """Define `torch.ops.lamina.NAME` for CPU tensors.

    Args:
        schema: `name(Tensor x, ...) -> ...` in torch's language.
        compute: from the arguments to the results.
        fake: the same for tensors without data, which only have shapes.
        save: what the gradients need, kept in `ctx`: `save(ctx, arguments, results)`.
        gradients: from `ctx` and the gradients of the results to those of the arguments, `None` where there is none.
        again: the same in plain torch, for whoever wants to differentiate the gradients: `pulled_back` helps.

    Returns:
        What to call: the operator, which plain tensors reach past torch's dispatcher, in a third of the time, unless
        a mode is on that wants to see it.
    """
    name, parameters = schema.split("(")[:2]
    first = [parameter.strip().startswith("Tensor") for parameter in parameters.split(",")].index(True)
    _library.define(schema)
    _library.impl(name, compute, "CPU")
    torch.library.register_fake(f"lamina::{name}", fake, lib=_library)  # pyright: ignore[reportUnknownMemberType]
    packet: Any = getattr(torch.ops.lamina, name).default
    if save is None or gradients is None or again is None:
        return _entrance(first, compute, packet)
    keep, once_more = save, again

    def run(*arguments: Any) -> Any:
        # Past the dispatcher where nobody could be listening.
        if type(arguments[first]) is torch.Tensor and arguments[first].is_cpu and not _listeners():
            return compute(*arguments)
        with _below():
            return packet(*arguments)

    def forward(ctx: Any, *arguments: Any) -> Any:
        results = run(*arguments)
        keep(ctx, arguments, results)
        return results

    def backward(ctx: Any, *grads: Any) -> Any:
        return once_more(ctx, *grads) if torch.is_grad_enabled() else gradients(ctx, *grads)

    # Made by `type`: the name that a class has at first is the one in `grad_fn` and in profiles.
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(name, (torch.autograd.Function,), members)
    apply: Any = function.apply

    def differentiable(*arguments: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments):
            return apply(*arguments)
        return run(*arguments)

    _library.impl(name, differentiable, "Autograd")
    return _entrance(first, differentiable, packet)


def _entrance(first: int, direct: Callable[..., Any], packet: Any) -> Callable[..., Any]:
    """A function that calls `direct` where nobody listens, else the operator; `first` is the place of a tensor."""

    def enter(*arguments: Any) -> Any:
        if (
            type(arguments[first]) is torch.Tensor
            and arguments[first].is_cpu
            and not _listeners()
            and not _overriders()
        ):
            return direct(*arguments)
        return packet(*arguments)

    return enter


def pulled_back(outputs: Sequence[Any], inputs: Sequence[Any], grads: Sequence[Any]) -> list[Any]:
    """The gradients of `inputs` for those of `outputs`, through torch's own functions, so that they have gradients too.

    Args:
        outputs: what was computed from the inputs.
        inputs: tensors and other arguments.
        grads: the gradient of each output, or `None`.

    Returns:
        A gradient for each input, `None` where there is none.
    """
    pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None and o is not None and o.requires_grad]
    wanted = [t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad]
    if not pairs or not wanted:
        return [None] * len(inputs)
    ends, starts = zip(*pairs, strict=True)
    found = iter(torch.autograd.grad(ends, wanted, starts, create_graph=True, allow_unused=True))
    return [next(found) if isinstance(t, torch.Tensor) and t.requires_grad else None for t in inputs]
