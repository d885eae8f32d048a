"""Weights of torch networks for lamina models: torch's names, shapes and orders turned into Keras's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lamina import layers as L
from lamina.engine.layer import Layer
from lamina.engine.torch_module import TorchModule
from lamina.errors import ArgumentError, WeightsError, nearest
from lamina.layers.normalization import Affine
from lamina.saving.report import Assignment, Plan, WeightsReport, carry_out
from lamina.saving.tensors import not_built, read_tensors
from lamina.saving.torch_parts import State, parts_of, row_of

Names = Mapping[str, "str | None"] | Callable[[str], "str | None"] | None
_ORDERS = ("channels_first", "channels_last")
_IGNORED = "num_batches_tracked"
# Layers with weights that leave each feature in its place.
_ALONG = (L.BatchNormalization, L.LayerNormalization, L.PReLU)


def load_torch_weights(
    module: torch.nn.Module,
    source: State | str | os.PathLike[str],
    mapping: Names = None,
    skip_mismatch: bool = False,
    data_format: str = "channels_first",
) -> WeightsReport:
    """Give a lamina model the weights of a torch network; nothing changes unless all of it fits.

    Kernels are transposed, gates and biases of recurrent layers put in Keras's order; torch modules inside the model
    take their state as it is. What no layer takes is listed in the report. Settings are not part of a state: torch's
    `BatchNorm2d` has `eps=1e-5` where lamina's has `epsilon=1e-3`, and torch pads a strided convolution on both
    sides where `"same"` pads the far side first; set them in the model.

    Torch flattens images as (channels, height, width), lamina as (height, width, channels). In functional models and
    `Sequential` the weights of a `Dense` (and of a normalization before it) behind a `Flatten` of images are therefore
    put in lamina's order; activations, dropout and `Concatenate` may stand between. This is not done where the
    `Flatten` and the `Dense` are in different models, or in the `call` of a subclass.

    Args:
        module: a built model or layer.
        source: a `state_dict`, or a file of one: `.pt`, `.pth`, `.safetensors`, `.npz`; nothing in it is run.
        mapping: the prefix of each layer's tensors in the source: a dict by the layer's name (its path in
            `state_dict` where two have one name), or a function of the name; `None` as the prefix leaves the layer
            alone. Layers that a dict lacks, and all of them by default, take what stands under their path or name, or
            under the name with dots for its last underscores: `layer1_0_conv1` finds `layer1.0.conv1`.
        skip_mismatch: whether weights that do not fit, or are not there, are left as they are.
        data_format: how the source flattens images; `"channels_last"` for the state of `model.to_torch()`, which
            flattens as lamina does.

    Returns:
        What was restored, skipped and missing.

    Raises:
        WeightsError: a prefix is not in the source, or a shape is not the layer's.
        ArgumentError: `mapping` names no layer, or `source` or `data_format` is none.
        LoadError: the file is not what its name says.
        NotBuiltError: the model has no weights yet.

    Example:
        >>> import lamina
        >>> model = lamina.Sequential([lamina.layers.Input((3,)), lamina.layers.Dense(2, name="head")])
        >>> load_torch_weights(model, torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict(), {"head": "0"})
        restored 2 of 2
    """
    if data_format not in _ORDERS:
        raise ArgumentError("There is no such data format.", expected=" or ".join(_ORDERS), received=repr(data_format))
    if not getattr(module, "built", True):
        raise not_built("load")
    state, called = _state(source)
    owners = dict(_owners(module, ""))
    names = _names(owners)
    _check_mapping(mapping, {*names.values(), *owners})
    orders = _flat_orders(module) if data_format == "channels_first" else {}
    plan, errors, used = Plan(), [], set()
    for path, owner in owners.items():
        # Automatic names count the process's layers, paths the model's: one layer's path may be another's name.
        keys = (names[path],) if path in names.values() else (names[path], path)
        prefix = _prefix(path, owner, keys, mapping, state)
        if prefix is not None:
            _add(plan, errors, used, names[path], owner, prefix, state, orders.get(id(owner)))
    if errors and not skip_mismatch:
        first = errors[0]
        if len(errors) > 1:
            first.what += f" {len(errors) - 1} more weights or layers do not fit."
        raise first
    plan.problems += [f"{error.what} ({error.received})" for error in errors]
    plan.extra = sorted(key for key in state.keys() - used if not key.endswith(_IGNORED))
    return carry_out(plan, called, partial=True, skip_mismatch=skip_mismatch)


def _state(source: Any) -> tuple[State, str]:
    """The tensors by name, and what messages call them."""
    if isinstance(source, (str, os.PathLike)):
        return read_tensors(Path(source)), str(source)
    if isinstance(source, Mapping) and all(isinstance(value, torch.Tensor) for value in source.values()):
        return source, "the state_dict"
    raise ArgumentError(
        "load_torch_weights takes tensors by name.",
        expected="a state_dict, or the path of a file",
        received=type(source).__name__,
        fix="pass network.state_dict()",
    )


# ---------------------------------------------------------------------- who takes what
def _owners(module: torch.nn.Module, path: str) -> Iterator[tuple[str, torch.nn.Module]]:
    """The layers with a row in the table, those with weights of their own, and torch modules, by path."""
    plain = not isinstance(module, Layer) and not any(isinstance(part, Layer) for part in module.modules())
    if row_of(module) is not None or isinstance(module, TorchModule) or plain:
        if module.state_dict():
            yield path, module
        return
    if any(True for _ in module.parameters(recurse=False)):
        yield path, module
    for name, child in module.named_children():
        yield from _owners(child, f"{path}.{name}" if path else name)


def _names(owners: Mapping[str, torch.nn.Module]) -> dict[str, str]:
    """What each is called: by its name, or by its path where another has that name."""
    own = {path: str(getattr(owner, "name", None) or path) for path, owner in owners.items()}
    many = list(own.values())
    return {path: name if many.count(name) == 1 else path for path, name in own.items()}


def _check_mapping(mapping: Names, known: set[str]) -> None:
    """Refuse a mapping of layers that are not there."""
    for name in mapping if isinstance(mapping, Mapping) else ():
        if name not in known:
            close = nearest(name, known)
            raise ArgumentError(
                f"mapping names a layer {name!r}, and the model has none of that name with weights.",
                expected=", ".join(sorted(known - {""})[:8]),
                received=repr(name),
                fix=f"use {close!r}" if close else "use the names that model.summary() shows",
            )


def _prefix(path: str, owner: Any, keys: tuple[str, ...], mapping: Names, state: State) -> str | None:
    """Where the tensors of a layer are; its name if they are nowhere; `None` if it is to be left alone."""
    if mapping is not None and not isinstance(mapping, Mapping):
        return mapping(keys[0])
    for key in keys:
        if mapping is not None and key in mapping:
            return mapping[key]
    own = str(getattr(owner, "name", None) or keys[0])
    tried = [path or own, own]
    if isinstance(owner, TorchModule):  # to_torch keeps the layer around the module
        tried.insert(0, f"{path}.module" if path else "module")
    dotted = own
    while "_" in dotted:
        dotted = ".".join(dotted.rsplit("_", 1))
        tried.append(dotted)
    if not path:
        tried.append("")
    return next((prefix for prefix in tried if _under(state, prefix)), path or own)


def _under(state: State, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors under a prefix, by what stands behind it."""
    start = f"{prefix}." if prefix else ""
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def _add(
    plan: Plan, errors: list[Any], used: set[str], name: str, owner: Any, prefix: str, state: State, order: Any
) -> None:
    """Put the weights of one layer into the plan, and what does not fit among the errors."""
    given = _under(state, prefix)
    try:
        parts = parts_of(owner, given)
    except WeightsError as error:
        error.path.insert(0, name)
        errors.append(error)
        used.update(f"{prefix}.{key}" for key in given)
        plan.missing.update({f"{name}.{key}": tuple(value.shape) for key, value in owner.state_dict().items()})
        return
    start, labels = f"{prefix}." if prefix else "", {id(t): key for key, t in owner.state_dict(keep_vars=True).items()}
    if not given:
        close = nearest(prefix, {key.rpartition(".")[0] for key in state} - {""})
        errors.append(
            WeightsError(
                f"The source has nothing for the layer {name!r}.",
                expected=f"tensors under {prefix!r}",
                received=f"none under {prefix!r}",
                fix=f"pass mapping={{{name!r}: {close or '...'!r}}}, or None in place of the prefix to leave it alone",
            )
        )
    for weight, sources, shape, turned in parts:
        label = f"{name}.{labels.get(id(weight), sources[0])}"
        lacking = [source for source in sources if source not in given]
        wrong = next((s for s in sources if s in given and tuple(given[s].shape) != shape), None)
        used.update(start + source for source in sources)
        if lacking or wrong:
            plan.missing[label] = tuple(weight.shape)
            if given:
                errors.append(_misfit(name, start + (wrong or lacking[0]), shape, given.get(wrong or "")))
            continue
        value = turned(*(given[source] for source in sources))
        if order is not None and not (isinstance(owner, L.Dense) and value.dim() == 1) and len(value) == len(order):
            value = value[order.to(value.device)]
        read = lambda value=value: value  # noqa: E731
        plan.assignments.append(Assignment(label, weight, tuple(value.shape), value.dtype, read))
    known = {source for part in parts for source in part.names}
    for key in given.keys() - known if parts and row_of(owner) is not None else ():
        if "." in key or key == _IGNORED:
            continue
        used.add(start + key)
        neutral = 0 if "bias" in key else 1 if isinstance(owner, Affine) else None
        if neutral is None or bool((given[key] != neutral).any()):
            errors.append(_misfit(name, start + key, None, given[key]))


