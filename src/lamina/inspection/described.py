"""What a layer says of itself: name, class, weights, arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from lamina.engine.abstract import Spec
from lamina.engine.layer import Layer
from lamina.engine.symbolic import SymbolicTensor
from lamina.engine.torch_module import TorchModule
from lamina.engine.tracking import Container
from lamina.inspection.report import OWN_WEIGHTS, Row


def row_of(layer: Layer) -> Row:
    """A row for a layer, without what only a call can tell.

    Args:
        layer: the layer.
    """
    module = called_module(layer)
    count = sum(weight.numel() for weight in layer.weights)
    trained = any(weight.requires_grad for weight in layer.weights) if count else layer.trainable
    return Row(
        layer.name,
        type(module).__name__,
        num_params=count,
        trainable=trained,
        activation=_activation(layer),
        config=_config(layer),
    )


def row_of_module(module: torch.nn.Module, name: str, weights: list[torch.Tensor]) -> Row:
    """A row for a torch module, without what only a call can tell.

    Args:
        module: the module.
        name: what to call it.
        weights: those that the row counts.
    """
    arguments = module.extra_repr()
    trained = any(weight.requires_grad for weight in weights) if weights else True
    return Row(
        name,
        type(module).__name__,
        num_params=sum(weight.numel() for weight in weights),
        trainable=trained,
        config={"arguments": arguments} if arguments else {},
    )


def weights_of(module: torch.nn.Module, inside: bool = True) -> list[torch.Tensor]:
    """The weights of a module, each once: those of lamina's layers as Keras counts them, else the Parameters.

    Args:
        module: the module.
        inside: whether those of modules inside are wanted as well.
    """
    if inside and isinstance(module, Layer):
        return module.weights
    found: dict[int, torch.Tensor] = {}
    for part in module.modules() if inside else (module,):
        own: list[torch.Tensor] = list(part.parameters(recurse=False))
        if isinstance(part, (Layer, Container)):
            own += _kept_buffers(part)
        found.update((id(weight), weight) for weight in own)
    return list(found.values())


def is_closed(module: torch.nn.Module) -> bool:
    """Whether what a module is made of is not shown: that of lamina's own layers, unless they are models.

    Args:
        module: the module.
    """
    return isinstance(module, Layer) and type(module).__module__.startswith("lamina.layers.")


def own_row(model: torch.nn.Module) -> Row | None:
    """A row for weights that are the model's own and no layer's, if it has such.

    Args:
        model: the model.
    """
    own = weights_of(model, inside=False)
    if not own:
        return None
    count = sum(weight.numel() for weight in own)
    name = model.name if isinstance(model, Layer) else type(model).__name__
    return Row(name, OWN_WEIGHTS, num_params=count, trainable=any(weight.requires_grad for weight in own))


def put_inside(row: Row, rows: list[Row], inside: int | None) -> None:
    """Say of a row in which other it is.

    Args:
        row: which row.
        rows: the rows so far.
        inside: the place of the row around it, or `None`.
    """
    row.path = row.name
    if inside is not None:
        around = rows[inside]
        row.parent, row.depth, row.path = inside, around.depth + 1, f"{around.path}/{row.name}"


def called_module(layer: torch.nn.Module) -> torch.nn.Module:
    """What runs when `layer` is called: a torch module in a subclassed model is called itself, not its wrapper.

    Args:
        layer: the layer.
    """
    return layer.module if isinstance(layer, TorchModule) else layer


def opens(layer: Any) -> bool:
    """Whether `layer` has layers inside to show.

    Args:
        layer: a layer or an operation.
    """
    if not isinstance(layer, Layer) or not layer.built:
        return False
    module = called_module(layer)
    return hasattr(layer, "layers") or (not is_closed(module) and next(module.children(), None) is not None)


def shape_of(leaf: Any) -> Any:
    """The shape of a tensor in a nest of results; `None` for anything else.

    Args:
        leaf: a symbolic tensor, a `Spec`, or what else a call may return.
    """
    return leaf.shape if isinstance(leaf, (SymbolicTensor, Spec)) else None


def bytes_of(tensor: Any) -> int:
    """The memory of a tensor for one sample, unknown sizes counted as 1.

    Args:
        tensor: anything with a shape and a dtype.
    """
    return math.prod(1 if size is None else size for size in tensor.shape) * tensor.dtype.itemsize


def _kept_buffers(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    """The buffers of `module` itself that count as weights."""
    left_out = module._non_persistent_buffers_set
    return (buffer for name, buffer in module.named_buffers(recurse=False) if name not in left_out)


def _activation(layer: Layer) -> str | None:
    """The name of a layer's activation; `None` where there is none."""
    found = getattr(layer, "activation", None)
    if found is None or isinstance(found, (str, int, float)):
        return found if isinstance(found, str) else None
    return getattr(found, "__name__", type(found).__name__)


def _config(layer: Layer) -> dict[str, Any]:
    """A layer's arguments as plain data, its name and what is long left out."""
    module = called_module(layer)
    if not isinstance(module, Layer):
        return {"arguments": module.extra_repr()} if module.extra_repr() else {}
    if hasattr(layer, "layers"):
        return {}
    try:
        config = layer.get_config()
    except Exception:  # a user's class may not be made to be described
        return {}
    return {key: _plain(value) for key, value in config.items() if key != "name"}


def _plain(value: Any) -> Any:
    """`value` as data that JSON can carry."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict):
        if set(value) == {"class_name", "config"}:
            return value["class_name"]
        return {str(key): _plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    return getattr(value, "__name__", type(value).__name__)
