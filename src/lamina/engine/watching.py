"""Whether a torch module that is called on a symbolic tensor becomes a layer of the graph."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch

plain_call: Callable[..., Any] = torch.nn.Module.__call__
"""The `__call__` that torch gave its modules."""

recording_call: Callable[..., Any] = plain_call
"""The `__call__` of modules while a functional model is being defined; `torch_module` sets it."""


_paused = False


def start() -> None:
    """Watch from now on; `Input` starts this."""
    # Each change of the attribute costs every class of modules its cache.
    if torch.nn.Module.__call__ is not recording_call:
        torch.nn.Module.__call__ = recording_call


def go_on() -> None:
    """Watch from now on, since a call on a symbolic tensor shows that a definition is under way."""
    if not _paused:
        start()


@contextmanager
def paused() -> Generator[None, None, None]:
    """Calls on symbolic tensors in here are those of a `Sequential` that grows; nobody defines a graph."""
    global _paused
    before, _paused = _paused, True
    try:
        yield
    finally:
        _paused = before


def stop() -> None:
    """Give torch's modules their own `__call__` back, as `Model` and `Sequential` do when they are complete."""
    if torch.nn.Module.__call__ is not plain_call:
        torch.nn.Module.__call__ = plain_call
