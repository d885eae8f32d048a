"""Leaving a model as it was: whatever a run changes is put back."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from lamina.seeds import SeedGenerator

_CALLED = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_HOOKS = (*_CALLED, "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


@contextmanager
def unchanged(model: torch.nn.Module, hooks: bool = False) -> Iterator[None]:
    """Run a model in here, in any way, and find it afterwards as it was, also when the run ends in an error.

    Put back are of each module inside its mode, its attributes (the contents of lists, dicts and sets among them),
    hooks, buffers with their values, which parameters are trained, and gradients, which are `None` inside; and the
    random state of Python, NumPy, torch on every device in use, and of generators that modules own. The values of
    parameters are not kept: what runs in here must not train.

    Args:
        model: any torch module.
        hooks: whether the hooks that are there stay active inside.

    Example:
        >>> norm = torch.nn.BatchNorm1d(2)
        >>> with unchanged(norm):
        ...     _ = norm(torch.rand(8, 2))
        >>> int(norm.num_batches_tracked), norm.running_mean.tolist()
        (0, [0.0, 0.0])
    """
    modules = list(dict.fromkeys(model.modules()))
    kept = [_Kept(module) for module in modules]
    parameters = [(p, p.grad, p.requires_grad) for p in dict.fromkeys(model.parameters())]
    with same_random_numbers(model):
        try:
            for parameter, _, _ in parameters:
                parameter.grad = None
            if not hooks:
                silence(model)
            yield
        finally:
            for state in kept:
                state.put_back()
            for parameter, gradient, trained in parameters:
                if parameter.requires_grad is not trained:
                    parameter.requires_grad_(trained)
                parameter.grad = gradient


def silence(model: torch.nn.Module) -> None:
    """Take every hook away from a model, except those by which lazy modules make their weights.

    Args:
        model: the model.
    """
    for module in model.modules():
        for name in _HOOKS:
            hooks = module.__dict__.get(name, {})
            for key in [k for k, hook in hooks.items() if getattr(hook, "__name__", "") != "_infer_parameters"]:
                if name in _CALLED or key not in module._forward_pre_hooks:
                    del hooks[key]


class _Kept:
    """What one module is, to be put back.

    Args:
        module: the module.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._attributes = dict(module.__dict__)
        self._members = {name: _members(value) for name, value in self._attributes.items()}
        self._buffers = [
            (buffer, buffer.detach().clone())
            for buffer in module._buffers.values()
            if isinstance(buffer, torch.Tensor) and not torch.nn.parameter.is_lazy(buffer)
        ]

    @torch.no_grad()
    def put_back(self) -> None:
        """Make the module what it was."""
        own = self._module.__dict__
        if own.keys() != self._attributes.keys() or any(own[name] is not v for name, v in self._attributes.items()):
            own.clear()
            own.update(self._attributes)
        for name, members in self._members.items():
            if members is not None:
                _refill(self._attributes[name], members)
        for buffer, value in self._buffers:
            if not torch.equal(buffer, value):
                buffer.copy_(value)


def _members(value: Any) -> Any:
    """A copy of a plain list, dict, set or deque; `None` of anything else, which nobody changes in place."""
    if isinstance(value, torch.nn.Module):
        return None
    return value.copy() if isinstance(value, (list, dict, set, deque)) else None


def _refill(value: Any, members: Any) -> None:
    """Give a list, dict, set or deque its members back, if they are not what they were."""
    same = len(value) == len(members) and all(a is b for a, b in zip(_flat(value), _flat(members), strict=True))
    if not same:
        value.clear()
        (value.update if isinstance(value, (dict, set)) else value.extend)(members)


def _flat(value: Any) -> list[Any]:
    """The members of a list or set, the keys and values of a dict."""
    return [part for item in value.items() for part in item] if isinstance(value, dict) else list(value)


@contextmanager
def same_random_numbers(model: torch.nn.Module) -> Iterator[None]:
    """Give back afterwards every random number that is drawn in here.

    Args:
        model: whose own generators count too.
    """
    own = [value for module in model.modules() for value in vars(module).values()]
    generators = [(value, value.get_state()) for value in own if isinstance(value, torch.Generator)]
    seeded = [(value, value.__getstate__()) for value in own if isinstance(value, SeedGenerator)]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])
            for generator, state in generators:
                generator.set_state(state)
            for source, state in seeded:
                source.__setstate__(state)
