"""The tensors that an optimizer keeps for its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lamina.errors import ArgumentError, WeightsError
from lamina.optimizers.groups import Group, ParameterSet, make_groups, no_gradients


class State:
    """Named tensors, one a parameter, and the parameters grouped with them.

    Args:
        parameters: the parameters.
        blocks: the names of the state; those of one tuple lie side by side in `in_order`.
        make: gives the state of a name and a parameter at the start.
        decays: whether weight decay acts on parameters that are not excluded from it.
    """

    def __init__(
        self,
        parameters: ParameterSet,
        blocks: Sequence[tuple[str, ...]],
        make: Callable[[str, Tensor], Tensor],
        decays: bool,
    ) -> None:
        self._parameters = parameters
        self._blocks = blocks
        self._decays = decays
        self._excluded: list[bool] = [False] * len(parameters)
        self.slots = {name: [make(name, p) for p in parameters.parameters] for block in blocks for name in block}
        self.groups: list[Group] = []
        self.regroup()

    def exclude(self, parameters: Sequence[Tensor], patterns: Sequence[str]) -> None:
        """Leave these parameters, and those in whose names a pattern is found, out of weight decay."""
        known = self._parameters
        if patterns and not known.named:
            raise ArgumentError(
                "Variables are excluded from weight decay by name, but their names are not known.",
                expected="names in build",
                received=f"var_names={list(patterns)}",
                fix="optimizer.build(model.parameters(), names=dict(model.named_parameters()))",
            )
        ids = {id(parameter) for parameter in parameters}
        self._excluded = [
            id(parameter) in ids or any(re.search(pattern, name) for pattern in patterns)
            for parameter, name in zip(known.parameters, known.names, strict=True)
        ]
        self.regroup()

    @torch.no_grad()
    def regroup(self) -> None:
        """Sort the parameters anew, and bring their state to the device, dtype and layout that they have."""
        parameters = self._parameters.parameters
        for slot in self.slots.values():
            for i, (state, parameter) in enumerate(zip(slot, parameters, strict=True)):
                if state.shape == parameter.shape and state.stride() != parameter.stride():
                    state = torch.empty_like(parameter, requires_grad=False).copy_(state)
                slot[i] = state.to(device=parameter.device, dtype=parameter.dtype)
        self.groups = make_groups(parameters, self.slots, [self._decays and not e for e in self._excluded])

    def meet(self, grads: Sequence[Tensor | None]) -> list[tuple[Group, list[Tensor]]]:
        """The groups of the parameters that have gradients, with those gradients.

        Raises:
            ArgumentError: there is no gradient at all.
        """
        if any(group.drifted() for group in self.groups):
            self.regroup()
        if len(self.groups) == 1:
            met = [self.groups[0].meet(grads)]
        else:
            met = [group.meet([grads[i] for i in group.indices]) for group in self.groups]
        present = [(group, found) for group, found in met if found]
        if not present:
            raise no_gradients(len(grads))
        return present

    def in_order(self) -> list[Tensor]:
        """The tensors in the order in which Keras lists them."""
        count = range(len(self._parameters))
        return [self.slots[name][i] for block in self._blocks for i in count for name in block]

    @torch.no_grad()
    def load(self, slots: Mapping[str, Sequence[Tensor]], owner: str) -> None:
        """Copy the tensors of `slots` over those kept.

        Raises:
            WeightsError: they have other names, numbers or shapes.
        """
        wanted, given = _shapes(self.slots), _shapes(slots)
        if wanted != given:
            raise WeightsError(
                f"This is not the state of an optimizer like {owner}.",
                expected=_describe(wanted),
                received=_describe(given),
                fix="load it into an optimizer made with the same arguments for the same model",
            )
        for name, slot in self.slots.items():
            for tensor, value in zip(slot, slots[name], strict=True):
                tensor.copy_(value)


def check_keys(state_dict: Mapping[str, Any], keys: Sequence[str], owner: str) -> None:
    """Refuse a dict that `state_dict` cannot have given.

    Raises:
        WeightsError: a key is missing.
    """
    missing = [key for key in keys if key not in state_dict]
    if missing:
        raise WeightsError(
            f"This is not the state of {owner}.",
            expected=f"a dict with the keys {list(keys)}",
            received=f"a dict without {missing}",
            fix="save what optimizer.state_dict() gives",
        )


def _shapes(slots: Mapping[str, Sequence[Tensor]]) -> dict[str, list[tuple[int, ...]]]:
    return {name: [tuple(tensor.shape) for tensor in slot] for name, slot in slots.items()}


def _describe(slots: Mapping[str, Sequence[Any]]) -> str:
    """Names and shapes in words, the first few of each."""
    return "; ".join(f"{name} of {len(v)} parameters {v[:3]}" for name, v in slots.items()) or "no state tensors"
