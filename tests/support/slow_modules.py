"""A clock that only slow modules move, so that a test can say how long each of them takes."""

from __future__ import annotations

from typing import Any

import torch

from lamina.engine.layer import Layer
from lamina.inspection.profiling.clocks import HostClock


class FakeClock(HostClock):
    """Time that passes when a module says so; how often a moment was asked for is counted."""

    def __init__(self) -> None:
        self.now, self.stamps = 0.0, 0

    def stamp(self) -> Any:
        self.stamps += 1
        return self.now


class _Taking(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, clock, back):
        ctx.clock, ctx.back = clock, back
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.clock.now += ctx.back
        return gradient.clone(), None, None


def taking(x: torch.Tensor, clock: FakeClock, forward: float, back: float) -> torch.Tensor:
    """`x`, after so many seconds forward; its gradient takes `back`."""
    clock.now += forward
    return _Taking.apply(x, clock, back)


class Slow(torch.nn.Module):
    """A torch module that takes its time."""

    def __init__(self, clock: FakeClock, forward: float, back: float = 0.0, weights: int = 1) -> None:
        super().__init__()
        self.clock, self.seconds = clock, (forward, back)
        self.weight = torch.nn.Parameter(torch.ones(weights))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return taking(x * self.weight, self.clock, *self.seconds)


class SlowLayer(Layer):
    """A layer of lamina that takes its time."""

    def __init__(self, clock: FakeClock, forward: float, back: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.clock, self.seconds = clock, (forward, back)

    def build(self, input_shape: Any) -> None:
        self.weight = self.add_weight(shape=(1,), initializer="ones", name="weight")

    def call(self, x: torch.Tensor) -> torch.Tensor:
        return taking(x * self.weight, self.clock, *self.seconds)
