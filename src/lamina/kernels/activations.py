"""The activations that lamina's own kernels compute by the way, and what torch has for them elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}
NUMBERS = {name: number for number, name in enumerate(ACTIVATIONS)}
"""What `native/source/activation.h` calls them."""
