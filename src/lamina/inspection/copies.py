"""Copies of models whose weights do not exist yet, to be built in their place."""

from __future__ import annotations

import copy
from typing import Any

import torch

from lamina.engine.layer import Layer
from lamina.errors import NotBuiltError


def has_no_weights_yet(model: torch.nn.Module) -> bool:
    """Whether a call would make weights. A layer that is unbuilt in a built model is one that nobody calls.

    Args:
        model: the model.
    """
    if isinstance(model, Layer):
        unbuilt = not model.built
    else:
        unbuilt = any(isinstance(module, Layer) and not module.built for module in model.modules())
    return unbuilt or is_lazy(model)


def is_lazy(model: torch.nn.Module) -> bool:
    """Whether a lazy module of torch inside waits for its sizes.

    Args:
        model: the model.
    """
    return any(torch.nn.parameter.is_lazy(tensor) for tensor in [*model.parameters(), *model.buffers()])


def copied(model: torch.nn.Module) -> Any:
    """A copy of a model, which may be built in its place.

    Args:
        model: the model.

    Raises:
        NotBuiltError: something in it cannot be copied.
    """
    lazy = [t for t in [*model.parameters(), *model.buffers()] if torch.nn.parameter.is_lazy(t)]
    fresh = {id(t): type(t)(requires_grad=t.requires_grad, device=t.device, dtype=t.dtype) for t in lazy}
    try:
        return copy.deepcopy(model, fresh)  # torch cannot copy a buffer that waits for its size
    except Exception as error:
        raise NotBuiltError(
            f"{type(model).__name__} has no weights yet and cannot be copied: {error}",
            fix="call it on a batch of data first",
        ) from error
