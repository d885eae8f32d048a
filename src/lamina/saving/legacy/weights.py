"""The order in which Keras 1 and 2 list weights, and weights in that order brought into a model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from lamina.engine.layer import Layer
from lamina.engine.tracking import Container
from lamina.errors import WeightsError
from lamina.saving.legacy.layouts import Origin, converted, file_counts


class Entry(NamedTuple):
    """One array of a file: the layer that owns it, and its place among that layer's arrays."""

    owner: Any
    place: int


class Order:
    """How the arrays of layers are listed: trainable ones first, those of frozen layers and statistics behind.

    Args:
        orders: for a model, by id, its layers in the order of the file.
        origin: which Keras wrote it.
        by_gate: whether recurrent layers have an array for each gate, as Keras 1 wrote them.
    """

    def __init__(self, orders: Mapping[int, Sequence[Any]], origin: Origin, by_gate: bool = False) -> None:
        self._orders = orders
        self.origin = origin
        self._by_gate = by_gate

    def expanded(self) -> Order:
        """This order, with an array for each gate of recurrent layers."""
        return Order(self._orders, self.origin, True)

    def trainable(self, layers: Sequence[Any]) -> list[torch.Tensor]:
        """The trainable weights of layers in a row, in the order in which their optimizer saw them.

        Args:
            layers: the layers of a model.
        """
        entries = _once([entry for layer in layers for entry in self._parts(layer)[0]])
        return [own_weights(entry.owner)[entry.place][1] for entry in entries]

    def of(self, layer: Any) -> list[Entry]:
        """The entries of a layer and of those inside it.

        Args:
            layer: a layer or model.
        """
        trainable, others = self._parts(layer)
        return _once(trainable + others)

    def _parts(self, layer: Any) -> tuple[list[Entry], list[Entry]]:
        own_trainable, own_others = file_counts(layer, self.origin, self._by_gate)
        own = [Entry(layer, place) for place in range(own_trainable + own_others)]
        mine, rest = own[:own_trainable], own[own_trainable:]
        parts = [self._parts(child) for child in self._children(layer)]
        inner = [entry for part, _ in parts for entry in part]
        inner_rest = [entry for _, part in parts for entry in part]
        if hasattr(layer, "graph") or hasattr(layer, "fit"):  # a model lists the layers inside before its own
            if layer.trainable:
                return inner + mine, inner_rest + rest
            return [], inner + mine + inner_rest + rest
        if getattr(layer, "trainable", True):
            return mine + inner, rest + inner_rest
        whole = [entry for one, two in parts for entry in one + two]
        return [], mine + rest + whole

    def _children(self, layer: Any) -> list[Any]:
        if id(layer) in self._orders:
            return list(self._orders[id(layer)])
        return list(layer.layers) if hasattr(layer, "fit") else list(children_of(layer))


def children_of(module: torch.nn.Module) -> list[Any]:
    """The layers right inside a layer; lists and dicts that hold layers are looked into.

    Args:
        module: a layer.
    """
    found: list[Any] = []
    for child in module.children():
        if isinstance(child, (Container, torch.nn.ModuleList, torch.nn.ModuleDict)):
            found += children_of(child)
        else:
            found.append(child)
    return found


def _once(entries: list[Entry]) -> list[Entry]:
    """Each entry once; a shared layer is listed where it comes first."""
    seen: set[tuple[int, int]] = set()
    kept = []
    for entry in entries:
        if (id(entry.owner), entry.place) not in seen:
            seen.add((id(entry.owner), entry.place))
            kept.append(entry)
    return kept


def own_weights(layer: Any) -> list[tuple[str, torch.Tensor]]:
    """The weights of a layer itself, trainable kinds first.

    Args:
        layer: a layer.
    """
    found = list(layer.named_parameters(recurse=False))
    kept = layer._non_persistent_buffers_set
    return found + [(name, b) for name, b in layer.named_buffers(recurse=False) if name not in kept]


def assign(layer: Any, arrays: Sequence[np.ndarray], order: Order) -> list[tuple[torch.Tensor, Any]]:
    """Which tensor takes which array.

    Args:
        layer: a layer or model.
        arrays: its arrays in the order of the file.
        order: that order.

    Returns:
        Pairs of a weight and its new value; nothing is changed yet.

    Raises:
        WeightsError: there are more or fewer arrays, or one has another shape.
    """
    entries = order.of(layer)
    if len(entries) != len(arrays) and order.origin.keras1:
        entries = order.expanded().of(layer)
    if len(entries) != len(arrays):
        raise WeightsError(
            f"The layer {layer.name!r} has {len(entries)} weights, not {len(arrays)}.",
            expected=", ".join(str(tuple(t.shape)) for t in layer.weights) or "no weights",
            received=", ".join(str(tuple(a.shape)) for a in arrays) or "none",
            fix="load the file into a model of the same layers" if entries else "build the model first",
        )
    held: dict[int, dict[int, np.ndarray]] = defaultdict(dict)
    owners: dict[int, Any] = {}
    for entry, array in zip(entries, arrays, strict=True):
        owners[id(entry.owner)] = entry.owner
        held[id(entry.owner)][entry.place] = array
    pairs = []
    for key, owner in owners.items():
        given = [held[key][place] for place in sorted(held[key])]
        own = own_weights(owner)
        values = converted(owner, given, [tuple(t.shape) for _, t in own], order.origin)
        for (name, tensor), value in zip(own, values, strict=True):
            if tuple(value.shape) != tuple(tensor.shape):
                where = getattr(owner, "name", type(owner).__name__)
                raise WeightsError(
                    f"A weight of the layer {where!r} has another shape.",
                    expected=f"{name} {tuple(tensor.shape)}",
                    received=f"shape {tuple(value.shape)}",
                    fix="load the file into a model of the same layers",
                )
            pairs.append((tensor, value))
    return pairs


@torch.no_grad()
def put(pairs: Sequence[tuple[torch.Tensor, Any]]) -> None:
    """Give weights their new values.

    Args:
        pairs: what `assign` gave.
    """
    for tensor, value in pairs:
        tensor.copy_(torch.as_tensor(np.array(value)).to(tensor.dtype))


def has_weights(layer: Layer) -> bool:
    """Whether there is anything in a layer that files keep.

    Args:
        layer: a layer or model.
    """
    return any(own_weights(module) for module in layer.modules())
