"""Finding the first layer whose output is not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lamina.engine import abstract, nest
from lamina.engine.layer import Layer
from lamina.errors import NonFiniteError


@contextmanager
def watched(model: torch.nn.Module, on: bool) -> Iterator[None]:
    """Raise as soon as a layer of `model`, or the model itself, gives a value that is not finite.

    Each layer's output is read back, which makes every step wait for the device.

    Args:
        model: whose layers are watched.
        on: whether they are.

    Raises:
        NonFiniteError: names the layer, and says whether its input or its weights were at fault.
    """
    handles = []
    if on:
        data = _Data()
        handles.append(model.register_forward_pre_hook(data, with_kwargs=True))
        # Layers inside another one finish before it does, so the first to complain is the innermost.
        for path, module in model.named_modules():
            handles.append(module.register_forward_hook(_Watch(_way_to(model, path), data), with_kwargs=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _way_to(model: torch.nn.Module, path: str) -> list[str]:
    """The names that lead to a module from the innermost layer around it; the layers put theirs in front themselves."""
    parts = path.split(".") if path else []
    around = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts) + 1)]
    if path and isinstance(around[-1], Layer):
        return [around[-1].name]
    return parts[max((depth for depth, module in enumerate(around) if isinstance(module, Layer)), default=0) :]


class _Data:
    """The hook that sees what goes into the model."""

    def __init__(self) -> None:
        self.finite = True

    def __call__(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        if not abstract.running():
            self.finite = all(_finite(leaf) for leaf in nest.flatten([args, kwargs]))


class _Watch:
    """The hook of one layer."""

    def __init__(self, path: list[str], data: _Data) -> None:
        self.path = path
        self.data = data

    def __call__(self, module: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if abstract.running() or all(_finite(leaf) for leaf in nest.flatten(output)):
            return
        bad_input = not all(_finite(leaf) for leaf in nest.flatten([args, kwargs]))
        weights = (*module.named_parameters(), *module.named_buffers())
        bad_weights = [name for name, weight in weights if not _finite(weight)]
        if bad_input and self.data.finite:
            cause = "its input was not finite either, though the data are: a function before the layer gave it"
            fix = "check the torch functions between this layer and the one before for log(0) or 1/0"
        elif bad_input:
            cause, fix = "its input was not finite either", "look for NaN in the data: np.isnan(x).any()"
        elif bad_weights:
            cause = f"its weights {', '.join(bad_weights)} were not finite"
            fix = "lower the learning rate, or clip gradients with clipnorm=1.0 in the optimizer"
        else:
            cause, fix = "its input and weights were finite", "check the function it computes for log(0) or 1/0"
        kind = module.name if isinstance(module, Layer) else type(module).__name__
        raise NonFiniteError(
            f"The output of {type(module).__name__} {kind!r} is the first that is not finite.",
            expected="finite numbers",
            received=f"{_describe(output)}; {cause}",
            fix=fix,
            path=self.path,
        )


def check_loss(loss: torch.Tensor) -> None:
    """Raise if a loss is not finite though every layer's output was.

    Args:
        loss: of one batch.

    Raises:
        NonFiniteError: it is not finite.
    """
    if not _finite(loss):
        raise NonFiniteError(
            "The loss is not finite, though every layer's output is.",
            expected="a finite loss",
            received=str(loss.item()),
            fix="check the targets for NaN, and that the loss suits the last activation (or from_logits=True)",
        )


def _finite(leaf: Any) -> bool:
    """Whether `leaf` holds neither NaN nor infinity."""
    if isinstance(leaf, torch.Tensor) and (leaf.is_floating_point() or leaf.is_complex()):
        return bool(torch.isfinite(leaf).all())
    return True


def _describe(output: Any) -> str:
    """How many values are NaN or infinite."""
    leaves = [leaf for leaf in nest.flatten(output) if isinstance(leaf, torch.Tensor)]
    nan = sum(int(torch.isnan(leaf).sum()) for leaf in leaves)
    infinite = sum(int(torch.isinf(leaf).sum()) for leaf in leaves)
    return f"{nan} NaN and {infinite} infinite of {sum(leaf.numel() for leaf in leaves)} values"
