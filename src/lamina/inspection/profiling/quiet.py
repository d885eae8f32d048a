"""A model as it was before somebody looked at it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from lamina.seeds import SeedGenerator

_HOOKS = tuple(name for name in vars(torch.nn.Module()) if name.endswith("_hooks"))


@contextmanager
def unchanged(model: torch.nn.Module) -> Iterator[None]:
    """Put a model and the random state back as they were, whatever happens in here.

    Modes, gradients, `requires_grad`, hooks, buffers and every source of random numbers are put back.

    Args:
        model: the model.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> with unchanged(model):
        ...     model.eval()(torch.rand(1, 2)).sum().backward()
        >>> model.training, model.weight.grad is None
        (True, True)
    """
    with ExitStack() as after:
        after.callback(_random_state())
        for module in model.modules():
            after.callback(_module_state(module))
        for parameter in model.parameters():
            after.callback(_parameter_state(parameter))
        yield


def _random_state() -> Any:
    """What puts every source of random numbers back that belongs to the process."""
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None

    def restore() -> None:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

    return restore


def _module_state(module: torch.nn.Module) -> Any:
    """What puts a module back, without those inside."""
    training, buffers = module.training, dict(module._buffers.items())
    values = {name: buffer.detach().clone() for name, buffer in buffers.items() if buffer is not None}
    hooks = [(found, dict(found)) for found in (getattr(module, name) for name in _HOOKS) if isinstance(found, dict)]
    sources = [value for value in vars(module).values() if isinstance(value, (SeedGenerator, torch.Generator))]
    states: list[Any] = [source.__getstate__() if isinstance(source, SeedGenerator) else source.get_state()
                         for source in sources]  # fmt: skip
    added = list(vars(module).get("_added_losses") or ())

    def restore() -> None:
        module.training = training
        if not isinstance(module, torch.jit.ScriptModule):  # whose buffers cannot be exchanged
            module._buffers.clear()
            module._buffers.update(buffers)
        with torch.no_grad():
            for name, value in values.items():
                if not torch.equal(buffers[name], value):  # type: ignore[arg-type]
                    buffers[name].copy_(value)  # type: ignore[union-attr]
        for found, before in hooks:
            found.clear()
            found.update(before)
        for source, state in zip(sources, states, strict=True):
            source.__setstate__(state) if isinstance(source, SeedGenerator) else source.set_state(state)
        if "_added_losses" in vars(module):
            vars(module)["_added_losses"][:] = added

    return restore


def _parameter_state(parameter: torch.nn.Parameter) -> Any:
    """What puts a parameter's gradient back. Nobody adds to the one that it has: it is set aside."""
    wanted, gradient = parameter.requires_grad, parameter.grad
    parameter.grad = None

    def restore() -> None:
        parameter.requires_grad_(wanted)
        parameter.grad = gradient

    return restore
