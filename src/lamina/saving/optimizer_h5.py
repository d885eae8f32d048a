"""The state of an optimizer in the order of Keras 3's variables: steps, learning rate, then what each weight has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from lamina.optimizers import Adafactor, LossScaleOptimizer, Nadam
from lamina.optimizers.base import Optimizer
from lamina.saving.hdf5 import Hdf5File


def optimizer_arrays(optimizer: Any) -> Iterator[tuple[str, str, list[np.ndarray]]]:
    """The groups that Keras keeps for an optimizer: path, name and arrays.

    Args:
        optimizer: one of lamina's.
    """
    if not _is_ours(optimizer):
        return
    if isinstance(optimizer, LossScaleOptimizer):
        inner = _variables(optimizer.inner_optimizer, int(optimizer.skipped_steps))
        own = [
            _whole(0),
            np.float32(0),
            optimizer.step_counter.cpu().numpy().astype(np.int32),
            optimizer.dynamic_scale.cpu().numpy().astype(np.float32),
        ]
        yield "optimizer", optimizer.name, [*own, *inner]
        yield "optimizer/inner_optimizer", optimizer.inner_optimizer.name, inner
    else:
        yield "optimizer", optimizer.name, _variables(optimizer)


def _is_ours(optimizer: Any) -> bool:
    """Whether Keras has such an optimizer, so that its state has a known order."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return isinstance(inner, Optimizer) and type(inner).__name__ != "TorchOptimizer"


def _whole(number: int) -> np.ndarray:
    return np.asarray(number, dtype=np.int32)


def _variables(optimizer: Optimizer, skipped: int = 0) -> list[np.ndarray]:
    """Keras's variables of an optimizer without a loss scale."""
    steps = optimizer._steps - skipped * (optimizer.gradient_accumulation_steps or 1)
    found: list[Any] = [_whole(steps)]
    if not callable(optimizer._learning_rate):
        found.append(np.asarray(optimizer.learning_rate, dtype=np.float32))
    state = [_host(tensor) for tensor in optimizer.variables]
    if isinstance(optimizer, Adafactor) and optimizer.built:
        state = _with_unused(optimizer, state)
    if isinstance(optimizer, Nadam) and optimizer.built:
        state.append(np.asarray(_product(optimizer, steps), dtype=np.float32))
    return [*found, *state]


def _with_unused(optimizer: Adafactor, state: list[np.ndarray]) -> list[np.ndarray]:
    """Adafactor's state with zeros for what Keras keeps and never uses: velocities of matrices, rows of vectors."""
    parameters, found = optimizer.known().parameters, list(state)
    own = len(state) - 3 * len(parameters)  # averages and sums of gradients come first
    for place in range(own, len(state)):
        number, kind = divmod(place - own, 3)
        if found[place].shape == (0,):
            found[place] = np.zeros(tuple(parameters[number].shape) if kind == 2 else (), np.float32)
    return found


def _product(optimizer: Any, steps: int) -> float:
    """Nadam's product of the momenta of all steps so far, which Keras keeps."""
    product = 1.0
    for step in range(1, steps // (optimizer.gradient_accumulation_steps or 1) + 1):
        product *= optimizer.beta_1 * (1.0 - 0.5 * 0.96**step)
        if product == 0:
            break
    return product


def _host(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().cpu().contiguous()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def load_optimizer(optimizer: Any, file: Hdf5File) -> str | None:
    """Give an optimizer, which is built, the state that a file has for it.

    Args:
        optimizer: one of lamina's.
        file: in Keras 3's layout.

    Returns:
        `None`, or why the state was left out.
    """
    if not _is_ours(optimizer) or "optimizer" not in file:
        return None
    group = file.group("optimizer")
    if "vars" not in group or not group.is_group("vars"):
        return None
    kept = group.group("vars")
    if not all(str(number) in kept for number in range(len(kept))):
        return "its variables are not numbered"
    arrays = [kept.array(str(number)) for number in range(len(kept))]
    if isinstance(optimizer, LossScaleOptimizer):
        if len(arrays) < 5 or arrays[2].size != 1 or arrays[3].size != 1:
            return f"the file has {len(arrays)} variables for it"
        reason = _load(optimizer.inner_optimizer, arrays[4:])
        if reason is None:
            with torch.no_grad():
                optimizer.step_counter.fill_(int(arrays[2]))
                optimizer.dynamic_scale.fill_(float(arrays[3]))
                optimizer.skipped_steps.zero_()
        return reason
    return _load(optimizer, arrays)


def _load(optimizer: Optimizer, arrays: Sequence[np.ndarray]) -> str | None:
    """Give an optimizer without a loss scale its variables."""
    fixed = not callable(optimizer._learning_rate)
    leading = 2 if fixed else 1
    state = list(arrays[leading:])
    if len(arrays) < leading or any(array.size != 1 for array in arrays[:leading]):
        return "its first variables are no single numbers"
    tensors = optimizer.variables
    if isinstance(optimizer, Nadam) and len(state) == len(tensors) + 1:
        state.pop()  # the product, which follows from the number of steps
    if state:
        if len(state) != len(tensors):
            return f"the file has {len(state)} variables of weights, the optimizer {len(tensors)}"
        for tensor, array in zip(tensors, state, strict=True):
            if tensor.shape != (0,) and tuple(tensor.shape) != array.shape:
                return f"a variable of shape {array.shape} stands for one of shape {tuple(tensor.shape)}"
        with torch.no_grad():
            for tensor, array in zip(tensors, state, strict=True):
                if tensor.shape != (0,):
                    tensor.copy_(torch.from_numpy(np.array(array)))
    optimizer._steps = max(0, int(arrays[0]))
    if fixed and np.float32(optimizer._learning_rate) != np.float32(arrays[1]):  # else the config has more digits
        optimizer._learning_rate = float(arrays[1])
    return None
