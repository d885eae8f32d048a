"""What an optimizer of Keras 1 or 2 kept for each weight, brought into one of today."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from lamina.errors import LaminaError

# The names that files have for what an optimizer keeps.
SLOTS: dict[str, dict[str, str]] = {
    "SGD": {"m": "momentum", "momentum": "momentum"},
    "RMSprop": {"rms": "velocity", "velocity": "velocity", "momentum": "momentum", "mg": "average_gradient",
                "average_gradient": "average_gradient"},
    "Adam": {"m": "momentum", "v": "velocity", "vhat": "velocity_hat"},
    "Adamax": {"m": "momentum", "u": "norm", "v": "norm"},
    "Nadam": {"m": "momentum", "v": "velocity"},
    "Adagrad": {"accumulator": "accumulator"},
    "Adadelta": {"accum_grad": "accumulated_grad", "accumulated_grad": "accumulated_grad",
                 "accum_var": "accumulated_delta_var", "accumulated_delta_var": "accumulated_delta_var"},
    "Ftrl": {"accumulator": "accumulator", "linear": "linear"},
    "Lion": {"m": "momentum"},
}  # fmt: skip
SLOTS["AdamW"] = SLOTS["Adam"]
SLOTS["OldRMSprop"], SLOTS["OldNadam"] = SLOTS["RMSprop"], SLOTS["Nadam"]
_SHARED = {"average": "average"}
_NUMBERS = ("momentum_cache", "decay", "learning_rate", "beta_1", "beta_2", "epsilon", "rho", "lr", "u_product")


def restore(model: Any, trainable: Sequence[torch.Tensor], names: Sequence[str], arrays: Sequence[Any]) -> str | None:
    """Give the optimizer of a model the state of a file.

    Args:
        model: a compiled model with weights.
        trainable: its trainable weights in the order of the file.
        names: the names of the arrays.
        arrays: the arrays.

    Returns:
        `None`, or why the state does not fit; the optimizer then begins anew.
    """
    optimizer = model.optimizer
    known = {**SLOTS.get(type(optimizer).__name__, {}), **_SHARED}
    if type(optimizer).__name__ not in SLOTS:
        return f"the state of {type(optimizer).__name__} is not read"
    steps, values = _sorted(names, arrays, known, len(trainable), optimizer)
    if isinstance(values, str):
        return values
    if not values and not steps:  # it was compiled, and never trained
        return None
    if not trainable:
        return "the model has no trainable weights"
    optimizer.build(model.trainable_weights, dict(model.named_parameters()))
    places = {id(tensor): place for place, tensor in enumerate(trainable)}
    wanted = optimizer.state_dict()["slots"]
    slots: dict[str, list[torch.Tensor]] = {}
    for slot in wanted:
        if len(values.get(slot, ())) != len(trainable):
            return f"{len(values.get(slot, ()))} arrays for {slot} of {len(trainable)} weights"
        found = [values[slot][places[id(parameter)]] for parameter in optimizer.known().parameters]
        slots[slot] = [torch.as_tensor(np.array(array)) for array in found]
    try:
        optimizer.load_state_dict({"steps": steps, "learning_rate": None, "slots": slots})
    except LaminaError as error:
        return str(error).splitlines()[0]
    return None


def _sorted(names: Sequence[str], arrays: Sequence[Any], known: dict[str, str], count: int, optimizer: Any) -> Any:
    """The number of steps, and the arrays of each slot; or the reason why they cannot be told apart."""
    steps, rest = 0, []
    for name, array in zip(names, arrays, strict=True):
        last = name.split("/")[-1].partition(":")[0]
        if array.ndim == 0 and (last in ("iter", "iteration", "iterations") or (not rest and last not in _NUMBERS)):
            steps = int(array)
        elif array.ndim or last not in _NUMBERS:
            rest.append((name, array))
    found: dict[str, list[Any]] = defaultdict(list)
    for name, array in rest:
        parts = name.split("/")
        slot = known.get(parts[-1].partition(":")[0]) or (known.get(parts[1]) if len(parts) > 2 else None)
        if slot is None:
            return steps, _by_place([a for _, a in rest], count, optimizer)
        found[slot].append(array)
    return steps, dict(found)


def _by_place(arrays: Sequence[Any], count: int, optimizer: Any) -> Any:
    """The slots of arrays without telling names, as Keras up to 2.3 wrote them: one slot after the other."""
    slots = [name for block in optimizer.slots() for name in block]
    if count == 0 or len(arrays) < count * len(slots):
        return f"{len(arrays)} arrays for {len(slots)} slots of {count} weights"
    return {slot: list(arrays[i * count : (i + 1) * count]) for i, slot in enumerate(slots)}
