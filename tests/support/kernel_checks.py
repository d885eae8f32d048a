"""What tests of several kernels ask of them in the same words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Operators(TorchDispatchMode):
    """The names of operators as they are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def gradients(y: Tensor, leaves: dict[str, Any]) -> dict[str, Tensor]:
    """Of a sum weighted differently at each place, for each leaf that wants one."""
    weights = torch.linspace(-1, 20, y.numel(), dtype=torch.float64).sin().to(y.dtype).view(y.shape)
    wanted = {name: leaf for name, leaf in leaves.items() if leaf is not None and leaf.requires_grad}
    return dict(zip(wanted, torch.autograd.grad((y * weights).sum(), list(wanted.values())), strict=True))
