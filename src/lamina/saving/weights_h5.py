"""`.weights.h5` as Keras 3 lays it out: `layers/dense/vars/0`, `optimizer/vars/3`."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from lamina.errors import LoadError
from lamina.saving.hdf5 import Group, Hdf5File
from lamina.saving.hierarchy import Place, children, graph_weights, own_weights, places
from lamina.saving.optimizer_h5 import optimizer_arrays
from lamina.saving.report import Assignment, Plan, as_tensor

_GRAPH = "graph_weights"  # a group that Keras does not look for
_NOWHERE = "?"  # a path that no file has
_OLD = "_layer_checkpoint_dependencies"  # what Keras 2.13 called the group of a model's layers


# ---------------------------------------------------------------------- writing
def weights_bytes(model: torch.nn.Module, with_optimizer: bool = False) -> bytes:
    """The weights of a model as the bytes of a file.

    Args:
        model: a built model.
        with_optimizer: whether the state of its optimizer is kept too.
    """
    import h5py

    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        for place in places(model):
            group = _vars(file, place.path, getattr(place.owner, "name", None))
            for name, tensor in place.weights.items():
                _put(group, name, tensor)
            for name, tensor in graph_weights(place.owner).items():
                _put(file.require_group(f"{place.path}/{_GRAPH}".lstrip("/")), name, tensor)
        optimizer = getattr(model, "optimizer", None)
        if with_optimizer and optimizer is not None:
            for path, name, arrays in optimizer_arrays(optimizer):
                group = _vars(file, path, name)
                for number, array in enumerate(arrays):
                    group[str(number)] = array
    return made.getvalue()


def _vars(file: Any, path: str, name: Any) -> Any:
    """The group for the weights of one layer."""
    group = file.create_group(f"{path}/vars".lstrip("/"))
    if isinstance(name, str):
        group.attrs["name"] = name
    return group


def _put(group: Any, name: str, tensor: torch.Tensor) -> None:
    values = tensor.detach().cpu().contiguous()
    if values.dtype is torch.bfloat16:  # as Keras has it: two bytes that HDF5 does not look into
        group.create_dataset(name, data=values.view(torch.int16).numpy().view("V2")).attrs["dtype"] = "bfloat16"
    else:
        group[name] = values.numpy()


# ---------------------------------------------------------------------- reading
class _Search:
    """Finds in a file the weights that belong to each layer of a model.

    Args:
        file: the file.
        names: the name of each weight by its id.
    """

    def __init__(self, file: Hdf5File, names: dict[int, str]) -> None:
        self.file = file
        self.names = names
        self.plan = Plan()
        self.used: set[str] = set()
        self._done: set[int] = set()

    def look(self, module: torch.nn.Module, path: str) -> None:
        """Match a layer, and those inside it, with the groups under a path."""
        for place in self._walk(module, path):
            self._match(place, place.path)
        for place in places(module, path):  # what none of its paths fitted
            if id(place.owner) not in self._done and place.weights:
                self._done.add(id(place.owner))
                self._match(place, place.path)

    def _walk(self, module: torch.nn.Module, path: str) -> Iterator[Place]:
        """Each layer once, where the file has it: under the first of its paths that fits."""
        if id(module) in self._done:
            return
        weights = own_weights(module)
        fits = not weights or self._count(path) == len(weights)
        if fits or not path:
            self._done.add(id(module))
            yield Place(path, module, weights)
        for below, child in children(module, path):
            yield from self._walk(child, below)

    def _count(self, path: str) -> int:
        group = self._group(path)
        return -1 if group is None else len(group)

    def _group(self, path: str) -> Group | None:
        """The group of the weights of a path, if there is one."""
        here: Group = self.file
        for part in [*(part for part in path.split("/") if part), "vars"]:
            name = _OLD if part == "layers" and part not in here and _OLD in here else part
            if name not in here or not here.is_group(name):
                return None
            here = here.group(name)
        return here

    def _match(self, place: Place, path: str) -> None:
        group = self._group(path)
        if group is not None:
            self.used.add(group.path.strip("/"))
        for name, tensor in place.weights.items():
            known = self.names.get(id(tensor), f"{path}/{name}")
            if group is None or name not in group:
                self.plan.missing[known] = tuple(tensor.shape)
                continue
            self._take(group, name, tensor, known)
        if group is not None and len(group) > len(place.weights):
            self.plan.problems.append(f"{path or 'the model'} with {len(group)} weights, not {len(place.weights)}")
        extra = graph_weights(place.owner)
        if extra:
            below = self.file.group(f"{path}/{_GRAPH}".strip("/")) if _GRAPH in self._at(path) else None
            for name, tensor in extra.items():
                if below is not None and name in below:
                    self._take(below, name, tensor, self.names.get(id(tensor), name))
                else:
                    self.plan.missing[self.names.get(id(tensor), name)] = tuple(tensor.shape)

    def _at(self, path: str) -> Group:
        return self.file.group(path) if path else self.file

    def _take(self, group: Group, name: str, tensor: torch.Tensor, known: str) -> None:
        kind = _dtype(group, name)
        shape = group.shape(name)
        self.plan.assignments.append(
            Assignment(known, tensor, shape, kind, lambda: as_tensor(group.array(name, shape)))
        )


def _dtype(group: Group, name: str) -> torch.dtype:
    """The dtype of an array as torch has it."""
    kind = group.dtype(name)
    if kind.kind == "V" and kind.itemsize == 2:
        return torch.bfloat16
    try:
        return torch.from_numpy(np.empty(0, kind)).dtype
    except TypeError as error:
        raise LoadError(
            f"The weights at {group.path}/{name} are no numbers that torch knows.",
            expected="floats, whole numbers or booleans",
            received=str(kind),
            fix="the file is damaged, or of another kind",
        ) from error


def plan_from_h5(model: torch.nn.Module, file: Hdf5File, names: dict[int, str], by_name: bool = False) -> Plan:
    """What a file in Keras 3's layout has for a model.

    Args:
        model: a built model.
        file: the open file.
        names: the name of each weight by its id, for the report.
        by_name: whether layers are matched by their names rather than by their places.
    """
    search = _Search(file, names)
    if not by_name:
        search.look(model, "")
        plan = search.plan
        plan.extra += [path for path in _weight_groups(file) if path not in search.used]
        return plan
    named = {layer_name: path for path, layer_name in _named_groups(file)}
    for layer in getattr(model, "layers", []):
        search.look(layer, named.pop(layer.name, _NOWHERE))
    search.plan.extra += [name for name, path in named.items() if any(file.group(path).arrays())]
    return search.plan


def _weight_groups(file: Hdf5File) -> Iterator[str]:
    """The paths of the groups with weights, those of the optimizer left out."""
    seen: dict[str, None] = {}
    for path in file.arrays():
        group = path.rpartition("/")[0]
        if not path.startswith("optimizer/") and (group == "vars" or group.endswith("/vars")):
            seen[group] = None
    yield from seen


def _named_groups(file: Hdf5File) -> Iterator[tuple[str, str]]:
    """The layers of the outermost level with their names."""
    for first in file:
        if first in ("vars", "optimizer", _GRAPH) or not file.is_group(first):
            continue
        group = file.group(first)
        places_here = [first] if "vars" in group else [f"{first}/{name}" for name in group if group.is_group(name)]
        for path in places_here:
            inside = file.group(path)
            if "vars" in inside and inside.is_group("vars"):
                name = inside.group("vars").attributes.get("name")
                if isinstance(name, str):
                    yield path, name
