"""The key under which a model registers a layer, and so what its weights are called in a `state_dict`."""

from __future__ import annotations

import re
from typing import Any, cast

import torch

from lamina.engine.torch_module import TorchModule
from lamina.registry import snake_case


def new_key(owner: torch.nn.Module, layer: torch.nn.Module) -> str:
    """A key for one more layer of a model.

    A name that the user chose is the key. An automatic one, `dense_7`, counts the layers of the whole process, so
    that the second model of an architecture would have other keys than the first; here the count starts anew in each
    model, and weights can be loaded from one into the other.

    Args:
        owner: the model. An attribute of its own, such as `output`, would hide a layer of that name from torch.
        layer: the layer.

    Returns:
        A key without dots, which torch does not allow.
    """
    base = snake_case(type(layer.module if isinstance(layer, TorchModule) else layer).__name__)
    name = str(getattr(layer, "name", base))
    key = base if re.fullmatch(rf"{base}(_\d+)?", name) else name.replace(".", "_")
    if hasattr(type(owner), key) or key in owner.__dict__:
        key = f"{key}_"
    return _numbered(owner, key)


def _numbered(owner: torch.nn.Module, key: str) -> str:
    """`key`, or the first of `key_1`, `key_2`, ... that is free."""
    counts: dict[str, int] = owner.__dict__.setdefault("_key_counts", {})
    free, count = key, counts.get(key, 0)
    while free in cast("Any", owner)._modules:
        count += 1
        free = f"{key}_{count}"
    counts[key] = count
    return free
