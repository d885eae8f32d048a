"""Functions of tensors as operators of torch, so that symbolic tensors, `torch.compile` and profilers see them.

`torch.library.custom_op` would do the same in three times the time (23 us a call against 7), which a small network
feels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_library: Any = torch.library.Library("lamina", "FRAGMENT")
_torch: Any = torch._C  # pyright: ignore[reportPrivateUsage]
_below: Any = _torch._AutoDispatchBelowAutograd
_listeners: Callable[[], int] = _torch._len_torch_dispatch_stack  # modes that want to see every operator


def operator(
    schema: str,
    compute: Callable[..., Any],
    fake: Callable[..., Any],
    save: Callable[..., None] | None = None,
    gradients: Callable[..., Any] | None = None,
) -> Any:
    """Define `torch.ops.lamina.NAME` for CPU tensors.

    Args:
        schema: `name(Tensor x, ...) -> ...` in torch's language.
        compute: from the arguments to the results.
        fake: the same for tensors without data, which only have shapes.
        save: what the gradients need, kept in `ctx`: `save(ctx, arguments, results)`.
        gradients: from `ctx` and the gradients of the results to those of the arguments, `None` where there is none.

    Returns:
        The operator, to be called.
    """
    name = schema.split("(")[0]
    _library.define(schema)
    _library.impl(name, compute, "CPU")
    torch.library.register_fake(f"lamina::{name}", fake, lib=_library)  # pyright: ignore[reportUnknownMemberType]
    packet: Any = getattr(torch.ops.lamina, name).default
    if save is None or gradients is None:
        return packet
    keep: Callable[..., None] = save

    def run(*arguments: Any) -> Any:
        # Past the dispatcher where nobody could be listening.
        if type(arguments[0]) is torch.Tensor and arguments[0].is_cpu and not _listeners():
            return compute(*arguments)
        with _below():
            return packet(*arguments)

    def forward(ctx: Any, *arguments: Any) -> Any:
        results = run(*arguments)
        keep(ctx, arguments, results)
        return results

    def backward(ctx: Any, *grads: Any) -> Any:
        if not torch.is_grad_enabled():
            return gradients(ctx, *grads)
        with torch.no_grad():
            return _once(name, gradients(ctx, *grads))

    # Made by `type`: the name that a class has at first is the one in `grad_fn` and in profiles.
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    function: Any = type(name, (torch.autograd.Function,), members)
    apply: Any = function.apply

    def differentiable(*arguments: Any) -> Any:
        if torch.is_grad_enabled() and any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments):
            return apply(*arguments)
        return run(*arguments)

    _library.impl(name, differentiable, "Autograd")
    return packet


def _once(name: str, found: Any) -> Any:
    """The gradients `found`, with an error where they are differentiated: they would pass for constants otherwise."""
    message = (
        f"The gradient of lamina::{name} has no gradient of its own. "
        "Compute inside lamina.kernels.native.switched_off() to differentiate twice."
    )
    fail: Any = _torch._functions.DelayedError(message.encode(), len(found))
    return fail(*(gradient if gradient is None else gradient.detach().requires_grad_() for gradient in found))
