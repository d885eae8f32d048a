"""What a case of `kernels.py` is: the same result computed by lamina and by torch, and the least work that it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Way(NamedTuple):
    """One way to compute a case."""

    run: Callable[[], Any]
    leaves: tuple[Tensor, ...] = ()
    """What gradients are wanted of; none for what has no way back."""


class Work(NamedTuple):
    """The least that has to be done: floating-point operations, and bytes read or written."""

    flops: float
    bytes: float


class Case(NamedTuple):
    """One line of the table."""

    family: str
    name: str
    lamina: Way
    torch: Way
    forward: Work
    both: Work | None = None
    """Forward and backward together; `None` where there is no way back."""


def work(flops: float, inputs: list[Tensor], weights: list[Tensor], outputs: int, needs_dx: bool) -> tuple[Work, Work]:
    """The work of a product with weights, forward alone and with the way back.

    Every tensor is counted once for each direction, as if caches held what is needed twice.

    Args:
        flops: of the way forward; a gradient, of the weights or of the inputs, takes as many.
        inputs: what the weights meet, and what else has its size, such as a branch that is added.
        weights: kernels and biases.
        outputs: how many numbers come out.
        needs_dx: whether the gradient of the inputs is wanted, which a first layer's is not.
    """
    read, held = sum(4 * t.numel() for t in inputs), sum(4 * t.numel() for t in weights)
    forward = Work(flops, read + held + 4 * outputs)
    back = Work(flops * (2 if needs_dx else 1), 4 * outputs + read + 2 * held + (read if needs_dx else 0))
    return forward, Work(forward.flops + back.flops, forward.bytes + back.bytes)


def weight(*shape: int) -> Tensor:
    """A weight to be trained, of numbers small enough that nothing saturates."""
    return (torch.randn(*shape) * 0.1).requires_grad_()


def channels_last(x: Tensor) -> Tensor:
    """An image `(N, H, W, C)` as torch takes it: `(N, C, H, W)` over the same order in memory."""
    return x.detach().permute(0, 3, 1, 2).requires_grad_(x.requires_grad)


def turned(kernel: Tensor) -> Tensor:
    """The same weights with the axes the other way round, over the same order in memory, as a leaf of its own."""
    return kernel.detach().permute(*range(kernel.dim() - 1, -1, -1)).requires_grad_()


def backward(way: Way) -> Callable[[], Any]:
    """A function that goes forward and back along `way`."""
    with torch.enable_grad():
        gradient = torch.randn_like(way.run())

    def run() -> Any:
        return torch.autograd.grad(way.run(), way.leaves, gradient)

    return run


def forward(way: Way) -> Callable[[], Any]:
    """A function that goes forward along `way` and keeps nothing for a way back."""

    def run() -> Any:
        with torch.no_grad():
            return way.run()

    return run


def difference(case: Case) -> float:
    """How far the two ways are apart, over the greatest number in torch's result."""
    ours, theirs = forward(case.lamina)(), forward(case.torch)()
    if theirs is None:  # an optimizer's step has no result
        return 0.0
    return float((ours - theirs).abs().max() / theirs.abs().max())
