"""Whether a torch module computes what its model computes, for models with code of a user's own.

Code that asks what kind of object it is given, by `isinstance` say, may take another way with what stands for a tensor
while a module is built, and nobody would be told.
"""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import torch

from lamina.engine import nest
from lamina.engine.layer import Layer
from lamina.errors import ArgumentError, ExportError
from lamina.saving.exporting.signatures import Signature, examples

IMAGES = (4, 5)
"""The numbers of axes of images and volumes."""

_TOLERANCE = 1e-3  # of the largest number: another way through the code shows, rounding does not


def verify(model: Layer, module: torch.nn.Module, signature: Signature, turned: bool = False) -> None:
    """Compare a copy of `model` with `module` at inference, on made-up data if there are any that both take.

    Args:
        model: the model.
        module: takes tensors one after another and gives a nest of the model's form, or its members in a tuple.
        signature: what the model takes.
        turned: whether the module takes and gives images with the channels first.

    Raises:
        ExportError: the numbers differ.
    """
    twin = copy.deepcopy(model)

    def both(*tensors: torch.Tensor) -> list[list[Any]]:
        results = twin(signature.packed(tensors), training=False), module(*map(turn, tensors))
        return [[turn(y) for y in nest.flatten(results[0])], nest.flatten(results[1])]

    def turn(x: Any) -> Any:
        return x.movedim(-1, 1) if turned and x.dim() in IMAGES else x

    mode = module.training
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    try:
        module.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]), contextlib.suppress(ArgumentError):
            tensors = examples(signature.specs, both, device)
            expected, found = both(*[torch.rand_like(t) if t.is_floating_point() else t for t in tensors])
            for one, other in zip(found, expected, strict=True):
                _compare(model, one, other)
    finally:
        module.train(mode)


def _compare(model: Layer, found: Any, expected: Any) -> None:
    """Refuse numbers that differ."""
    if isinstance(found, torch.Tensor) and isinstance(expected, torch.Tensor) and found.shape == expected.shape:
        scale = expected.abs().max() if expected.numel() else 0.0
        if torch.allclose(found.double(), expected.double(), 0.0, _TOLERANCE * float(scale) + 1e-6, equal_nan=True):
            return
    raise ExportError(
        f"{type(model).__name__} takes another way when it is made a torch module, and gives other numbers.",
        expected="calls that do not depend on what kind of object is given",
        received="numbers that differ from the model's",
        fix="leave isinstance(x, torch.Tensor), hasattr and try out of call()",
    )