def _misfit(name: str, key: str, shape: Any, value: torch.Tensor | None) -> WeightsError:
    """The error for one tensor."""
    received = "nothing of that name" if value is None else f"{key} of shape {tuple(value.shape)}"
    return WeightsError(
        f"{key} does not fit the layer {name!r}.",
        expected=f"{key} of shape {shape}" if shape is not None else f"no {key}, for which the layer has no weight",
        received=received,
        fix=f"make the layer like torch's, map {name!r} to another prefix, or pass skip_mismatch=True",
    )


# ---------------------------------------------------------------------- the order of flattened images
def _flat_orders(module: torch.nn.Module) -> dict[int, torch.Tensor]:
    """For layers behind a Flatten, by id, the place in torch's order of each feature in lamina's."""
    found: dict[int, torch.Tensor] = {}
    for model in module.modules():
        graph = getattr(model, "graph", None) if isinstance(model, Layer) else None
        for node in getattr(graph, "nodes", ()):
            if isinstance(node.op, (L.Dense, *_ALONG)) and (order := _order(node.inputs[0])) is not None:
                found.setdefault(id(node.op), order)
    return found


def _order(x: Any) -> torch.Tensor | None:
    """The order of the features of a symbolic tensor of two axes, or `None` if it is torch's."""
    while x.node is not None and x.node.inputs and x.ndim == 2:
        op, before = x.node.op, x.node.inputs
        if isinstance(op, L.Flatten):
            return _images_order(before[0], op.data_format)
        if isinstance(op, L.Concatenate):
            orders = [_order(y) for y in before]
            sizes = [y.shape[-1] for y in before]
            if all(order is None for order in orders):
                return None
            each = [torch.arange(size) if o is None else o for size, o in zip(sizes, orders, strict=True)]
            return torch.cat([o + sum(sizes[:place]) for place, o in enumerate(each)])
        if not _keeps_order(x):
            return None
        x = before[0]
    return None


def _keeps_order(x: Any) -> bool:
    """Whether `x` has its features where the one tensor that it is made of has them."""
    op, before = x.node.op, x.node.inputs
    own = any(True for _ in op.parameters()) if isinstance(op, torch.nn.Module) else False
    return len(before) == 1 and before[0].shape == x.shape and (not own or isinstance(op, _ALONG))


def _images_order(x: Any, data_format: str) -> torch.Tensor | None:
    """The same for images that are flattened; of three axes only what convolution or pooling gave are such."""
    sizes, y = x.shape[1:], x
    while len(sizes) == 2 and y.node is not None and y.node.inputs and not hasattr(y.node.op, "rank"):
        if not _keeps_order(y):
            return None
        y = y.node.inputs[0]
    if len(sizes) < 2 or None in sizes or (len(sizes) == 2 and not hasattr(getattr(y.node, "op", None), "rank")):
        return None
    channels = sizes[0] if data_format == "channels_first" else sizes[-1]
    return torch.arange(int(torch.Size(sizes).numel())).reshape(channels, -1).T.flatten()
